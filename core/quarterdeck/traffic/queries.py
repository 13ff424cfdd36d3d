"""What panes and the command line read about traffic."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlmodel import Session

from quarterdeck.database import rows_as_dicts, timestamp
from quarterdeck.traffic import segments
from quarterdeck.traffic.listing import PredictionRow, Sought, prediction, recent
from quarterdeck.traffic.parquet import END_OF_TIME
from quarterdeck.traffic.prediction import FALLBACK, minute_of
from quarterdeck.traffic.segments import Moved, Row, rows_here
from quarterdeck.workspace import Workspace

__all__ = [
    "PredictionRow",
    "Sought",
    "Totals",
    "TrafficRow",
    "latency_p95",
    "prediction",
    "recent",
    "requests_by_revision",
    "served_at_least",
    "sparkline",
    "totals",
    "traffic",
    "unanswered",
]

LATENCY_SAMPLE = 20_000
_LATENCY = ("received_at", "id", "latency_us")


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """The traffic of one deployment since a moment. Probes are not counted."""

    deployment: str
    requests: int
    """Predictions: a request of several rows counts as many."""
    per_second: float
    p50_ms: float | None
    """Quantiles of the latency, of the newest 20,000 at most; None where no latency is known."""
    p95_ms: float | None
    p99_ms: float | None
    versions: dict[int, int]
    """For each version how many it answered."""
    unrecorded: int
    """Answered, but not recorded."""
    unanswered: dict[str, int]
    """Requests that got an error instead of a prediction, by the reasons that `Unanswered` names."""


@dataclass(frozen=True, slots=True)
class Totals:
    predictions: int
    labels: int
    unrecorded: int


def traffic(workspace: Workspace, deployment: str, since: datetime) -> TrafficRow:
    """What a deployment answered from `since` until now."""
    values = {"deployment": deployment, "since": timestamp(since)}
    where = "deployment = :deployment AND received_at >= :since AND NOT probe"

    def read(tx: Session) -> tuple[Counter[int], list[float], int, Counter[str]]:
        connection = tx.connection()
        sql = f"SELECT version, count(*) AS n FROM prediction WHERE {where} GROUP BY version"
        versions = Counter({row["version"]: row["n"] for row in rows_as_dicts(connection, sql, **values)})
        moved = segments.arrived(tx, deployment, values["since"])
        for segment in moved:
            versions.update(segments.counted(workspace, segment, "version", values["since"]))
        latencies = _latencies(workspace, tx, moved, where, values)
        sql = "SELECT coalesce(sum(count), 0) AS n FROM unrecorded WHERE deployment = :deployment AND at >= :since"
        (unrecorded,) = rows_as_dicts(connection, sql, **values)
        return versions, latencies, unrecorded["n"], _unanswered(tx, deployment, since)

    versions, latencies, unrecorded, unanswered = segments.snapshot(workspace, read)
    requests = versions.total()
    seconds = max((workspace.now() - since).total_seconds(), 1e-6)
    p50, p95, p99 = (_quantile(latencies, q) for q in (0.5, 0.95, 0.99))
    return TrafficRow(
        deployment=deployment,
        requests=requests,
        per_second=requests / seconds,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        versions=dict(versions),
        unrecorded=unrecorded,
        unanswered=dict(sorted(unanswered.items())),
    )


def totals(workspace: Workspace) -> Totals:
    """How much traffic the workspace holds; probes are not counted."""
    sql = """
        SELECT (SELECT count(*) FROM prediction WHERE NOT probe)
               + (SELECT coalesce(sum(rows), 0) FROM segment) AS predictions,
               (SELECT count(*) FROM label) AS labels,
               (SELECT coalesce(sum(count), 0) FROM unrecorded) AS unrecorded
    """
    with workspace.traffic.read() as tx:
        (row,) = rows_as_dicts(tx.connection(), sql)
    return Totals(**row)


def sparkline(workspace: Workspace, deployment: str, since: datetime, until: datetime, buckets: int = 30) -> list[int]:
    """How many predictions came in each of `buckets` equal parts of [since, until), probes not counted."""
    sql = """
        SELECT CAST((julianday(received_at) - julianday(:since)) / (julianday(:until) - julianday(:since))
                    * :buckets AS INTEGER) AS bucket, count(*) AS n
        FROM {source} GROUP BY bucket
    """
    here = """
        prediction
        WHERE deployment = :deployment AND received_at >= :since AND received_at < :until AND NOT probe
    """
    span = timestamp(since), timestamp(until)
    values = {"deployment": deployment, "since": span[0], "until": span[1], "buckets": buckets}

    def read(tx: Session) -> list[dict[str, Any]]:
        found = rows_as_dicts(tx.connection(), sql.format(source=here), **values)
        for segment in segments.arrived(tx, deployment, span[0], until=span[1]):
            times = segments.rows_of(workspace, segment, ("received_at",), between={"received_at": span})
            document = msgspec.json.encode([time for (time,) in times]).decode()
            source = "(SELECT value AS received_at FROM json_each(:times))"
            found += rows_as_dicts(tx.connection(), sql.format(source=source), times=document, **values)
        return found

    counts = [0] * buckets
    for row in segments.snapshot(workspace, read):
        counts[min(row["bucket"], buckets - 1)] += row["n"]
    return counts


def requests_by_revision(workspace: Workspace, deployment: str, *, only: int | None = None) -> dict[int, int]:
    """How many predictions each revision has answered, probes not counted; `only` one of them, for a shorter count."""
    which = "revision IS NOT NULL" if only is None else "revision = :only"
    sql = f"""
        SELECT revision, count(*) AS n FROM prediction
        WHERE deployment = :deployment AND {which} AND NOT probe GROUP BY revision
    """
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, deployment=deployment, **({} if only is None else {"only": only}))
        moved = segments.find(tx, deployment, "1")
    counts = Counter({row["revision"]: row["n"] for row in rows})
    for segment in moved:
        counts.update({number: n for number, n in segment.revisions.items() if only in (None, number)})
    return dict(counts)


def unanswered(workspace: Workspace, deployment: str, revision: int) -> dict[str, int]:
    """How many requests to a revision got an error, by reason."""
    sql = """
        SELECT reason, sum(count) AS n FROM unanswered
        WHERE deployment = :deployment AND revision = :revision GROUP BY reason ORDER BY reason
    """
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, deployment=deployment, revision=revision)
    return {row["reason"]: row["n"] for row in rows}


def unanswered_between(workspace: Workspace, deployment: str, start: datetime, end: datetime) -> dict[str, int]:
    """How many requests got an error at start <= t < end, by reason."""
    sql = """
        SELECT reason, sum(count) AS n FROM unanswered
        WHERE deployment = :deployment AND at >= :start AND at < :end GROUP BY reason ORDER BY reason
    """
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, deployment=deployment, start=timestamp(start), end=timestamp(end))
    return {row["reason"]: row["n"] for row in rows}


def fallbacks_between(workspace: Workspace, deployment: str, start: datetime, end: datetime) -> int:
    """How many predictions with an event time of start <= t < end the fallback made, probes not counted."""
    sql = """
        SELECT count(*) AS n FROM prediction
        WHERE deployment = :deployment AND event_time >= :start AND event_time < :end AND NOT probe
            AND variant = :variant
    """
    span = timestamp(start), timestamp(end)
    values = {"deployment": deployment, "start": span[0], "end": span[1], "variant": FALLBACK}

    def read(tx: Session) -> int:
        (row,) = rows_as_dicts(tx.connection(), sql, **values)
        moved = segments.find(tx, deployment, "last_event >= :start AND first_event < :end", start=span[0], end=span[1])
        equal = {"variant": FALLBACK}
        there = (segments.rows_of(workspace, one, ("id",), between={"event_time": span}, equal=equal) for one in moved)
        return int(row["n"]) + sum(map(len, there))

    return segments.snapshot(workspace, read)


def latency_p95(
    workspace: Workspace, deployment: str, revision: int, *, since: datetime, until: datetime | None
) -> float | None:
    """The 95th percentile of a revision's latency in milliseconds, of its newest 20,000 predictions at most."""
    where = """
        deployment = :deployment AND received_at >= :since AND received_at < :until AND revision = :revision
        AND NOT probe
    """
    start, end = timestamp(since), END_OF_TIME if until is None else timestamp(until)
    values = {"deployment": deployment, "revision": revision, "since": start, "until": end}

    def read(tx: Session) -> list[float]:
        moved = segments.arrived(tx, deployment, start, until=end)
        answered = [segment for segment in moved if revision in segment.revisions]
        return _latencies(workspace, tx, answered, where, values)

    return _quantile(segments.snapshot(workspace, read), 0.95)


