"""Finding and reading segments, so that reads answer the same wherever predictions are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from sqlmodel import Session

from quarterdeck.database import rows_as_dicts
from quarterdeck.errors import ArtifactError
from quarterdeck.traffic.parquet import END_OF_TIME, Equal, Range, read_file, read_newest, read_pieces, rows_within
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    from pyarrow import Table

T = TypeVar("T")
Row = tuple[Any, ...]

LOOKS = 5
AT_ONCE = 10_000
"""Values that are bound to one query: SQLite takes 32,766."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A segment as reads need it; times are text, as in every query. `Segment` explains the fields."""

    id: int
    file: str
    rows: int
    first_event: str
    last_event: str
    first_received: str
    last_received: str
    versions: dict[int, int]
    revisions: dict[int, int]


def folder(workspace: Workspace) -> Path:
    """Where the files are."""
    return workspace.folder / "traffic"


def snapshot(workspace: Workspace, read: Callable[[Session], T]) -> T:
    """What `read` finds in one read transaction; it may open the files of segments that it finds there.

    Raises:
        ArtifactError: the file of a segment is missing.
    """
    for _ in range(LOOKS - 1):
        # Retention may remove a segment between the look at the table and the one into its file.
        with suppress(FileNotFoundError), workspace.traffic.read() as tx:
            return read(tx)
    try:
        with workspace.traffic.read() as tx:
            return read(tx)
    except FileNotFoundError as error:
        raise ArtifactError(f"{error.filename} is missing. Restore that file from a backup.") from error


def find(tx: Session, deployment: str, where: str, **values: Any) -> list[Moved]:
    """The segments of a deployment for which `where` holds."""
    sql = f"""
        SELECT id, file, rows, first_event, last_event, first_received, last_received, versions, revisions
        FROM segment WHERE deployment = :deployment AND rows > 0 AND {where}
    """
    return [
        Moved(**{**row, "versions": _counts(row["versions"]), "revisions": _counts(row["revisions"])})
        for row in rows_as_dicts(tx.connection(), sql, deployment=deployment, **values)
    ]


def arrived(tx: Session, deployment: str, since: str, *, until: str = END_OF_TIME) -> list[Moved]:
    """The segments with arrivals in [since, until)."""
    where = "last_received >= :since AND first_received < :until"
    return find(tx, deployment, where, since=since, until=until)


def counted(workspace: Workspace, segment: Moved, column: str, since: str, *, only: int | None = None) -> Counter[int]:
    """How many rows of a segment came from `since` on, by `version` or by `revision`; of one of them with `only`."""
    known = segment.versions if column == "version" else segment.revisions
    if segment.first_received >= since or (only is not None and only not in known):
        return Counter(known)
    rows = rows_of(workspace, segment, (column,), between={"received_at": (since, END_OF_TIME)})
    return Counter(number for (number,) in rows if number is not None)


def rows_here(tx: Session, sql: str, values: Mapping[str, Any]) -> list[Row]:
    """The rows of a query, as tuples, where dictionaries would cost more than the query."""
    return [*tx.connection().exec_driver_sql(sql, dict(values))]


def rows_of(
    workspace: Workspace,
    segment: Moved,
    names: Sequence[str],
    *,
    between: Mapping[str, Range] | None = None,
    equal: Equal | None = None,
    newest: int | None = None,
) -> list[Row]:
    """The columns `names` of a segment's rows within the ranges and with the values given, in the order of the file.

    With `newest` only so many: those with the greatest first two columns, in no order.

    Raises:
        FileNotFoundError: the file was removed.
        ArtifactError: it is damaged.
    """
    with _found(workspace, segment) as path:
        if newest is None:
            table = read_file(path, names, rows=segment.rows, between=between, equal=equal)
        else:
            table = read_newest(path, names, newest, rows=segment.rows, between=between, equal=equal)
    return _as_rows(table, names)


def pieces_of(
    workspace: Workspace,
    segment: Moved,
    names: Sequence[str],
    piece: int,
    *,
    between: Mapping[str, Range],
    equal: Equal | None = None,
) -> Iterator[list[Row]]:
    """As `rows_of`, some `piece` rows of the file at a time: those of them that fit.

    Raises:
        FileNotFoundError: the file was removed.
        ArtifactError: it is damaged.
    """
    with _found(workspace, segment) as path:
        for table in read_pieces(path, names, piece, rows=segment.rows, between=between, equal=equal):
            yield _as_rows(table, names)


def most_within(workspace: Workspace, segment: Moved, times: Range) -> int:
    """How many rows of a segment lie in a range of event times at the most.

    Raises:
        FileNotFoundError: the file was removed.
        ArtifactError: it is damaged.
    """
    if times[0] <= segment.first_event and segment.last_event < times[1]:
        return segment.rows
    with _found(workspace, segment) as path:
        return rows_within(path, times, rows=segment.rows)


@contextmanager
def _found(workspace: Workspace, segment: Moved) -> Iterator[Path]:
    """The path of a segment's file, for as long as it is read."""
    path = folder(workspace) / segment.file
    try:
        yield path
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from error


def _as_rows(table: Table, names: Sequence[str]) -> list[Row]:
    return list(zip(*(table.column(name).to_pylist() for name in names), strict=True))


def newest(
    rows: list[Row],
    segments: Iterable[Moved],
    by: Callable[[Moved], str],
    limit: int,
    read: Callable[[Moved], list[Row]],
) -> list[Row]:
    """The `limit` newest, newest first, of `rows`, which are so already, and of what `read` finds in the segments.

    Each row begins with its time and its id. `by` is the newest such time of a segment.
    """
    for segment in sorted(segments, key=by, reverse=True):
        if len(rows) >= limit and by(segment) < rows[limit - 1][0]:
            break
        rows = sorted([*rows, *read(segment)], key=itemgetter(0, 1), reverse=True)[:limit]
    return rows


def labels(tx: Session, deployment: str, references: Iterable[str | None]) -> dict[str | None, str]:
    """The labels, as JSON, of those ids and keys that have one, and perhaps those of others."""
    connection = tx.connection()
    wanted = {reference for reference in references if reference is not None}
    # Reading one after the other is ten times as fast as looking each up, unless most are of other predictions.
    some_more = 2 * len(wanted)
    counting = "SELECT count(*) FROM (SELECT 1 FROM label WHERE deployment = ? LIMIT ?)"
    few = connection.exec_driver_sql(counting, (deployment, some_more)).scalar_one() < some_more
    sql = "SELECT reference, value FROM label WHERE deployment = ?"
    if few:
        return dict(map(tuple, connection.exec_driver_sql(sql, (deployment,)).all()))
    found: dict[str | None, str] = {}
    rest = iter(wanted)
    # Bound one by one: through JSON a text with a NUL in it would come out shorter.
    while some := tuple(islice(rest, AT_ONCE)):
        marks = ", ".join("?" * len(some))
        found.update(
            map(tuple, connection.exec_driver_sql(f"{sql} AND reference IN ({marks})", (deployment, *some)).all())
        )
    return found


def label_of(known: Mapping[str | None, str], id_: str, key: str | None) -> str:
    """The label of one prediction, by its id before its key, as JSON: `null` where there is none."""
    return known.get(id_) or known.get(key) or "null"


def _counts(document: str) -> dict[int, int]:
    return {int(number): count for number, count in msgspec.json.decode(document).items()}
