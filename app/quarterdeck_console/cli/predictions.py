"""Verbs that look at recorded predictions."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.errors import UsageError
from quarterdeck_console.cli.output import JsonFlag, cell, emit, table
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from quarterdeck.deployments.explaining import Explained

Deployment = Annotated[str, typer.Argument(help="The deployment.")]


def list_predictions(
    name: Deployment,
    identifier: Annotated[str | None, typer.Option("--id", help="The one with this id.", show_default=False)] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Those with this key of your own.", show_default=False)
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="Event times from here on, ISO 8601, in UTC.", show_default=False)
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Event times before this.", show_default=False)] = None,
    revision: Annotated[
        int | None, typer.Option("--revision", help="Those that this revision answered.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 50,
    as_data: JsonFlag = False,
) -> None:
    """Recorded predictions, newest first: by arrival, or by event time where --from or --to is given."""
    from quarterdeck.deployments.inspection import named_inputs
    from quarterdeck.traffic.queries import Sought, recent

    sought = Sought(identifier, key, _time("--from", start), _time("--to", end), revision)
    with opened() as workspace:
        rows = recent(workspace, name, limit, sought)
        inputs = named_inputs(workspace, name, rows)
    text = table(
        ("id", "key", "received", "event time", "revision", "version", "prediction", "probabilities", "label", "ms"),
        [
            (
                row.id,
                row.key,
                row.received_at,
                row.event_time,
                row.revision,
                row.version,
                row.prediction,
                row.probabilities,
                row.label,
                row.latency_ms or None,
            )
            for row in rows
        ],
        empty="no such predictions are recorded",
    )
    value = [{**asdict(row), "inputs": named} for row, named in zip(rows, inputs, strict=True)]
    emit(value, text, as_data=as_data)


def _time(option: str, given: str | None) -> datetime | None:
    from quarterdeck.traffic.moments import instant

    try:
        return None if given is None else instant(given)
    except ValueError as error:
        raise UsageError(f"{option} {error}.") from None


def explain(
    name: Deployment,
    identifier: Annotated[str, typer.Argument(metavar="ID", help="The prediction's id.")],
    method: Annotated[
        str, typer.Option("--method", help="permutation, or shap where that extra is installed.")
    ] = "permutation",
    as_data: JsonFlag = False,
) -> None:
    """How much each input moved one recorded prediction, by asking its version again with other values."""
    from quarterdeck.deployments.explaining import explain as explain_prediction

    with opened() as workspace:
        found = explain_prediction(workspace, name, identifier, method)
    emit(found, _explanation_text(found), as_data=as_data)


def _explanation_text(found: Explained) -> str:
    told = found.explanation
    inputs = {given.name: given for given in found.inputs}
    rows = []
    for influence in told.influences:
        given = inputs[influence.feature]
        error = None if influence.error is None else f"{influence.error:.2g}"
        words = given.position.words if given.position else None
        rows.append((influence.feature, cell(given.value), words, f"{influence.influence:+.4g}", error))
    answer = f"{told.outcome} {told.answer:.4g}, on average {told.average:.4g} over {told.rows} rows of the reference"
    lines = [
        f"{found.model}@{found.version} answered {cell(found.prediction)}: {answer}",
        "",
        table(("input", "value", "in reference", "influence", "+-"), rows),
        "",
        found.definition,
        f"Source: {found.source}",
        f"What it is not: {found.limits}",
    ]
    return "\n".join([*lines, *([found.differs] if found.differs else [])])
