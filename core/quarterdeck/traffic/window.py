"""Reading a window of recorded traffic by event time, with the labels that have arrived."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from quarterdeck.database import rows_as_dicts, timestamp
from quarterdeck.workspace import Workspace

_COLUMNS = """
    SELECT p.id, p.key, p.event_time, p.version, p.inputs, p.prediction, p.probabilities,
           coalesce(by_id.value, by_key.value, 'null') AS label
    FROM prediction p
    LEFT JOIN label by_id ON by_id.deployment = p.deployment AND by_id.reference = p.id
    LEFT JOIN label by_key ON by_key.deployment = p.deployment AND by_key.reference = p.key
"""


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Predictions of one deployment, oldest first. Every list has `n` entries, one for each prediction."""

    ids: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    event_times: list[datetime] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    inputs: list[list[Any]] = field(default_factory=list)
    """For each prediction its values in the order of the signature's features; None is missing."""
    predictions: list[Any] = field(default_factory=list)
    probabilities: list[list[float] | None] = field(default_factory=list)
    labels: list[Any] = field(default_factory=list)
    """The truth, None where it has not arrived."""

    @property
    def n(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> int:
        """How many have a label."""
        return sum(label is not None for label in self.labels)

    def of_version(self, version: int) -> WindowRows:
        """Those that one version answered."""
        kept = [i for i, answered_by in enumerate(self.versions) if answered_by == version]
        lists = {name: getattr(self, name) for name in WindowRows.__dataclass_fields__}
        return WindowRows(**{name: [values[i] for i in kept] for name, values in lists.items()})


def read_window(
    workspace: Workspace, deployment: str, start: datetime, end: datetime, *, version: int | None = None
) -> WindowRows:
    """The predictions with an event time in [start, end), of one version or of all, without probes."""
    where, values = _within(deployment, start, end, version)
    return _read(workspace, f"{_COLUMNS} WHERE {where} ORDER BY p.event_time, p.id", values)


def newest_window(workspace: Workspace, deployment: str, version: int, limit: int) -> WindowRows:
    """The newest `limit` predictions of a version, those with labels before those without; without probes."""
    # A label can only be told by the joins, so the choice is made among ten times as many of the newest rows.
    sql = f"""
        SELECT * FROM (
            SELECT * FROM ({_COLUMNS} WHERE p.deployment = :deployment AND p.version = :version AND NOT p.probe
                           ORDER BY p.event_time DESC LIMIT 10 * :limit)
            ORDER BY label = 'null', event_time DESC LIMIT :limit
        ) ORDER BY event_time, id
    """
    return _read(workspace, sql, {"deployment": deployment, "version": version, "limit": limit})


def watermark(workspace: Workspace, deployment: str) -> datetime | None:
    """The newest event time that has arrived, probes aside; None when there is no traffic."""
    return _edge(workspace, deployment, "DESC", None)


def first_event(workspace: Workspace, deployment: str, *, since: datetime | None = None) -> datetime | None:
    """The oldest event time, or the oldest from `since` on, probes aside; None when there is no such traffic."""
    return _edge(workspace, deployment, "ASC", since)


def label_coverage(
    workspace: Workspace, deployment: str, start: datetime, end: datetime, *, version: int | None = None
) -> tuple[int, int]:
    """How many predictions have an event time in [start, end), and how many of them have a label; without probes."""
    where, values = _within(deployment, start, end, version)
    sql = f"SELECT count(*) AS n, coalesce(sum(label <> 'null'), 0) AS labelled FROM ({_COLUMNS} WHERE {where})"
    with workspace.traffic.read() as tx:
        (row,) = rows_as_dicts(tx.connection(), sql, **values)
    return row["n"], row["labelled"]


def _within(deployment: str, start: datetime, end: datetime, version: int | None) -> tuple[str, dict[str, Any]]:
    where = "p.deployment = :deployment AND p.event_time >= :start AND p.event_time < :end AND NOT p.probe"
    values: dict[str, Any] = {"deployment": deployment, "start": timestamp(start), "end": timestamp(end)}
    if version is not None:
        where += " AND p.version = :version"
        values["version"] = version
    return where, values


def _edge(workspace: Workspace, deployment: str, order: str, since: datetime | None) -> datetime | None:
    sql = (
        "SELECT event_time FROM prediction WHERE deployment = :deployment AND event_time >= :since AND NOT probe "
        f"ORDER BY event_time {order} LIMIT 1"
    )
    values = {"deployment": deployment, "since": "" if since is None else timestamp(since)}
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, **values)
    return datetime.fromisoformat(rows[0]["event_time"]) if rows else None


def _read(workspace: Workspace, sql: str, values: dict[str, Any]) -> WindowRows:
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, **values)
    return WindowRows(
        ids=[row["id"] for row in rows],
        keys=[row["key"] for row in rows],
        event_times=[datetime.fromisoformat(row["event_time"]) for row in rows],
        versions=[row["version"] for row in rows],
        inputs=_decoded(row["inputs"] for row in rows),
        predictions=_decoded(row["prediction"] for row in rows),
        probabilities=_decoded(row["probabilities"] for row in rows),
        labels=_decoded(row["label"] for row in rows),
    )


def _decoded(documents: Any) -> list[Any]:
    """Many small JSON documents in one go: a tenth of the time of one by one."""
    values: list[Any] = msgspec.json.decode("[" + ",".join(documents) + "]")
    return values
