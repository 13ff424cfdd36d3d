"""The files of compacted traffic: what a prediction looks like in Parquet, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import ArtifactError
from quarterdeck.traffic.files import written_whole

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, Table
    from pyarrow.parquet import FileMetaData, ParquetFile

COLUMNS = (
    "id",
    "key",
    "received_at",
    "event_time",
    "revision",
    "version",
    "variant",
    "inputs",
    "prediction",
    "probabilities",
    "latency_us",
)
"""Those of the table, as they are there: times and JSON documents stay text, so that nothing of them can change."""
ROW_GROUP = 10_000
Range = tuple[str, str]
"""Texts: from the first on, and before the second."""
Equal = Mapping[str, int | str]
"""Values of columns that a row must have."""
END_OF_TIME = "9"
"""Behind every time that is written as text."""
_WHOLE_NUMBERS = frozenset({"revision", "version", "latency_us"})
_NEEDED_LATER = ("id", "event_time", "received_at", "version", "revision")


def write_file(path: Path, deployment: str, batches: Iterable[Sequence[Sequence[Any]]]) -> Table:
    """Write rows, each with a value for each of `COLUMNS`, ordered by event time and id; one row group for each batch.

    The file is complete and on the disk when it gets its name. Returns the columns that describe its rows.

    Raises:
        DiskError: the disk is full or failed; nothing is left behind.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    schema = pa.schema([(name, pa.int64() if name in _WHOLE_NUMBERS else pa.string()) for name in COLUMNS])
    schema = schema.with_metadata({"deployment": deployment})
    kept = []
    with (
        written_whole(path) as temporary,
        ParquetWriter(temporary, schema, compression="zstd", write_statistics=["event_time"]) as writer,
    ):
        for batch in batches:
            table = pa.Table.from_arrays(
                [pa.array(values, field.type) for values, field in zip(zip(*batch, strict=True), schema, strict=True)],
                schema=schema,
            )
            writer.write_table(table, row_group_size=ROW_GROUP)
            kept.append(table.select(_NEEDED_LATER))
    return pa.concat_tables(kept)


def read_file(
    path: Path,
    names: Sequence[str],
    *,
    rows: int,
    between: Mapping[str, Range] | None = None,
    equal: Equal | None = None,
) -> Table:
    """The columns `names` of the first `rows` rows, of those that lie in the ranges and have the values given.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is damaged.
    """
    between, equal = between or {}, equal or {}
    with _opened(path) as file:
        groups, before = _groups(file.metadata, rows, between.get("event_time"))
        table = _read(file, groups, dict.fromkeys([*names, *between, *equal]))
    table = table.slice(0, rows - before)
    return table.filter(_fitting(table, between, equal)).select(names)


def read_pieces(
    path: Path,
    names: Sequence[str],
    piece: int,
    *,
    rows: int,
    between: Mapping[str, Range] | None = None,
    equal: Equal | None = None,
) -> Iterator[Table]:
    """As `read_file`, some `piece` rows of the file at a time: those of them that fit.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is damaged.
    """
    between, equal = between or {}, equal or {}
    at_once = max(1, piece // ROW_GROUP)
    with _opened(path) as file:
        groups, before = _groups(file.metadata, rows, between.get("event_time"))
        for start in range(0, len(groups), at_once):
            table = _read(file, groups[start : start + at_once], dict.fromkeys([*names, *between, *equal]))
            size = table.num_rows
            table = table.slice(0, rows - before)
            before += size
            yield table.filter(_fitting(table, between, equal)).select(names)


def rows_within(path: Path, times: Range, *, rows: int) -> int:
    """How many of the first `rows` rows lie in a range of event times at the most: told by the file's own statistics.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is damaged.
    """
    with _opened(path) as file:
        groups, before = _groups(file.metadata, rows, times)
        held: int = sum(file.metadata.row_group(group).num_rows for group in groups)
    return min(held, rows - before)


def read_newest(
    path: Path,
    names: Sequence[str],
    newest: int,
    *,
    rows: int,
    between: Mapping[str, Range] | None = None,
    equal: Equal | None = None,
) -> Table:
    """As `read_file`, but only the `newest` rows with the greatest first two columns, in no order.

    Which they are is decided first; then only the row groups that hold them are read whole, since inputs are large.
    """
    import pyarrow as pa
    from pyarrow import compute

    between, equal = between or {}, equal or {}
    with _opened(path) as file:
        groups, before = _groups(file.metadata, rows, between.get("event_time"))
        limited = _read(file, groups, dict.fromkeys([*between, *equal])).slice(0, rows - before)
        kept = compute.indices_nonzero(_fitting(limited, between, equal))
        if newest < len(kept):
            deciding = _read(file, groups, names[:2]).take(kept).append_column("row", kept)
            kept = deciding.sort_by([(name, "descending") for name in names[:2]]).column("row").slice(0, newest)
        holding, positions = _holding(file.metadata, groups, sorted(kept.to_pylist()))
        return _read(file, holding, names).take(pa.array(positions, pa.int64()))


@contextmanager
def _opened(path: Path) -> Iterator[ParquetFile]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            yield file
    except FileNotFoundError:
        raise
    except (ArrowException, OSError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Restore that file from a backup.") from error


def _read(file: ParquetFile, groups: Sequence[int], names: Iterable[str]) -> Table:
    # Threads of Arrow's own would stay behind in the gateway and the console.
    return file.read_row_groups(groups, columns=list(names), use_threads=False)


def _holding(metadata: FileMetaData, groups: Sequence[int], rows: Sequence[int]) -> tuple[list[int], list[int]]:
    """Those of the groups that hold `rows`, counted from the first group on, and where the rows are among theirs."""
    holding: list[int] = []
    positions: list[int] = []
    passed = 0
    sizes = [metadata.row_group(group).num_rows for group in groups]
    for group, size, end in zip(groups, sizes, accumulate(sizes), strict=True):
        here = [row - passed for row in rows if end - size <= row < end]
        if here:
            holding.append(group)
            positions += here
        else:
            passed += size
    return holding, positions


def deployment_of(path: Path) -> str:
    """The deployment whose predictions a file holds.

    Raises:
        ArtifactError: it is damaged.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import read_schema

    try:
        return str(read_schema(path).metadata[b"deployment"].decode())
    except (ArrowException, OSError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Restore that file from a backup.") from error


def _groups(metadata: FileMetaData, rows: int, times: Range | None) -> tuple[list[int], int]:
    """The row groups that may hold such rows, which follow each other, and how many rows lie before them."""
    column = COLUMNS.index("event_time")
    groups: list[int] = []
    first = position = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        bounds = group.column(column).statistics
        outside = times is not None and bounds is not None and (bounds.max < times[0] or bounds.min >= times[1])
        if position < rows and not outside:
            first = first if groups else position
            groups.append(number)
        position += group.num_rows
    return groups, first


def _fitting(table: Table, between: Mapping[str, Range], equal: Equal) -> ChunkedArray:
    """(rows,): which rows lie in the ranges and have the values given."""
    import pyarrow as pa
    from pyarrow import compute

    fitting = pa.chunked_array([pa.repeat(True, table.num_rows)])
    for name, (start, end) in between.items():
        column = table.column(name)
        within = compute.and_(compute.greater_equal(column, start), compute.less(column, end))
        fitting = compute.and_(fitting, within)
    for name, value in equal.items():
        fitting = compute.and_(fitting, compute.equal(table.column(name), value))
    return fitting
