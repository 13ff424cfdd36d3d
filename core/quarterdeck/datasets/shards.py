"""Tables of any size, in one file or in a folder of many: read in pieces, and sketched a column at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from quarterdeck.datasets.columns import DATES, FREE_TEXT, FREE_TEXT_SHARE, FREE_TEXT_VALUES, NESTED, Held, kind_of
from quarterdeck.datasets.conversion import Reading, reading_of
from quarterdeck.datasets.pieces import numbers, read_pieces
from quarterdeck.datasets.reading import read_table
from quarterdeck.errors import DataError
from quarterdeck.settings.making import DatasetSettings
from quarterdeck.statistics.column import Kind
from quarterdeck.statistics.sketch import CategorySketch, ColumnSketch, add_sketch, heaviest, sketch_for

if TYPE_CHECKING:
    import pyarrow as pa

PIECE_ROWS = 1 << 19
"""Of Parquet, whose columns are read one at a time."""
AT_ONCE = 32
"""Columns that are sketched in one pass over the files: each takes some megabytes."""
TEXTS = (".csv", ".tsv", ".gz")
_OF_TEXTS: dict[Reading, Held] = {
    "boolean": "categorical",
    "time": "time",
    "integer": "numeric",
    "number": "numeric",
    "text": "categorical",
}
SUFFIXES = (".parquet", *TEXTS, ".jsonl", ".ndjson")
NOT_EVERYWHERE = "not every file of the table has it"


class Shards:
    """A table in one file, or in all files of a folder and the folders in it, each with some of the rows."""

    def __init__(self, path: Path, seed: int) -> None:
        """Find the files and their columns. Names that begin with a dot or an underscore are left alone.

        Tables that are to be compared need seeds of their own: see `QuantileSketch`.

        Raises:
            DataError: there is none, or one cannot be read as a table; the message names it.
        """
        self.path = path
        self._seed = seed
        self.files = _files_of(path)
        self.declined: dict[str, str] = {}
        """Columns that are not compared, and why; free text is found out when it is read."""
        self.kinds: dict[str, Kind] = {}
        self.held: dict[str, Held | None] = {}
        """What each column that every file has is, those that are not compared too; None of one without a value."""
        found = [_kinds(file) for file in self.files]
        for name in dict.fromkeys(name for kinds in found for name in kinds):
            # A column that is empty in one file says nothing of what it holds in the others.
            known = {held for kinds in found if (held := kinds.get(name)) is not None}
            if any(name not in kinds for kinds in found):
                self.declined[name] = NOT_EVERYWHERE
                continue
            self.held[name] = "nested" if len(known) > 1 else next(iter(known), None)
            if known <= {"numeric"}:
                self.kinds[name] = "numeric"
            elif known == {"categorical"}:
                self.kinds[name] = "categorical"
            elif known == {"numeric", "categorical"}:
                raise DataError(f"{path}, column '{name}' holds numbers in some files and text in others.")
            else:
                self.declined[name] = DATES if known == {"time"} else NESTED

    def is_empty(self, name: str) -> bool:
        """Whether a column holds no value, as far as the files say so without being read."""
        return self.held[name] is None or all(_says_empty(file, name) for file in self.files)

    def rows(self) -> int:
        """How many there are in all files."""
        return sum(_rows(file) for file in self.files)

    def sketches(self, names: Sequence[str]) -> Iterator[tuple[str, ColumnSketch | None]]:
        """Each column as a sketch; None where it is free text.

        Raises:
            DataError: a file is damaged, or a value is not of its column's kind; the message names both.
        """
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]
            whole: dict[str, ColumnSketch] = {}
            for number, file in enumerate(self.files):
                for name, part in self._of_file(number, file, some).items():
                    _merge(whole, name, part)
            for name in some:
                sketch = whole[name]
                if isinstance(sketch, CategorySketch) and _is_free_text(sketch):
                    self.declined[name] = FREE_TEXT
                    yield name, None
                else:
                    yield name, sketch

    def _of_file(self, number: int, file: Path, names: Sequence[str]) -> dict[str, ColumnSketch]:
        # A coin of its own for each file and column: errors that were alike would add up.
        seeds = {name: (self._seed, number, crc32(name.encode())) for name in names}
        sketches = {name: sketch_for(self.kinds[name], seeds[name]) for name in names}
        for name, piece in _column_pieces(file, names):
            try:
                _add(sketches[name], piece)
            except ValueError as error:
                raise DataError(f"{file}, column '{name}': {error}.") from None
        return sketches


def fits_whole(path: Path, rows: int, size: int) -> bool:
    """Whether a table is small enough to be held: a file of Parquet with up to so many rows, or another of so many
    bytes."""
    if path.is_dir():
        return False
    if path.suffix.lower() != ".parquet" or not path.is_file():
        return not path.is_file() or path.stat().st_size <= size
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_metadata(path).num_rows <= rows)
    except (pa.ArrowException, OSError):
        return True  # Whoever reads it says what is wrong.


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
    ]
    if not files:
        raise DataError(f"{path} holds no table. Name a file, or a folder with files of {', '.join(SUFFIXES)}.")
    return files


def _kinds(file: Path) -> dict[str, Held | None]:
    """The kind of each column; None of one that says nothing of it, since it holds nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix.lower() != ".parquet":
        first = next(_text_pieces(file))
        return {name: _kind_of_piece(first.column(name)) for name in first.column_names}
    try:
        schema = pq.read_schema(file)
    except FileNotFoundError:
        raise DataError(f"{file} does not exist. Check the path.") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is no Parquet file, or damaged: {error}.") from error
    return {field.name: None if pa.types.is_null(field.type) else kind_of(field.type) for field in schema}


