"""From texts to values: mending what the settings name, then finding out what each column holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from quarterdeck.errors import SettingsError
from quarterdeck.settings.making import DatasetSettings

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGER = r"^[+-]?\d+$"
_LONG_INTEGER = r"^[+-]?\d{19,}$"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?([nN][aA][nN]|[iI][nN][fF])$"
# 08123 is a postcode or a key, not a number: reading it as one would lose the zero. So would 19 digits their last.
_LEADING_ZERO = r"^[+-]?0\d"
_BOOLEAN = r"^([tT]rue|TRUE|[fF]alse|FALSE)$"
_TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
Reading = Literal["boolean", "time", "integer", "number", "text"]
# From this share of numbers on, texts in a column look like an accident, and are worth a warning.
_MOSTLY = 0.5


def mend_texts(table: pa.Table, settings: DatasetSettings) -> pa.Table:
    """`table` with `strip`, `missing` and `replace` applied to its text columns, in that order.

    Raises:
        SettingsError: `replace` names a column that is not there, or not of text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in settings.replace:
        if name not in table.column_names:
            known = ", ".join(table.column_names)
            raise SettingsError(f"`replace` names the column '{name}', and the table has none. There are: {known}.")
        kind = table.schema.field(name).type
        if not _is_text(kind):
            raise SettingsError(
                f"`replace` names the column '{name}', which holds {kind}, not text: it can replace only texts. "
                "Take it out of `replace`."
            )
    for position, field in enumerate(table.schema):
        column = table.column(position)
        if pa.types.is_date(field.type):
            table = table.set_column(position, field.name, pc.cast(column, pa.timestamp("us")))
        if not _is_text(field.type):
            continue
        if settings.strip:
            column = pc.utf8_trim_whitespace(column)
        absent = pa.array(["", *settings.missing], type=field.type)
        column = pc.if_else(pc.is_in(column, value_set=absent), pa.scalar(None, field.type), column)
        for old, new in settings.replace.get(field.name, {}).items():
            column = pc.if_else(pc.equal(column, old), pa.scalar(new, field.type), column)
        table = table.set_column(position, field.name, column)
    return table


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def typed(table: pa.Table) -> tuple[pa.Table, list[str]]:
    """`table` with each column of texts as what all its values are, and a warning for each column that nearly was.

    A column becomes integers, numbers, booleans or times only where every value is one; otherwise it stays text.
    """
    warnings: list[str] = []
    for position, name in enumerate(table.column_names):
        column, warning = _typed(name, table.column(position))
        table = table.set_column(position, name, column)
        warnings += [warning] if warning else []
    return table, warnings


def _typed(name: str, column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, str | None]:
    import pyarrow as pa
    import pyarrow.compute as pc

    present = column.drop_null()
    if not len(present):
        # Nothing says what it holds; a column of numbers can be compared with any other.
        return pc.cast(column, pa.float64()), f"Column '{name}' has no value in any row."
    match reading_of(present):
        case "boolean":
            return pc.cast(pc.utf8_lower(column), pa.bool_()), None
        case "time":
            zoned = _all(present, _ZONE)
            return pc.cast(column, pa.timestamp("us", tz="UTC" if zoned else None)), None
        case "text":
            return column, _nearly_numbers(name, column, present)
        case number:
            # pyarrow knows no leading plus.
            column = pc.utf8_ltrim(column, characters="+")
            return pc.cast(column, pa.int64() if number == "integer" else pa.float64()), None


def reading_of(present: pa.ChunkedArray) -> Reading:
    """What all of these texts are, of which none is missing and there is at least one."""
    if _all(present, _BOOLEAN):
        return "boolean"
    if _all(present, _TIME) and _is_time(present):
        return "time"
    if _matching(present, NUMBER) < len(present):
        return "text"
    whole = _all(present, _INTEGER)
    if _matching(present, _LEADING_ZERO) or (whole and _matching(present, _LONG_INTEGER)):
        return "text"
    return "integer" if whole else "number"


def _nearly_numbers(name: str, column: pa.ChunkedArray, present: pa.ChunkedArray) -> str | None:
    """A warning where most of the texts are numbers; None where they are not, or all are and mean something else."""
    import pyarrow.compute as pc

    numbers = _matching(present, NUMBER)
    if numbers <= _MOSTLY * len(present) or numbers == len(present):
        return None
    strange = pc.and_kleene(pc.is_valid(column), pc.invert(pc.match_substring_regex(column, NUMBER)))
    row = pc.index(strange, True).as_py()
    return (
        f"Column '{name}' stays text: {len(present) - numbers} of {len(present)} values are not numbers, "
        f"first {column[row].as_py()!r} in data row {row + 1}. If it means missing, add it to `missing`."
    )


def _matching(present: pa.ChunkedArray, pattern: str) -> int:
    import pyarrow.compute as pc

    return int(pc.sum(pc.match_substring_regex(present, pattern)).as_py())


def _all(present: pa.ChunkedArray, pattern: str) -> bool:
    # The first value settles it for nearly every column, without a look at the others.
    return _matching(present.slice(0, 1), pattern) == 1 and _matching(present, pattern) == len(present)


def _is_time(present: pa.ChunkedArray) -> bool:
    """Whether every value that looks like a time is one: all with a zone, or all without, and no 31st of February."""
    import pyarrow as pa
    import pyarrow.compute as pc

    zoned = _matching(present, _ZONE)
    if zoned not in (0, len(present)):
        return False
    try:
        pc.cast(present, pa.timestamp("us", tz="UTC" if zoned else None))
    except pa.ArrowInvalid:
        return False
    return True
