"""The files of compacted traffic: what a prediction looks like in Parquet, written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import ArtifactError
from quarterdeck.traffic.files import written_whole

if TYPE_CHECKING:
    from pyarrow import Table
    from pyarrow.parquet import FileMetaData

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
    equal: Mapping[str, int] | None = None,
) -> Table:
    """The columns `names` of the first `rows` rows, of those that lie in the ranges and have the numbers given.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is damaged.
    """
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    between, equal = between or {}, equal or {}
    try:
        with ParquetFile(path) as file:
            groups, before = _groups(file.metadata, rows, between.get("event_time"))
            columns = list(dict.fromkeys([*names, *between, *equal]))
            # Threads of Arrow's own would stay behind in the gateway and the console.
            table = file.read_row_groups(groups, columns=columns, use_threads=False)
    except FileNotFoundError:
        raise
    except (ArrowException, OSError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Restore that file from a backup.") from error
    return _filtered(table.slice(0, rows - before), between, equal).select(names)


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


def _filtered(table: Table, between: Mapping[str, Range], equal: Mapping[str, int]) -> Table:
    from pyarrow import compute

    for name, (start, end) in between.items():
        column = table.column(name)
        table = table.filter(compute.and_(compute.greater_equal(column, start), compute.less(column, end)))
    for name, number in equal.items():
        table = table.filter(compute.equal(table.column(name), number))
    return table