def _rows(file: Path) -> int:
    import pyarrow.parquet as pq

    if file.suffix.lower() == ".parquet":
        return int(pq.read_metadata(file).num_rows)
    return sum(piece.num_rows for piece in _text_pieces(file))


def _says_empty(file: Path, name: str) -> bool:
    """Whether the statistics of a Parquet file say that a column is null in every row."""
    import pyarrow.parquet as pq

    if file.suffix.lower() != ".parquet":
        return False
    known = pq.read_metadata(file)
    places = [i for i in range(known.num_columns) if known.schema.column(i).path == name]
    told = [known.row_group(group).column(i).statistics for group in range(known.num_row_groups) for i in places]
    return bool(told) and all(one is not None and one.has_null_count and one.num_values == 0 for one in told)


def _kind_of_piece(column: pa.ChunkedArray) -> Held | None:
    import pyarrow as pa

    if column.null_count == len(column):
        return None
    if not pa.types.is_string(column.type):
        return kind_of(column.type)
    return _OF_TEXTS[reading_of(column.drop_null())]


def _column_pieces(file: Path, names: Sequence[str]) -> Iterator[tuple[str, pa.ChunkedArray]]:
    """The columns of a file in pieces: of Parquet one after the other, of other files side by side."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix.lower() != ".parquet":
        for table in _text_pieces(file):
            for name in names:
                yield name, table.column(name)
        return
    try:
        # Through a buffer: else a whole column of a row group is fetched before its first piece.
        texts = [field.name for field in pq.read_schema(file) if kind_of(field.type) == "categorical"]
        with pq.ParquetFile(file, read_dictionary=texts, buffer_size=1 << 20, pre_buffer=False) as parquet:
            for name in names:
                for batch in parquet.iter_batches(batch_size=PIECE_ROWS, columns=[name], use_threads=False):
                    yield name, pa.chunked_array([batch.column(0)])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is damaged: {str(error).splitlines()[0]}.") from error


def _text_pieces(file: Path) -> Iterator[pa.Table]:
    import pyarrow as pa

    if file.suffix.lower() in TEXTS or not file.is_file():
        yield from read_pieces(file)
    else:
        yield pa.Table.from_pandas(read_table(file, DatasetSettings()), preserve_index=False)


def _add(sketch: ColumnSketch, piece: pa.ChunkedArray) -> None:
    """Raises ValueError: the piece holds text, and the sketch numbers."""

    if isinstance(sketch, CategorySketch):
        names, tally = _tally(piece)
        kept, cut = heaviest(tally)
        counts = {
            str(name): int(count) - cut for name, count in zip(names.take(kept).to_pylist(), tally[kept], strict=True)
        }
        sketch.update(counts, rows=len(piece), present=len(piece) - piece.null_count, error=cut)
        return
    if piece.null_count == len(piece):
        sketch.update(np.full(len(piece), np.nan))
        return
    found = numbers(piece)
    if isinstance(found, int):
        raise ValueError(f"{piece[found].as_py()!r} is no number, and what came before is")
    if kind_of(found.type) != "numeric":
        raise ValueError(f"it holds {found.type} here, and numbers elsewhere")
    sketch.update(found.to_numpy().astype(np.float64, copy=False))


def _tally(piece: pa.ChunkedArray) -> tuple[pa.Array, np.ndarray]:
    """The distinct values of a piece, and how often each occurs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(piece.type):
        return pa.array([], pa.string()), np.empty(0, dtype=np.int64)
    if pa.types.is_dictionary(piece.type):
        piece = piece.unify_dictionaries()
    counted = pc.value_counts(piece.drop_null())
    values = counted.field("values")
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values, counted.field("counts").to_numpy()


def _merge(whole: dict[str, ColumnSketch], name: str, part: ColumnSketch) -> None:
    before = whole.setdefault(name, part)
    if before is not part:
        add_sketch(before, part)


def _is_free_text(sketch: CategorySketch) -> bool:
    if sketch.exact:
        return len(sketch.counts) > max(FREE_TEXT_VALUES, FREE_TEXT_SHARE * sketch.present)
    return sketch.lost > FREE_TEXT_SHARE * sketch.present
