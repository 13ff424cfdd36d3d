"""Reading files as tables, by pyarrow. Every surprise is an error that names file, row and column."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.datasets.conversion import mend_texts, typed
from quarterdeck.errors import DataError
from quarterdeck.settings.making import DatasetSettings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MOST_COLUMNS = 1_000
DELIMITERS = (",", ";", "\t", "|")
SNIFFED_BYTES = 65_536


def read_table(path: Path, settings: DatasetSettings) -> pd.DataFrame:
    """The table in a CSV (also .tsv, .gz, .zip), Parquet or JSON lines file, as the dataset's settings say.

    Raises:
        DataError: it cannot be read as a table; the message names the file, and row and column where they are known.
    """
    return read_bytes(path, read_source(path), settings)[0]


def read_source(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        DataError: it is missing, a directory, empty, or may not be read.
    """
    if path.is_dir():
        raise DataError(f"{path} is a directory. Name a file: CSV, Parquet or JSON lines.")
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if not content:
        raise DataError(f"{path} is empty. A table needs a header line and rows.")
    return content


def read_bytes(path: Path, content: bytes, settings: DatasetSettings) -> tuple[pd.DataFrame, list[str]]:
    """The table in `content`, which came from `path`, and what is worth knowing about it.

    Raises:
        DataError: as `read_table`.
    """
    name, content = _unpacked(path, content)
    suffix = Path(name).suffix.lower()
    warnings: list[str] = []
    if suffix == ".parquet" or content[:4] == b"PAR1":
        table = checked(path, mend_texts(_read_parquet(path, content), settings))
    elif suffix in (".jsonl", ".ndjson"):
        table = checked(path, mend_texts(_read_json(path, _text(path, content)), settings))
    else:
        read = _read_csv(path, _text(path, content), delimiter_of(suffix, content, settings), settings)
        table, warnings = typed(mend_texts(checked(path, read), settings))
    return table.to_pandas(), warnings


def _unpacked(path: Path, content: bytes) -> tuple[str, bytes]:
    """The name and the bytes of what is inside a compressed file."""
    try:
        if content[:2] == b"\x1f\x8b":
            return path.name.removesuffix(".gz"), gzip.decompress(content)
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                members = [member for member in archive.namelist() if not member.endswith("/")]
                if len(members) != 1:
                    raise DataError(f"{path} holds {len(members)} files. Pack exactly one table.")
                return members[0], archive.read(members[0])
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise DataError(f"{path} is damaged or cannot be unpacked: {error}.") from error
    return path.name, content


def _text(path: Path, content: bytes) -> bytes:
    """`content` as UTF-8."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return content.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise DataError(f"{path} begins as UTF-16 and is not. Save it as UTF-8.") from error
    if b"\x00" in content[:SNIFFED_BYTES]:
        raise DataError(f"{path} is a binary file, not a table. Known: CSV, Parquet and JSON lines.")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8. Save the file as UTF-8."
        ) from error
    if not content.strip():
        raise DataError(f"{path} is empty. A table needs a header line and rows.")
    return content


def delimiter_of(suffix: str, content: bytes, settings: DatasetSettings) -> str:
    """What separates the values of a CSV file that begins with `content`."""
    if settings.delimiter is not None:
        return settings.delimiter
    if suffix == ".tsv":
        return "\t"
    first = re.split(rb"[\r\n]", content.lstrip(b"\xef\xbb\xbf\r\n"), maxsplit=1)[0][:SNIFFED_BYTES]
    unquoted = re.sub(r'"[^"]*"', "", first.decode(errors="replace"))
    return max(DELIMITERS, key=unquoted.count)


def _read_csv(path: Path, content: bytes, delimiter: str, settings: DatasetSettings) -> pa.Table:
    """All columns as text: what they hold is found out afterwards, when blanks and missing values are mended."""
    import pyarrow as pa

    names = list(settings.header) or header_of(path, content, delimiter)
    try:
        return _parse(content, names, delimiter, settings, threads=True, ragged=[])
    except pa.ArrowInvalid:
        ragged: list[Any] = []
    try:
        # Only one thread alone knows the number of a row.
        return _parse(content, names, delimiter, settings, threads=False, ragged=ragged)
    except pa.ArrowInvalid as error:
        if not ragged:
            raise DataError(f"{path} cannot be read as CSV: {error}.") from error
        row = ragged[0]
        raise DataError(
            f"{path}, row {row.number}: {row.actual_columns} values where {row.expected_columns} columns are expected: "
            f"{row.text[:80]!r}. Mend that row; if the separator is not {delimiter!r}, set `delimiter` under "
            "[datasets]."
        ) from error


def _parse(
    content: bytes, names: list[str], delimiter: str, settings: DatasetSettings, *, threads: bool, ragged: list[Any]
) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "error"

    return csv.read_csv(
        pa.BufferReader(content),
        read_options=csv.ReadOptions(
            column_names=names,
            skip_rows_after_names=0 if settings.header else 1,
            # A row must fit into a block.
            block_size=max(1 << 20, min(len(content), 1 << 24)),
            use_threads=threads,
        ),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        ),
    )


def header_of(path: Path, content: bytes, delimiter: str) -> list[str]:
    """The column names in the first row.

    Raises:
        DataError: it is no CSV.
    """
    import pyarrow as pa
    from pyarrow import csv

    try:
        with csv.open_csv(
            pa.BufferReader(content),
            # Rows that do not fit are for _parse to report; here only the first one counts.
            parse_options=csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=lambda row: "skip"
            ),
        ) as reader:
            names: list[str] = reader.schema.names
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from error
    return names


def _read_parquet(path: Path, content: bytes) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}.") from error


def _read_json(path: Path, content: bytes) -> pa.Table:
    import pyarrow as pa
    from pyarrow import json

    try:
        return json.read_json(pa.BufferReader(content))
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} cannot be read as JSON lines: {error}.") from error


def checked(path: Path, table: pa.Table) -> pa.Table:
    """`table`, if it is one that can be worked with.

    Raises:
        DataError: no rows, too many columns, nameless, equally named or nested ones.
    """
    import pyarrow as pa

    names: list[str] = table.column_names
    if not table.num_rows:
        raise DataError(f"{path} has a header ({', '.join(names)}) and no rows.")
    if len(names) > MOST_COLUMNS:
        raise DataError(
            f"{path} has {len(names)} columns; {MOST_COLUMNS} are the limit. Leave out what you do not need."
        )
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError(f"{path}: column {position} has no name. Name it in the header, or set `header`.")
        if name in names[: position - 1]:
            raise DataError(
                f"{path}: columns {names.index(name) + 1} and {position} are both called '{name}'. Rename one."
            )
        if pa.types.is_nested(table.schema.field(position - 1).type):
            raise DataError(f"{path}: column '{name}' holds lists or objects. Flatten it first.")
    return table
