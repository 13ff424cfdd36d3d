"""Moving predictions of closed hours from traffic.db to Parquet files. A kill at any point loses and repeats nothing.

A file is on the disk under its own name before anything refers to it. From then on each transaction takes some rows out
of the table and says, in the segment's row, that so many rows of the file are meant: a read sees each row in one place.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from sqlalchemy import CursorResult
from sqlmodel import Session

from quarterdeck.database import rows_as_dicts, timestamp
from quarterdeck.errors import ArtifactError, ConflictError
from quarterdeck.traffic import batches, segments
from quarterdeck.traffic.files import TEMPORARY, megabytes
from quarterdeck.traffic.parquet import COLUMNS, ROW_GROUP, deployment_of, read_file, write_file
from quarterdeck.traffic.segment import Segment
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, Table

FILE_ROWS = 200_000
WORTH_A_FILE = 10_000
"""Closed hours of a day with fewer rows than this wait for the rest of the day: a window reads few files."""


@dataclass(frozen=True, slots=True)
class Compacted:
    predictions: int = 0
    files: int = 0
    bytes: int = 0
    """Of the files."""
    strays: tuple[str, ...] = ()
    """Files whose rows are known to nothing. They are left alone."""

    def __str__(self) -> str:
        told = f"{self.predictions:,} predictions moved to {self.files} files, {megabytes(self.bytes)}"
        return f"{told}; left alone, as nothing knows them: {', '.join(self.strays)}" if self.strays else told


def compact(workspace: Workspace, *, check: Callable[[], None] = lambda: None) -> Compacted:
    """Move the predictions of hours that are closed, by event time and by arrival, for `traffic.compact_after`.

    `check` is called before each file, and may raise to end it.

    Raises:
        BusyError: another process moves or removes traffic, or holds the lock of traffic.db, for long.
        DiskError: the disk is full or failed.
    """
    files = []
    with batches.alone(workspace, "compact"):
        strays = _remove_leftovers(workspace)
        cutoff = workspace.now() - workspace.settings.traffic.compact_after
        with workspace.traffic.read() as tx:
            names = batches.deployments(tx)
        for deployment in names:
            for day, hours in _closed_hours(workspace, deployment, cutoff).items():
                check()
                while moved := _move_some(workspace, deployment, day, hours, timestamp(cutoff)):
                    files.append(moved)
                    check()
    return Compacted(sum(n for n, _ in files), len(files), sum(size for _, size in files), strays)


def _closed_hours(workspace: Workspace, deployment: str, cutoff: datetime) -> dict[str, list[str]]:
    """For each day (2026-01-05) its hours (2026-01-05T07) that can be moved, where they are worth a file."""
    sql = """
        SELECT substr(event_time, 1, 13) AS hour, count(*) AS rows, max(received_at) AS newest FROM prediction
        WHERE deployment = :deployment AND event_time < :before AND NOT probe GROUP BY hour
    """
    before, arrived = timestamp(cutoff)[:13], timestamp(cutoff)
    with workspace.traffic.read() as tx:
        hours = rows_as_dicts(tx.connection(), sql, deployment=deployment, before=before)
    chosen = {}
    for day in dict.fromkeys(row["hour"][:10] for row in hours):
        of_day = [row for row in hours if row["hour"].startswith(day)]
        closed = [row for row in of_day if row["newest"] < arrived]
        whole = day < before[:10] and len(closed) == len(of_day)
        if closed and (whole or sum(row["rows"] for row in closed) >= WORTH_A_FILE):
            chosen[day] = [row["hour"] for row in closed]
    return chosen


def _move_some(
    workspace: Workspace, deployment: str, day: str, hours: list[str], arrived: str
) -> tuple[int, int] | None:
    """Move the oldest rows of those hours to one file; how many they were, and its bytes. None when there are none."""
    sql = f"""
        SELECT {", ".join(COLUMNS)} FROM prediction
        WHERE deployment = :deployment AND event_time >= :day AND event_time < :next
          AND substr(event_time, 1, 13) IN (SELECT value FROM json_each(:hours))
          AND received_at < :arrived AND NOT probe
        ORDER BY event_time, id LIMIT :limit
    """
    following = (datetime.fromisoformat(day) + timedelta(days=1)).date().isoformat()
    values = {"deployment": deployment, "day": day, "next": following, "arrived": arrived, "limit": FILE_ROWS}
    path = segments.folder(workspace) / f"{quote(deployment, safe='')}-{day}-{secrets.token_hex(6)}.parquet"
    with workspace.traffic.read() as tx:
        found = tx.connection().exec_driver_sql(sql, {**values, "hours": msgspec.json.encode(hours).decode()})
        groups = _groups(found)
        first = next(groups, None)
        if first is None:
            return None
        rows = write_file(path, deployment, _chained(first, groups))
    size = path.stat().st_size
    _move(workspace, deployment, path.name, rows, size)
    return rows.num_rows, size


def _groups(found: CursorResult[Any]) -> Iterator[list[tuple[Any, ...]]]:
    for some in found.partitions(ROW_GROUP):
        yield [tuple(row) for row in some]


def _chained(first: list[tuple[Any, ...]], others: Iterable[list[tuple[Any, ...]]]) -> Iterator[list[tuple[Any, ...]]]:
    yield first
    yield from others


def _move(workspace: Workspace, deployment: str, file: str, rows: Table, size: int) -> None:
    """Take the rows of a file out of the table, some in each transaction, in the order of the file."""
    pace = batches.Batches(workspace, "compact")
    ids = rows.column("id").to_pylist()
    segment = Segment(deployment=deployment, file=file, bytes=size, **_described(rows.slice(0, 1)))
    done = 0
    while done < len(ids):
        batch = ids[done : done + pace.rows]
        described = _described(rows.slice(0, done + len(batch)))
        with pace.write() as tx:
            _take_out(tx, deployment, batch)
            segment = tx.merge(segment)
            for name, value in described.items():
                setattr(segment, name, value)
        done += len(batch)


def _take_out(tx: Session, deployment: str, ids: list[str]) -> None:
    sql = "DELETE FROM prediction WHERE deployment = ? AND id = ?"
    if tx.connection().exec_driver_sql(sql, [(deployment, id_) for id_ in ids]).rowcount != len(ids):
        raise ConflictError(
            f"Predictions of '{deployment}' were removed by somebody else while they were moved to a file. "
            "The next compaction goes on with those that are left."
        )


def _described(rows: Table) -> dict[str, Any]:
    """What a segment's row says of these rows of a file, which are its first ones."""
    from pyarrow import compute

    received = compute.min_max(rows.column("received_at")).as_py()
    return {
        "rows": rows.num_rows,
        "first_event": datetime.fromisoformat(rows.column("event_time")[0].as_py()),
        "last_event": datetime.fromisoformat(rows.column("event_time")[-1].as_py()),
        "first_received": datetime.fromisoformat(received["min"]),
        "last_received": datetime.fromisoformat(received["max"]),
        "versions": _counts(rows.column("version")),
        "revisions": _counts(rows.column("revision").drop_null()),
    }


