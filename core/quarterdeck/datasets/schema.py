"""The schema of a table: what was found in each column, and the role that the workspace's settings give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from quarterdeck.errors import SettingsError
from quarterdeck.settings.making import DatasetSettings

if TYPE_CHECKING:
    import pandas as pd

ColumnType = Literal["number", "integer", "text", "boolean", "time"]
Role = Literal["feature", "target", "time", "key", "weight", "excluded"]
MOST_CATEGORIES = 50


@dataclass(frozen=True, slots=True)
class ColumnSchema:
    name: str
    type: ColumnType
    role: Role
    nullable: bool
    """Missing values were found."""
    minimum: float | str | None
    """Of numbers; of times as ISO text; None for others and for an all-missing column."""
    maximum: float | str | None
    categories: tuple[str, ...] | None
    """The values of a text column with at most 50 of them, sorted."""
    unique: bool
    """No two rows have the same value, and none is missing."""


def infer_schema(frame: pd.DataFrame, settings: DatasetSettings) -> list[ColumnSchema]:
    """The schema of each column of `frame`, in order.

    Raises:
        SettingsError: the settings give a role to a column that is not there.
    """
    roles = _roles(settings)
    absent = [name for name in roles if name not in frame.columns]
    if absent:
        known = ", ".join(str(name) for name in frame.columns)
        raise SettingsError(
            f"quarterdeck.toml names '{absent[0]}' as {roles[absent[0]]}, and the table has no such column. "
            f"There are: {known}. Mend that key under [datasets]."
        )
    return [_schema(str(name), frame[name], roles.get(str(name), "feature")) for name in frame.columns]


def column_type(column: pd.Series[Any]) -> ColumnType:
    """What a column holds, by its dtype."""
    from pandas.api import types

    if types.is_bool_dtype(column.dtype):
        return "boolean"
    if types.is_integer_dtype(column.dtype):
        return "integer"
    if types.is_numeric_dtype(column.dtype):
        return "number"
    if types.is_datetime64_any_dtype(column.dtype):
        return "time"
    return "boolean" if types.infer_dtype(column, skipna=True) == "boolean" else "text"


def _roles(settings: DatasetSettings) -> dict[str, Role]:
    roles: dict[str, Role] = dict.fromkeys(settings.exclude, "excluded")
    named: tuple[tuple[str | None, Role], ...] = (
        (settings.weight, "weight"),
        (settings.key, "key"),
        (settings.time, "time"),
        (settings.target, "target"),
    )
    return roles | {name: role for name, role in named if name is not None}


def _schema(name: str, column: pd.Series[Any], role: Role) -> ColumnSchema:
    kind = column_type(column)
    present = column.dropna()
    low: float | str | None = None
    high: float | str | None = None
    categories = None
    if len(present) and kind in ("number", "integer"):
        low, high = float(present.min()), float(present.max())
    elif len(present) and kind == "time":
        low, high = present.min().isoformat(), present.max().isoformat()
    elif kind == "text":
        found = present.unique()
        categories = tuple(sorted(str(value) for value in found)) if len(found) <= MOST_CATEGORIES else None
    return ColumnSchema(
        name=name,
        type=kind,
        role=role,
        nullable=len(present) < len(column),
        minimum=low,
        maximum=high,
        categories=categories,
        unique=len(present) == len(column) and column.is_unique,
    )
