"""Reading a window of recorded traffic by event time, with the labels that have arrived."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from operator import itemgetter
from typing import Any

import msgspec
from sqlmodel import Session

from quarterdeck.database import rows_as_dicts, timestamp
from quarterdeck.traffic import segments
from quarterdeck.traffic.parquet import END_OF_TIME
from quarterdeck.traffic.segments import Moved, Row, rows_here
from quarterdeck.traffic.whole import Whole, in_proportion, together
from quarterdeck.workspace import Workspace

PIECE_ROWS = 50_000
"""Of a window that is read in pieces."""
_NAMES = ("event_time", "id", "key", "version", "inputs", "prediction", "probabilities")
_JOINED = """
    FROM prediction p
    LEFT JOIN label by_id ON by_id.deployment = p.deployment AND by_id.reference = p.id
    LEFT JOIN label by_key ON by_key.deployment = p.deployment AND by_key.reference = p.key
"""
_SELECTED = ", ".join(f"p.{name}" for name in _NAMES)
_LABEL = "coalesce(by_id.value, by_key.value, 'null') AS label"
_COLUMNS = f"SELECT {_SELECTED}, {_LABEL} {_JOINED}"


@dataclass(frozen=True, slots=True)
class WindowRows:
    """Predictions of one deployment, oldest first, all or a sample. Every list has an entry for each that is held."""

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
    whole: Mapping[int, Whole] | None = None
    """What is known of all rows by version, where the lists hold a sample of each one's; None where they hold all."""

    @property
    def n(self) -> int:
        """How many there are, held or not."""
        return len(self.ids) if self.whole is None else sum(one.n for one in self.whole.values())

    @property
    def labelled(self) -> int:
        """How many have a label, held or not."""
        if self.whole is not None:
            return sum(one.labelled for one in self.whole.values())
        return sum(label is not None for label in self.labels)

    @property
    def sampled(self) -> int | None:
        """How many are held, where that is a sample."""
        return None if self.whole is None else len(self.ids)

    @property
    def by_version(self) -> Counter[int]:
        """How many each version answered, held or not."""
        return Counter(self.versions if self.whole is None else {version: one.n for version, one in self.whole.items()})

    def lists(self) -> dict[str, list[Any]]:
        """Every list by its name."""
        return {name: getattr(self, name) for name in WindowRows.__dataclass_fields__ if name != "whole"}

    def of_version(self, version: int) -> WindowRows:
        """Those that one version answered."""
        rows = self.only([answered_by == version for answered_by in self.versions])
        if self.whole is None:
            return rows
        return replace(rows, whole={by: one for by, one in self.whole.items() if by == version})

    def taken_as(self, other: Callable[[int], int]) -> WindowRows:
        """Each version taken for another one. Of a sample those that become one are held in proportion."""
        rows = replace(self, versions=[other(version) for version in self.versions])
        if self.whole is None:
            return rows
        groups: dict[int, list[int]] = {}
        for version in self.whole:
            groups.setdefault(other(version), []).append(version)
        rows = rows.only(in_proportion(self.versions, self.whole, groups.values()))
        whole = {name: together([self.whole[one] for one in group]) for name, group in groups.items()}
        return replace(rows, whole=whole)

    def known(self) -> WindowRows:
        """Those that have a label."""
        return self.only([label is not None for label in self.labels])

    def at(self, takes: Callable[[datetime], bool]) -> WindowRows:
        """Those whose event time is taken."""
        return self.only([takes(time) for time in self.event_times])

    def only(self, wanted: Sequence[bool]) -> WindowRows:
        """Those of the rows held that are wanted: one word for each. What is known of all rows is not of them."""
        if all(wanted):
            return self if self.whole is None else replace(self, whole=None)
        kept = [i for i, one in enumerate(wanted) if one]
        return _of_lists({name: [values[i] for i in kept] for name, values in self.lists().items()})


def read_window(
    workspace: Workspace, deployment: str, start: datetime, end: datetime, *, version: int | None = None
) -> WindowRows:
    """The predictions with an event time in [start, end), of one version or of all, without probes."""

    def read(tx: Session) -> list[Row]:
        rows = chain.from_iterable(pieces(workspace, tx, deployment, start, end, version=version, labelled=True))
        return sorted(rows, key=itemgetter(0, 1))

    return decoded(segments.snapshot(workspace, read))