def _counts(numbers: ChunkedArray) -> dict[str, int]:
    return {str(found["values"]): found["counts"] for found in numbers.value_counts().to_pylist()}


def _remove_leftovers(workspace: Workspace) -> tuple[str, ...]:
    """Remove what killed compactions left behind; the names of files that are something else."""
    folder = segments.folder(workspace)
    for path in folder.glob(f"*{TEMPORARY}"):
        path.unlink()
    with workspace.traffic.read() as tx:
        known = {row["file"] for row in rows_as_dicts(tx.connection(), "SELECT file FROM segment")}
    strays = []
    for path in sorted(folder.glob("*.parquet")):
        if path.name not in known:
            if _is_copy(workspace, path):
                path.unlink()
            else:
                strays.append(path.name)
    return tuple(strays)


def _is_copy(workspace: Workspace, path: Path) -> bool:
    """Whether all that a file holds is in the table: it was written, and nothing was taken out yet."""
    try:
        deployment = deployment_of(path)
        ids = read_file(path, ("id",), rows=2**62).column("id").to_pylist()
    except ArtifactError:
        return False
    found = 0
    with workspace.traffic.read() as tx:
        for start in range(0, len(ids), segments.AT_ONCE):
            some = ids[start : start + segments.AT_ONCE]
            marks = ", ".join("?" * len(some))
            sql = f"SELECT count(*) FROM prediction WHERE deployment = ? AND id IN ({marks})"
            found += tx.connection().exec_driver_sql(sql, (deployment, *some)).scalar_one()
    return found == len(ids)
