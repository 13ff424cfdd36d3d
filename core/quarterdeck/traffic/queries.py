"""What panes and the command line read about traffic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from quarterdeck.database import rows_as_dicts, timestamp
from quarterdeck.workspace import Workspace

LATENCY_SAMPLE = 20_000


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


@dataclass(frozen=True, slots=True)
class PredictionRow:
    id: str
    key: str | None
    received_at: datetime
    event_time: datetime
    revision: int | None
    version: int
    variant: str
    inputs: list[Any]
    prediction: Any
    probabilities: list[float] | None
    latency_ms: float
    probe: bool
    label: Any
    """The truth, None until it is known."""


@dataclass(frozen=True, slots=True)
class Totals:
    predictions: int
    labels: int
    unrecorded: int


def traffic(workspace: Workspace, deployment: str, since: datetime) -> TrafficRow:
    """What a deployment answered from `since` until now."""
    values = {"deployment": deployment, "since": timestamp(since)}
    where = "deployment = :deployment AND received_at >= :since AND NOT probe"
    with workspace.traffic.read() as tx:
        connection = tx.connection()
        versions = rows_as_dicts(
            connection, f"SELECT version, count(*) AS n FROM prediction WHERE {where} GROUP BY version", **values
        )
        latencies = rows_as_dicts(
            connection,
            f"SELECT latency_us FROM prediction WHERE {where} AND latency_us > 0 "
            "ORDER BY received_at DESC LIMIT :limit",
            limit=LATENCY_SAMPLE,
            **values,
        )
        (unrecorded,) = rows_as_dicts(
            connection,
            "SELECT coalesce(sum(count), 0) AS n FROM unrecorded WHERE deployment = :deployment AND at >= :since",
            **values,
        )
    requests = sum(row["n"] for row in versions)
    seconds = max((workspace.now() - since).total_seconds(), 1e-6)
    ordered = sorted(row["latency_us"] / 1000 for row in latencies)
    p50, p95, p99 = (ordered[int(q * (len(ordered) - 1))] if ordered else None for q in (0.5, 0.95, 0.99))
    return TrafficRow(
        deployment=deployment,
        requests=requests,
        per_second=requests / seconds,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        versions={row["version"]: row["n"] for row in versions},
        unrecorded=unrecorded["n"],
    )


def recent(workspace: Workspace, deployment: str, limit: int = 100) -> list[PredictionRow]:
    """The newest predictions of a deployment, newest first, probes among them."""
    sql = """
        SELECT p.*, coalesce(by_id.value, by_key.value) AS label FROM prediction p
        LEFT JOIN label by_id ON by_id.deployment = p.deployment AND by_id.reference = p.id
        LEFT JOIN label by_key ON by_key.deployment = p.deployment AND by_key.reference = p.key
        WHERE p.deployment = :deployment ORDER BY p.received_at DESC LIMIT :limit
    """
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, deployment=deployment, limit=limit)
    return [
        PredictionRow(
            id=row["id"],
            key=row["key"],
            received_at=datetime.fromisoformat(row["received_at"]),
            event_time=datetime.fromisoformat(row["event_time"]),
            revision=row["revision"],
            version=row["version"],
            variant=row["variant"],
            inputs=msgspec.json.decode(row["inputs"]),
            prediction=msgspec.json.decode(row["prediction"]),
            probabilities=msgspec.json.decode(row["probabilities"]),
            latency_ms=row["latency_us"] / 1000,
            probe=bool(row["probe"]),
            label=None if row["label"] is None else msgspec.json.decode(row["label"]),
        )
        for row in rows
    ]


def totals(workspace: Workspace) -> Totals:
    """How much traffic the workspace holds; probes are not counted."""
    sql = """
        SELECT (SELECT count(*) FROM prediction WHERE NOT probe) AS predictions,
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
        FROM prediction
        WHERE deployment = :deployment AND received_at >= :since AND received_at < :until AND NOT probe
        GROUP BY bucket
    """
    values = {"deployment": deployment, "since": timestamp(since), "until": timestamp(until), "buckets": buckets}
    counts = [0] * buckets
    with workspace.traffic.read() as tx:
        for row in rows_as_dicts(tx.connection(), sql, **values):
            counts[min(row["bucket"], buckets - 1)] += row["n"]
    return counts


def requests_by_revision(workspace: Workspace, deployment: str) -> dict[int, int]:
    """How many predictions each revision has answered, probes not counted."""
    sql = """
        SELECT revision, count(*) AS n FROM prediction
        WHERE deployment = :deployment AND revision IS NOT NULL AND NOT probe GROUP BY revision
    """
    with workspace.traffic.read() as tx:
        return {row["revision"]: row["n"] for row in rows_as_dicts(tx.connection(), sql, deployment=deployment)}


def unanswered(workspace: Workspace, deployment: str, revision: int) -> dict[str, int]:
    """How many requests to a revision got an error, by reason."""
    sql = """
        SELECT reason, sum(count) AS n FROM unanswered
        WHERE deployment = :deployment AND revision = :revision GROUP BY reason ORDER BY reason
    """
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, deployment=deployment, revision=revision)
    return {row["reason"]: row["n"] for row in rows}


def latency_p95(
    workspace: Workspace, deployment: str, revision: int, *, since: datetime, until: datetime | None
) -> float | None:
    """The 95th percentile of a revision's latency in milliseconds, of its newest 20,000 predictions at most."""
    sql = """
        SELECT latency_us FROM prediction
        WHERE deployment = :deployment AND received_at >= :since AND received_at < :until AND revision = :revision
          AND NOT probe AND latency_us > 0 ORDER BY received_at DESC LIMIT :limit
    """
    values = {"deployment": deployment, "revision": revision, "since": timestamp(since), "limit": LATENCY_SAMPLE}
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, until="9" if until is None else timestamp(until), **values)
    ordered = sorted(row["latency_us"] / 1000 for row in rows)
    return ordered[int(0.95 * (len(ordered) - 1))] if ordered else None


def served_at_least(workspace: Workspace, deployment: str, revision: int, count: int, *, since: datetime) -> bool:
    """Whether a revision has answered `count` predictions, counted from `since` and no further than need be."""
    if count == 0:
        return True
    sql = """
        SELECT 1 FROM prediction
        WHERE deployment = :deployment AND received_at >= :since AND revision = :revision AND NOT probe
        ORDER BY received_at LIMIT 1 OFFSET :skip
    """
    values = {"deployment": deployment, "revision": revision, "since": timestamp(since), "skip": count - 1}
    with workspace.traffic.read() as tx:
        return bool(rows_as_dicts(tx.connection(), sql, **values))