def pieces(
    workspace: Workspace,
    tx: Session,
    deployment: str,
    start: datetime,
    end: datetime,
    *,
    version: int | None = None,
    labelled: bool = False,
) -> Iterator[list[Row]]:
    """The rows of a window in no order, some 50,000 at a time, undecoded; without their labels unless `labelled`.

    Raises:
        FileNotFoundError: the file of a segment was removed, as `segments.snapshot` expects.
    """
    where, values = _within(deployment, start, end, version)
    sql = _COLUMNS if labelled else f"SELECT {_SELECTED}, 'null' AS label FROM prediction p"
    for some in tx.connection().exec_driver_sql(f"{sql} WHERE {where}", values).partitions(PIECE_ROWS):
        yield [tuple(row) for row in some]
    for segment in _segments(tx, deployment, start, end, version):
        for moved in _pieces_of_segment(workspace, segment, _NAMES, start, end, version):
            yield _with_labels(tx, deployment, moved) if labelled else [(*row, "null") for row in moved]


def most_rows(
    workspace: Workspace, deployment: str, start: datetime, end: datetime, *, version: int | None = None
) -> int:
    """How many predictions have an event time in [start, end) at the most, without reading one."""
    times = timestamp(start), timestamp(end)
    sql = "SELECT count(*) FROM prediction WHERE deployment = ? AND event_time >= ? AND event_time < ?"

    def read(tx: Session) -> int:
        n: int = tx.connection().exec_driver_sql(sql, (deployment, *times)).scalar_one()
        for segment in _segments(tx, deployment, start, end, version):
            within = segments.most_within(workspace, segment, times)
            n += within if version is None else min(within, segment.versions[version])
        return n

    return segments.snapshot(workspace, read)


def newest_window(workspace: Workspace, deployment: str, version: int, limit: int) -> WindowRows:
    """The newest `limit` predictions of a version, those with labels before those without; without probes."""
    # A label can only be told by the joins, so the choice is made among ten times as many of the newest rows.
    among = 10 * limit
    where = "p.deployment = :deployment AND p.version = :version AND NOT p.probe"
    inner = f"{_COLUMNS} WHERE {where} ORDER BY p.event_time DESC, p.id DESC LIMIT :among"
    # Sorted by what decides alone, and completed after that: inputs are large.
    deciding = f"SELECT p.id, p.event_time, {_LABEL} {_JOINED} WHERE {where}"
    choosing = f"""
        SELECT {_SELECTED}, label FROM (
            SELECT * FROM ({deciding} ORDER BY p.event_time DESC, p.id DESC LIMIT :among)
            ORDER BY label = 'null', event_time DESC, id DESC LIMIT :limit
        ) chosen JOIN prediction p ON p.deployment = :deployment AND p.id = chosen.id
    """
    last = f"SELECT event_time FROM prediction p WHERE {where} ORDER BY event_time DESC LIMIT 1 OFFSET :among - 1"
    values = {"deployment": deployment, "version": version, "among": among, "limit": limit}

    def read(tx: Session) -> list[Row]:
        def of_segment(segment: Moved) -> list[Row]:
            equal = {"version": version}
            return _with_labels(tx, deployment, segments.rows_of(workspace, segment, _NAMES, equal=equal, newest=among))

        moved = [segment for segment in segments.find(tx, deployment, "1") if version in segment.versions]
        if moved:
            since = next((time for (time,) in rows_here(tx, last, values)), "")
            moved = [segment for segment in moved if segment.last_event >= since]
        if not moved:
            return rows_here(tx, choosing, values)
        rows = segments.newest(rows_here(tx, inner, values), moved, lambda s: s.last_event, among, of_segment)
        return sorted(rows, key=lambda row: row[-1] == "null")[:limit]

    return decoded(sorted(segments.snapshot(workspace, read), key=itemgetter(0, 1)))


def merge_windows(windows: Sequence[WindowRows]) -> WindowRows:
    """All their rows, oldest first; none of them is a sample."""
    parts = [window.lists() for window in windows]
    lists = {name: list(chain.from_iterable(part[name] for part in parts)) for name in WindowRows().lists()}
    order = sorted(range(len(lists["ids"])), key=lambda i: (lists["event_times"][i], lists["ids"][i]))
    return _of_lists({name: [values[i] for i in order] for name, values in lists.items()})


def watermark(workspace: Workspace, deployment: str) -> datetime | None:
    """The newest event time that has arrived, probes aside; None when there is no traffic."""
    sql = """
        SELECT max(event_time) AS edge FROM (
            SELECT * FROM (SELECT event_time FROM prediction WHERE deployment = :deployment AND NOT probe
                           ORDER BY event_time DESC LIMIT 1)
            UNION ALL SELECT max(last_event) FROM segment WHERE deployment = :deployment AND rows > 0
        )
    """
    with workspace.traffic.read() as tx:
        (row,) = rows_as_dicts(tx.connection(), sql, deployment=deployment)
    return None if row["edge"] is None else datetime.fromisoformat(row["edge"])