def served_at_least(workspace: Workspace, deployment: str, revision: int, count: int, *, since: datetime) -> bool:
    """Whether a revision has answered `count` predictions, counted from `since` and no further than need be."""
    if count == 0:
        return True
    sql = """
        SELECT count(*) AS n FROM (
            SELECT 1 FROM prediction
            WHERE deployment = :deployment AND received_at >= :since AND revision = :revision AND NOT probe LIMIT :count
        )
    """
    start = timestamp(since)
    values = {"deployment": deployment, "revision": revision, "since": start, "count": count}

    def read(tx: Session) -> bool:
        (row,) = rows_as_dicts(tx.connection(), sql, **values)
        lacking: int = count - row["n"]
        for segment in segments.arrived(tx, deployment, start) if lacking > 0 else ():
            lacking -= segments.counted(workspace, segment, "revision", start, only=revision)[revision]
            if lacking <= 0:
                break
        return lacking <= 0

    return segments.snapshot(workspace, read)


def _unanswered(tx: Session, deployment: str, since: datetime) -> Counter[str]:
    """How many requests got an error since the minute of a moment, by reason."""
    sql = """
        SELECT reason, sum(count) AS n FROM unanswered WHERE deployment = :deployment AND at >= :since GROUP BY reason
    """
    rows = rows_as_dicts(tx.connection(), sql, deployment=deployment, since=minute_of(since))
    return Counter({row["reason"]: row["n"] for row in rows})


def _latencies(
    workspace: Workspace, tx: Session, moved: list[Moved], where: str, values: dict[str, Any]
) -> list[float]:
    """In milliseconds, ascending: of the newest 20,000 predictions at most whose latency is known."""
    sql = f"""
        SELECT {", ".join(_LATENCY)} FROM prediction WHERE {where} AND latency_us > 0
        ORDER BY received_at DESC, id DESC LIMIT :sample
    """
    between = {"received_at": (values["since"], values.get("until", END_OF_TIME))}
    equal = {"revision": values["revision"]} if "revision" in values else None

    def read(segment: Moved) -> list[Row]:
        return [
            row for row in segments.rows_of(workspace, segment, _LATENCY, between=between, equal=equal) if row[2] > 0
        ]

    rows = rows_here(tx, sql, {**values, "sample": LATENCY_SAMPLE})
    newest = segments.newest(rows, moved, lambda segment: segment.last_received, LATENCY_SAMPLE, read)
    return sorted(row[2] / 1000 for row in newest)


def _quantile(ordered: list[float], q: float) -> float | None:
    return ordered[int(q * (len(ordered) - 1))] if ordered else None
