"""Predictions, labels and points of KPIs that arrive as a table, and a point that comes alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.datasets.querying import Query
from quarterdeck.deployments.deployment import find_deployment
from quarterdeck.deployments.intake import reporting_version, take_labels, take_predictions
from quarterdeck.errors import DataError
from quarterdeck.registry.signature import Feature
from quarterdeck.settings.making import DatasetSettings
from quarterdeck.traffic.labelling import Labelled
from quarterdeck.traffic.recording import Ingested
from quarterdeck.traffic.series import Taken, add_points, checked_points
from quarterdeck.values import plain
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def report_table(
    workspace: Workspace,
    name: str,
    source: Path | Query,
    *,
    version: int | None = None,
    version_column: str | None = None,
    prediction: str = "prediction",
    score: str | None = None,
    identifier: str = "id",
    time: str | None = None,
    key: str | None = None,
) -> Ingested:
    """Take the predictions of a table: a row each, with the inputs by their names. All or none are taken.

    `score` names a column with the probability of the second of two classes, `version_column` one with the version
    that answered each row. What is not named falls back to the signature's own `time` and `key` columns, where the
    table has them.

    Raises:
        NotFoundError: there is no such deployment or version.
        RefusedError: the deployment is served here.
        DataError: the table cannot be read, lacks a column, or holds what does not fit; the message names it.
    """
    _, signature = reporting_version(workspace, name, version)
    frame = _read(workspace, source)
    needed = [identifier, prediction, *signature.names, *filter(None, (score, time, key, version_column))]
    _require(frame, needed, source)
    time = time or (signature.time if signature.time in frame.columns else None)
    key = key or (signature.key if signature.key in frame.columns else None)
    columns = {column: _plain(frame[column]) for column in dict.fromkeys([*needed, *filter(None, (time, key))])}
    from_database = isinstance(source, Query)
    inputs = [_typed(feature, columns[feature.name], from_database) for feature in signature.features]
    rows = [
        {
            "id": columns[identifier][i],
            "inputs": [values[i] for values in inputs],
            "prediction": columns[prediction][i],
            "probabilities": None if score is None else _shares(columns[score][i], i, score),
            "event_time": None if time is None else columns[time][i],
            "key": None if key is None else columns[key][i],
            "version": None if version_column is None else _version(columns[version_column][i]),
        }
        for i in range(len(frame))
    ]
    return take_predictions(workspace, name, rows, version=version)


def label_table(
    workspace: Workspace,
    name: str,
    source: Path,
    *,
    reference: str = "id",
    value: str = "label",
    time: str | None = None,
) -> Labelled:
    """Take the labels of a table.

    Raises:
        NotFoundError: there is no such deployment.
        DataError: the table cannot be read, or lacks a column; the message names it.
    """
    with workspace.state.read() as tx:
        find_deployment(tx, name)
    frame = _read(workspace, source)
    _require(frame, [reference, value, *filter(None, (time,))], source)
    references, values = _plain(frame[reference]), _plain(frame[value])
    times = [None] * len(frame) if time is None else _plain(frame[time])
    rows = [
        {"reference": one, "value": truth, "labelled_at": moment}
        for one, truth, moment in zip(references, values, times, strict=True)
    ]
    return take_labels(workspace, name, rows)


def kpi_table(
    workspace: Workspace, name: str, kpi: str, source: Path, *, time: str = "time", value: str = "value"
) -> Taken:
    """Take the points of a business KPI: a row each.

    Raises:
        NotFoundError: there is no such deployment.
        DataError: the table cannot be read, lacks a column, or holds what is no point; the message names it.
        ReadOnlyError: the workspace is read-only.
    """
    workspace.refuse_if_read_only("kpi import")
    with workspace.state.read() as tx:
        find_deployment(tx, name)
    frame = _read(workspace, source)
    _require(frame, [time, value], source)
    rows = zip(_plain(frame[time]), map(_number, _plain(frame[value])), strict=True)
    return add_points(workspace, name, kpi, checked_points(rows, str(source), workspace.now()), verb="kpi import")


def kpi_point(workspace: Workspace, name: str, kpi: str, value: float, at: datetime | None = None) -> Taken:
    """Take one point of a business KPI, of now where no time is given.

    Raises:
        NotFoundError: there is no such deployment.
        DataError: it is no figure, its time lies far ahead or before 1970, or `kpi` is no name.
        ReadOnlyError: the workspace is read-only.
    """
    workspace.refuse_if_read_only("kpi add")
    with workspace.state.read() as tx:
        find_deployment(tx, name)
    now = workspace.now()
    points = checked_points([(at or now, value)], "what was given", now)
    return add_points(workspace, name, kpi, points, verb="kpi add")


def _number(value: Any) -> Any:
    """The number that a text is: one that is none makes a whole column of a table text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _read(workspace: Workspace, source: Path | Query) -> pd.DataFrame:
    from quarterdeck.datasets.ingestion import read_table

    return source.read(workspace.ports.querier) if isinstance(source, Query) else read_table(source, DatasetSettings())


def _require(frame: pd.DataFrame, columns: Sequence[str], source: Path | Query) -> None:
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise DataError(
            f"{source} has no column {', '.join(lacking)}. It has: {', '.join(map(str, frame.columns))}. "
            "Name the right ones (see --help), or add them."
        )


def _version(value: Any) -> Any:
    """A whole number that a gap elsewhere in its column has made a float is one again."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _typed(feature: Feature, values: list[Any], from_database: bool) -> list[Any]:
    """Text that a table took for numbers, such as post codes, is text again; 0 and 1 of a database are booleans."""
    if feature.type == "boolean" and from_database:
        return [bool(value) if type(value) in (int, float) and value in (0, 1) else value for value in values]
    return [None if value is None else plain(value) for value in values] if feature.type == "text" else values


def _shares(score: Any, position: int, column: str) -> list[float] | None:
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise DataError(f"Column '{column}' takes probabilities, from 0 to 1; row {position + 1} has {score!r}.")
    return [1 - score, score]


def _plain(column: pd.Series[Any]) -> list[Any]:
    """Python values, None for a missing one, ISO text for a time."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        return [None if pd.isna(value) else value.isoformat() for value in column]
    return [None if value is None or value != value else value for value in column.astype(object)]
