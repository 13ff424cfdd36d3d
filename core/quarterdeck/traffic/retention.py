"""Removing the oldest traffic: what was kept for long enough, then what does not fit. Age counts from arrival."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

from sqlmodel import Session

from quarterdeck.database import rows_as_dicts, timestamp
from quarterdeck.traffic import batches, segments
from quarterdeck.traffic.batches import Batches
from quarterdeck.traffic.files import megabytes, sync_folder
from quarterdeck.traffic.merging import BY_THE_MINUTE, merge_minutes
from quarterdeck.traffic.prediction import minute_of
from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Removed:
    predictions: int = 0
    labels: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(self.predictions + other.predictions, self.labels + other.labels)

    def __bool__(self) -> bool:
        return bool(self.predictions or self.labels)

    def __str__(self) -> str:
        return f"{self.predictions:,} predictions and {self.labels:,} labels"


@dataclass(frozen=True, slots=True)
class Retained:
    """What was removed and why, and what is left."""

    expired: Removed
    """Older than `traffic.keep`."""
    crowded_out: Removed
    """The oldest of what did not fit into `traffic.max_bytes`."""
    keep: timedelta
    max_bytes: int
    bytes: int
    """What recorded traffic occupies now: files, and the used pages of traffic.db."""

    def __str__(self) -> str:
        reasons = (
            (self.expired, f"that came longer ago than {str(self.keep).removesuffix(', 0:00:00')}"),
            (self.crowded_out, f"to stay within {megabytes(self.max_bytes)}"),
        )
        told = [f"{removed} removed {why}" for removed, why in reasons if removed]
        return "; ".join([*(told or ["nothing removed"]), f"{megabytes(self.bytes)} in all"])


def retain(workspace: Workspace) -> Retained:
    """Remove traffic that arrived longer ago than `traffic.keep`, then the oldest until `traffic.max_bytes` holds it.

    Counts by the minute become counts by the hour when they are old.

    Raises:
        BusyError: another process moves or removes traffic, or holds the lock of traffic.db, for long.
        DiskError: the disk is full or failed.
    """
    settings = workspace.settings.traffic
    with batches.alone(workspace, "retain"):
        _finish_removals(workspace)
        pace = Batches(workspace, "retain")
        merge_minutes(workspace, pace)
        expired = _remove_expired(workspace, pace, timestamp(workspace.now() - settings.keep))
        crowded_out = Removed()
        while (size := used_bytes(workspace)) > settings.max_bytes:
            removed = _remove_oldest(workspace, pace)
            if not removed:
                break
            crowded_out += removed
    return Retained(expired, crowded_out, settings.keep, settings.max_bytes, size)


def used_bytes(workspace: Workspace) -> int:
    """What recorded traffic occupies: the files of segments, and the pages of traffic.db that are in use."""
    sql = """
        SELECT (page_count - freelist_count) * page_size + (SELECT coalesce(sum(bytes), 0) FROM segment) AS bytes
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size
    """
    with workspace.traffic.read() as tx:
        (row,) = rows_as_dicts(tx.connection(), sql)
    return int(row["bytes"])


def _remove_expired(workspace: Workspace, pace: Batches, horizon: str) -> Removed:
    predictions = _remove_segments(workspace, "last_received < :horizon", horizon=horizon)
    with workspace.traffic.read() as tx:
        names = batches.deployments(tx)
    for name in names:
        where = "deployment = :name AND received_at < :horizon"
        predictions += _delete(pace, "prediction", where, name=name, horizon=horizon)
    _delete(pace, "unrecorded", "at < :horizon", horizon=horizon)
    _remove_counts(workspace, pace, horizon)
    _delete(pace, "kpi_point", "received_at < :horizon", key="deployment, name, at", horizon=horizon)
    return Removed(predictions, _delete(pace, "label", "received_at < :horizon", horizon=horizon))


def _remove_counts(workspace: Workspace, pace: Batches, horizon: str) -> None:
    """Remove what was counted before, and belongs to the period of no objective."""
    for table, others in BY_THE_MINUTE.items():
        with workspace.traffic.read() as tx:
            names = batches.deployments(tx, table)
        for name in names:
            slo = workspace.settings.deployment(name).slo
            needed = horizon if slo is None else min(horizon, minute_of(workspace.now() - slo.period))
            key = f"deployment, at, {others}"
            _delete(pace, table, "deployment = :name AND at < :horizon", key=key, name=name, horizon=needed)


def _remove_oldest(workspace: Workspace, pace: Batches) -> Removed:
    """One segment, or where there is none one batch of rows; and the labels that came before all that is left."""
    oldest = "id = (SELECT id FROM segment WHERE rows > 0 ORDER BY last_received, last_event, id LIMIT 1)"
    predictions = _remove_segments(workspace, oldest) or _remove_oldest_rows(pace)
    with workspace.traffic.read() as tx:
        left = _first_arrival(tx)
    if left is not None:
        return Removed(predictions, _delete(pace, "label", "received_at < :left", left=left))
    some = "rowid IN (SELECT rowid FROM label ORDER BY received_at LIMIT :some)"
    return Removed(predictions, _delete(pace, "label", some, once=True, some=pace.rows))


def _remove_oldest_rows(pace: Batches) -> int:
    sql = "SELECT received_at, rowid FROM prediction WHERE deployment = :name ORDER BY received_at LIMIT :limit"
    with pace.write() as tx:
        of_each = [segments.rows_here(tx, sql, {"name": n, "limit": pace.rows}) for n in batches.deployments(tx)]
        oldest = heapq.nsmallest(pace.rows, chain.from_iterable(map(tuple, rows) for rows in of_each))
        if not oldest:
            return 0
        deleting = "DELETE FROM prediction WHERE rowid = ?"
        return tx.connection().exec_driver_sql(deleting, [(rowid,) for _, rowid in oldest]).rowcount


def _first_arrival(tx: Session) -> str | None:
    """When the oldest prediction that is left arrived, probes aside."""
    sql = """
        SELECT received_at FROM prediction WHERE deployment = :name AND NOT probe ORDER BY received_at LIMIT 1
    """
    times = [row[0] for name in batches.deployments(tx) for row in segments.rows_here(tx, sql, {"name": name})]
    (row,) = rows_as_dicts(tx.connection(), "SELECT min(first_received) AS first FROM segment WHERE rows > 0")
    return min([*times, row["first"]] if row["first"] else times, default=None)


def _delete(
    pace: Batches, table: str, where: str, *, key: str = "rowid", once: bool = False, **values: str | int
) -> int:
    """Delete the rows for which `where` holds, some in each transaction; how many they were."""
    sql = f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {where} LIMIT :batch)"
    total = 0
    while True:
        with pace.write() as tx:
            deleted = tx.connection().exec_driver_sql(sql, {**values, "batch": pace.rows}).rowcount
        total += deleted
        if once or deleted == 0:
            return total


def _remove_segments(workspace: Workspace, where: str, **values: str) -> int:
    """Remove the segments for which `where` holds, with their files; how many predictions they held."""
    sql = f"SELECT coalesce(sum(rows), 0) AS n FROM segment WHERE rows > 0 AND {where}"
    with workspace.traffic.read() as tx:
        (row,) = rows_as_dicts(tx.connection(), sql, **values)
    if row["n"]:
        with workspace.traffic.write("retain") as tx:
            tx.connection().exec_driver_sql(f"UPDATE segment SET rows = 0, bytes = 0 WHERE {where}", values)
        _finish_removals(workspace)
    return int(row["n"])


def _finish_removals(workspace: Workspace) -> None:
    """Remove the files of segments that are given up, and then their rows."""
    with workspace.traffic.read() as tx:
        files = [row["file"] for row in rows_as_dicts(tx.connection(), "SELECT file FROM segment WHERE rows = 0")]
    if files:
        _have_on_disk(workspace)
        _unlink(workspace, files)
        with workspace.traffic.write("retain") as tx:
            tx.connection().exec_driver_sql("DELETE FROM segment WHERE rows = 0")


def _have_on_disk(workspace: Workspace) -> None:
    # traffic.db commits without waiting for the disk. After a power cut it must not know again of files that are gone.
    log = workspace.traffic.path.with_name(workspace.traffic.path.name + "-wal")
    handle = os.open(log, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unlink(workspace: Workspace, files: Iterable[str]) -> None:
    folder = segments.folder(workspace)
    for file in files:
        (folder / file).unlink(missing_ok=True)
    sync_folder(folder)
