"""Verbs on models."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, table
from quarterdeck_console.cli.session import opened


def models(as_data: JsonFlag = False) -> None:
    """The models."""
    from quarterdeck.registry.queries import models as read_models

    with opened() as workspace:
        rows = read_models(workspace)
    text = table(("model", "versions", "newest", "gate"), [(m.name, m.versions, m.newest, m.newest_gate) for m in rows])
    emit(rows, text, as_data=as_data)


def versions(model: Annotated[str, typer.Argument(help="The model.")], as_data: JsonFlag = False) -> None:
    """The versions of a model."""
    from quarterdeck.registry.queries import versions as read_versions

    with opened() as workspace:
        rows = read_versions(workspace, model)
    text = table(
        ("version", "format", "memory", "gate", "metrics", "run", "by", "made"),
        [
            (
                f"{v.model}@{v.number}",
                v.format,
                None if v.memory_bytes is None else f"{v.memory_bytes / 1e6:.0f} MB",
                v.gate,
                [f"{name}={value:.4g}" for name, value in sorted(v.metrics.items())],
                v.run_id,
                v.created_by,
                v.created_at,
            )
            for v in rows
        ],
    )
    emit(rows, text, as_data=as_data)


def lineage(
    reference: Annotated[
        str, typer.Argument(help="Such as data/payments@1, run/3, version/fraud@2, revision/fraud@4.")
    ],
    as_data: JsonFlag = False,
) -> None:
    """What something was made from, and what was made from it."""
    from quarterdeck.registry.queries import lineage as read_lineage

    with opened() as workspace:
        before, after = read_lineage(workspace, reference)
    text = "\n".join([f"made from  {name}" for name in before] + [f"went into  {name}" for name in after])
    emit({"made_from": before, "went_into": after}, text or f"{reference}: no lineage is known.", as_data=as_data)
