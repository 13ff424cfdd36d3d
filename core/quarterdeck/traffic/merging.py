"""Counts by the minute that are old become counts by the hour: of a period of weeks nobody asks for minutes."""

from __future__ import annotations

from datetime import datetime, timedelta

from quarterdeck.database import timestamp
from quarterdeck.traffic import batches
from quarterdeck.traffic.batches import Batches
from quarterdeck.workspace import Workspace

BY_THE_MINUTE = {"answered": "within_us", "unanswered": "revision, reason"}
"""Tables with counts of a deployment and a minute, and what else is in their keys."""
KEPT = timedelta(days=7)
"""Minutes are kept for so long. What looks back further is off by what happened in a part of an hour."""


def merge_minutes(workspace: Workspace, pace: Batches) -> None:
    """Merge the minutes of each hour that ended a week ago into one row; an hour in each transaction.

    Raises:
        BusyError: somebody else held the lock of traffic.db for long.
        DiskError: the disk is full or failed; what is not merged stays as it is.
    """
    before = timestamp(workspace.now() - KEPT)[:13]
    for table, others in BY_THE_MINUTE.items():
        with workspace.traffic.read() as tx:
            names = batches.deployments(tx, table)
        for name in names:
            after = ""
            while (hour := _next_hour(workspace, table, name, after, before)) is not None:
                after = _following(hour)
                _merge(pace, table, others, name, hour, after)


def _next_hour(workspace: Workspace, table: str, name: str, after: str, before: str) -> str | None:
    """The first hour (2026-01-05T07) with minutes that are not merged, from `after` on; None where there is none."""
    sql = f"""
        SELECT substr(at, 1, 13) FROM {table}
        WHERE deployment = ? AND at >= ? AND at < ? AND substr(at, 15, 2) <> '00' ORDER BY at LIMIT 1
    """
    with workspace.traffic.read() as tx:
        found = tx.connection().exec_driver_sql(sql, (name, after, before)).scalar_one_or_none()
    return None if found is None else str(found)


def _merge(pace: Batches, table: str, others: str, name: str, hour: str, end: str) -> None:
    first = f"{hour}:00:00.000000Z"
    merging = f"""
        INSERT INTO {table} (deployment, at, {others}, count)
        SELECT deployment, :first, {others}, sum(count) FROM {table}
        WHERE deployment = :name AND at > :first AND at < :end GROUP BY {others}
        ON CONFLICT DO UPDATE SET count = count + excluded.count
    """
    values = {"name": name, "first": first, "end": end}
    with pace.write() as tx:
        tx.connection().exec_driver_sql(merging, values)
        removing = f"DELETE FROM {table} WHERE deployment = :name AND at > :first AND at < :end"
        tx.connection().exec_driver_sql(removing, values)


def _following(hour: str) -> str:
    return timestamp(datetime.fromisoformat(f"{hour}:00:00+00:00") + timedelta(hours=1))[:13]
