"""A table's columns one at a time, prepared to be compared: so that a table need not fit into memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from quarterdeck.datasets.reading import read_table
from quarterdeck.errors import DataError
from quarterdeck.settings.making import DatasetSettings
from quarterdeck.statistics.column import Column, Kind, PreparedColumn, all_missing, of_counts, prepare

if TYPE_CHECKING:
    import pyarrow as pa

FREE_TEXT_SHARE, FREE_TEXT_VALUES = 0.5, 1_000
"""Text of more distinct values than both is no category."""
DATES = "it holds dates or times: compare what you make of them, such as the hour"
Held = Kind | Literal["time", "nested"]
"""What a column is; the last two are not compared."""
NESTED = "it holds lists or records"
FREE_TEXT = "it is free text: nearly every row says something else"


class TableColumns:
    """The columns of a CSV, Parquet or JSON lines file."""

    def __init__(self, path: Path) -> None:
        """Open it. A Parquet file is read a column at a time, others at once.

        Raises:
            DataError: it cannot be read as a table; the message names the file.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._path = path
        self._file: pq.ParquetFile | None = None
        self._table: pa.Table | None = None
        if path.suffix.lower() == ".parquet" and path.is_file():
            try:
                texts = [
                    field.name for field in pq.read_schema(path) if pa.types.is_string(field.type) or _is_large(field)
                ]
                self._file = pq.ParquetFile(path, read_dictionary=texts)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path} is no Parquet file, or damaged: {error}.") from error
            schema, self.rows = self._file.schema_arrow, self._file.metadata.num_rows
        else:
            self._table = pa.Table.from_pandas(read_table(path, DatasetSettings()), preserve_index=False)
            schema, self.rows = self._table.schema, self._table.num_rows
        self.declined: dict[str, str] = {}
        """Columns that are not compared, and why; free text is found out when it is read."""
        self.kinds: dict[str, Kind] = {}
        self.held: dict[str, Held] = {}
        """What each column is, those that are not compared too."""
        for field in schema:
            kind = self.held[field.name] = kind_of(field.type)
            if kind == "numeric" or kind == "categorical":
                self.kinds[field.name] = kind
            else:
                self.declined[field.name] = DATES if kind == "time" else NESTED

    def is_empty(self, name: str) -> bool:
        """Whether a column holds no value, and so says nothing of what it would hold.

        Raises:
            DataError: the file is damaged.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        present = self._column(name).drop_null()
        return not len(present) or (pa.types.is_floating(present.type) and pc.all(pc.is_nan(present)).as_py())

    def prepared(self, name: str, kind: Kind) -> PreparedColumn | None:
        """A column as `kind`, which it is, or it is empty; None where it is free text.

        Raises:
            DataError: the file is damaged.
        """
        if self.held[name] != kind:
            return all_missing(name, kind, self.rows)
        column = self._column(name)
        if kind == "numeric":
            values = column.to_numpy().astype(np.float64, copy=False)
            return prepare(Column(name, "numeric", values))
        counts = _counts(column)
        present = sum(counts.values())
        if len(counts) > max(FREE_TEXT_VALUES, FREE_TEXT_SHARE * present):
            self.declined[name] = FREE_TEXT
            return None
        return of_counts(name, counts, self.rows)

    def _column(self, name: str) -> pa.ChunkedArray:
        import pyarrow as pa

        if self._file is not None:
            try:
                return self._file.read(columns=[name], use_threads=False).column(0)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{self._path}, column '{name}': {error}.") from error
        assert self._table is not None
        return self._table.column(name)


def _is_large(field: pa.Field) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_large_string(field.type))


def kind_of(type_: pa.DataType) -> Held:
    """`numeric`, `categorical`, `time`, or `nested` for what is none of them."""
    import pyarrow.types as known

    if known.is_dictionary(type_):
        return kind_of(type_.value_type)
    if known.is_integer(type_) or known.is_floating(type_) or known.is_decimal(type_) or known.is_null(type_):
        return "numeric"
    if known.is_boolean(type_) or known.is_string(type_) or known.is_large_string(type_):
        return "categorical"
    return "time" if known.is_temporal(type_) else "nested"


def _counts(column: pa.ChunkedArray) -> Counter[str]:
    """How often each value occurs, as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found: Counter[str] = Counter()
    for chunk in column.chunks:
        if pa.types.is_dictionary(chunk.type):
            tally = np.bincount(chunk.indices.drop_null().to_numpy(), minlength=len(chunk.dictionary))
            values = chunk.dictionary.to_pylist()
            found.update({str(value): int(count) for value, count in zip(values, tally, strict=True) if count})
        else:
            for one in pc.value_counts(chunk.drop_null()):
                found[str(one["values"].as_py())] += one["counts"].as_py()
    return found
