"""Profiles: what is remembered about each column of a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

QUANTILES = 21
MOST_CATEGORIES = 50


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column. Figures of numbers are over the finite values and None where there are none."""

    name: str
    type: Literal["numeric", "categorical", "time"]
    rows: int
    missing: int
    mean: float | None = None
    std: float | None = None
    """Population standard deviation."""
    minimum: float | str | None = None
    maximum: float | str | None = None
    quantiles: list[float] | None = None
    """At 0, 0.05, ..., 1, linearly interpolated."""
    categories: dict[str, int] | None = None
    """Rows of each of the 50 most frequent values, most frequent first."""


def profile_frame(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A `ColumnProfile` as a dictionary for each column."""
    return [asdict(_profile(str(name), frame[name])) for name in frame.columns]


def _profile(name: str, column: pd.Series[Any]) -> ColumnProfile:
    import numpy as np
    import pandas as pd

    rows, missing = len(column), int(column.isna().sum())
    present = column.dropna()
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
        values = present.to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            return ColumnProfile(name, "numeric", rows, missing)
        quantiles = np.quantile(values, np.linspace(0, 1, QUANTILES))
        low, high = float(values.min()), float(values.max())
        return ColumnProfile(
            name, "numeric", rows, missing, float(values.mean()), float(values.std()), low, high, quantiles.tolist()
        )
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        low_high = (present.min().isoformat(), present.max().isoformat()) if len(present) else (None, None)
        return ColumnProfile(name, "time", rows, missing, minimum=low_high[0], maximum=low_high[1])
    counts = present.astype(str).value_counts().head(MOST_CATEGORIES)
    categories = {str(value): int(count) for value, count in counts.items()}
    return ColumnProfile(name, "categorical", rows, missing, categories=categories)