def first_events(workspace: Workspace, deployment: str, since: datetime | None, limit: int) -> list[datetime]:
    """The oldest event times, or the oldest from `since` on, at most so many, in order; probes aside."""
    sql = """
        SELECT event_time FROM prediction WHERE deployment = :deployment AND event_time >= :since AND NOT probe
        ORDER BY event_time LIMIT :limit
    """
    begin = "" if since is None else timestamp(since)

    def read(tx: Session) -> list[str]:
        rows = rows_as_dicts(tx.connection(), sql, deployment=deployment, since=begin, limit=limit)
        times = [row["event_time"] for row in rows]
        found = segments.find(tx, deployment, "last_event >= :since", since=begin)
        for segment in sorted(found, key=lambda moved: moved.first_event):
            if len(times) >= limit and segment.first_event >= times[limit - 1]:
                break  # Nor do those behind it have an older one.
            if limit == 1 and segment.first_event >= begin:
                times.append(segment.first_event)
            else:
                between = {"event_time": (begin, END_OF_TIME)}
                times += [row[0] for row in segments.rows_of(workspace, segment, ("event_time",), between=between)]
            times = sorted(times)[:limit]
        return times

    return [datetime.fromisoformat(time) for time in segments.snapshot(workspace, read)]


def label_coverage(
    workspace: Workspace, deployment: str, start: datetime, end: datetime, *, version: int | None = None
) -> tuple[int, int]:
    """How many predictions have an event time in [start, end), and how many of them have a label; without probes."""
    where, values = _within(deployment, start, end, version)
    sql = f"""
        SELECT count(*) AS n, coalesce(sum(coalesce(by_id.value, by_key.value, 'null') <> 'null'), 0) AS labelled
        {_JOINED} WHERE {where}
    """

    def read(tx: Session) -> tuple[int, int]:
        (row,) = rows_as_dicts(tx.connection(), sql, **values)
        n, labelled = row["n"], row["labelled"]
        for segment in _segments(tx, deployment, start, end, version):
            for moved in _pieces_of_segment(workspace, segment, ("id", "key"), start, end, version):
                known = segments.labels(tx, deployment, (reference for pair in moved for reference in pair))
                n += len(moved)
                labelled += sum(segments.label_of(known, *pair) != "null" for pair in moved) if known else 0
        return n, labelled

    return segments.snapshot(workspace, read)


def _within(deployment: str, start: datetime, end: datetime, version: int | None) -> tuple[str, dict[str, Any]]:
    where = "p.deployment = :deployment AND p.event_time >= :start AND p.event_time < :end AND NOT p.probe"
    values: dict[str, Any] = {"deployment": deployment, "start": timestamp(start), "end": timestamp(end)}
    if version is not None:
        where += " AND p.version = :version"
        values["version"] = version
    return where, values


def _segments(tx: Session, deployment: str, start: datetime, end: datetime, version: int | None) -> list[Moved]:
    where = "last_event >= :start AND first_event < :end"
    found = segments.find(tx, deployment, where, start=timestamp(start), end=timestamp(end))
    return [segment for segment in found if version is None or version in segment.versions]


def _pieces_of_segment(
    workspace: Workspace, segment: Moved, names: Sequence[str], start: datetime, end: datetime, version: int | None
) -> Iterator[list[Row]]:
    between = {"event_time": (timestamp(start), timestamp(end))}
    equal = None if version is None else {"version": version}
    return segments.pieces_of(workspace, segment, names, PIECE_ROWS, between=between, equal=equal)


def _with_labels(tx: Session, deployment: str, rows: list[Row]) -> list[Row]:
    known = segments.labels(tx, deployment, (reference for row in rows for reference in row[1:3]))
    return [(*row, segments.label_of(known, row[1], row[2])) for row in rows]


def decoded(rows: list[Row]) -> WindowRows:
    """Rows as `pieces` gives them, in the order in which they are to be."""
    times, ids, keys, versions, *documents = zip(*rows, strict=True) if rows else [()] * (len(_NAMES) + 1)
    inputs, predictions, probabilities, labels = map(from_json, documents)
    return WindowRows(
        ids=list(ids),
        keys=list(keys),
        event_times=[datetime.fromisoformat(time) for time in times],
        versions=list(versions),
        inputs=inputs,
        predictions=predictions,
        probabilities=probabilities,
        labels=labels,
    )


def _of_lists(lists: Mapping[str, list[Any]]) -> WindowRows:
    return WindowRows(**lists, whole=None)


def from_json(documents: Iterable[str]) -> list[Any]:
    """Many small JSON documents in one go: a tenth of the time of one by one."""
    values: list[Any] = msgspec.json.decode("[" + ",".join(documents) + "]")
    return values
