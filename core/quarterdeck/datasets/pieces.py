"""Tables that need not fit into memory: read in pieces, and written in pieces under a temporary name."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from quarterdeck.datasets.conversion import NUMBER, mend_texts
from quarterdeck.datasets.reading import SNIFFED_BYTES, checked, delimiter_of, header_of
from quarterdeck.errors import DataError, UsageError
from quarterdeck.settings.making import DatasetSettings

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_BYTES = 8 << 20
PIECE_ROWS = 20_000
SUFFIXES = (".csv", ".tsv", ".parquet")


class TableWriter(Protocol):
    def write(self, table: pa.Table) -> None:
        """Append the rows of a table that has the same columns each time."""
        ...

    def close(self) -> None: ...


def read_pieces(path: Path) -> Iterator[pa.Table]:
    """The rows of a CSV (also .tsv and .gz) or Parquet file, in order. What stands in a CSV file stays text.

    Raises:
        DataError: it is missing or cannot be read as a table, now or at a later piece.
    """
    import pyarrow as pa

    none = True
    try:
        for piece in _parquet_pieces(path) if path.suffix.lower() == ".parquet" else _csv_pieces(path):
            none = False
            yield piece
    except FileNotFoundError:
        raise DataError(f"{path} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a directory. Name a file: CSV or Parquet.") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}.") from error
    if none:
        raise DataError(f"{path} has no rows. A table needs a header line and rows.")


def numbers(column: pa.ChunkedArray) -> pa.ChunkedArray | int:
    """A column of texts as numbers, or the first row (from 0) that holds none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_text(column):
        return column
    strange = pc.and_kleene(pc.is_valid(column), pc.invert(pc.match_substring_regex(column, NUMBER)))
    row: int = pc.index(strange, True).as_py()
    return row if row >= 0 else pc.cast(pc.utf8_ltrim(column, characters="+"), pa.float64())


def booleans(column: pa.ChunkedArray) -> pa.ChunkedArray | int:
    """A column of texts as true and false, or the first row (from 0) that is neither."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_text(column):
        return column
    lower = pc.utf8_lower(column)
    known = pc.is_in(lower, value_set=pa.array(["true", "false"]))
    row: int = pc.index(pc.and_kleene(pc.is_valid(column), pc.invert(known)), True).as_py()
    return row if row >= 0 else pc.equal(lower, "true")


@contextmanager
def writing(path: Path) -> Iterator[tuple[Path, TableWriter]]:
    """A writer for a file beside `path`, and that file's name; the caller renames it once it is whole.

    Whatever is not renamed by the end of the block is removed. Close the writer before you rename.

    Raises:
        UsageError: `path` is of no kind that is written, or its folder cannot be.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path} is of no kind that is written. Let it end in {', '.join(SUFFIXES[:-1])} or .parquet.")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    except OSError as error:
        raise UsageError(
            f"{path.parent} cannot be written: {error.strerror}. Make the folder, or name another."
        ) from None
    os.close(handle)
    writer: TableWriter = _ParquetWriter(name) if suffix == ".parquet" else _CsvWriter(name, suffix)
    try:
        yield Path(name), writer
    finally:
        writer.close()
        Path(name).unlink(missing_ok=True)


def settle(temporary: Path, path: Path) -> None:
    """Give a file that is whole its name; after that it is there even if the machine loses power."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.chmod(0o666 & ~_umask())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _is_text(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _parquet_pieces(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PIECE_ROWS):
            yield checked(path, pa.Table.from_batches([batch]))


def _csv_pieces(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    settings = DatasetSettings()
    with pa.input_stream(str(path)) as stream:
        start = stream.read(SNIFFED_BYTES)
    if not start.strip():
        raise DataError(f"{path} is empty. A table needs a header line and rows.")
    if b"\x00" in start:
        raise DataError(f"{path} is a binary file or not UTF-8. Known: CSV in UTF-8, and Parquet.")
    inner = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    delimiter = delimiter_of(inner.suffix.lower(), start, settings)
    names = header_of(path, start[: start.rfind(b"\n") + 1] or start, delimiter)
    ragged: list[Any] = []

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        with (
            pa.input_stream(str(path)) as stream,
            arrow_csv.open_csv(
                stream,
                read_options=arrow_csv.ReadOptions(
                    column_names=names, skip_rows_after_names=1, block_size=PIECE_BYTES, use_threads=False
                ),
                parse_options=arrow_csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse
                ),
                convert_options=arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
                ),
            ) as reader,
        ):
            for batch in reader:
                if batch.num_rows:
                    yield checked(path, mend_texts(pa.Table.from_batches([batch]), settings))
    except pa.ArrowInvalid:
        if not ragged:
            raise
        row = ragged[0]
        raise DataError(
            f"{path}: {row.actual_columns} values where {row.expected_columns} columns are expected: "
            f"{row.text[:80]!r}. Mend that row."
        ) from None


class _CsvWriter:
    def __init__(self, name: str, suffix: str) -> None:
        self._file = open(name, "w", encoding="utf-8", newline="")  # noqa: SIM115  closed by close()
        self._writer = csv.writer(self._file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
        self._begun = False

    def write(self, table: pa.Table) -> None:
        if not self._begun:
            self._writer.writerow(table.column_names)
            self._begun = True
        self._writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def close(self) -> None:
        self._file.close()


class _ParquetWriter:
    def __init__(self, name: str) -> None:
        self._name = name
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(self._name, table.schema, compression="zstd")
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
