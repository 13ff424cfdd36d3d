"""Where one value lies among the values of a column, as the column's profile remembers them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quarterdeck.datasets.profile import MOST_CATEGORIES


@dataclass(frozen=True, slots=True)
class Position:
    """One value beside the column's rows."""

    words: str
    """In a few words: `percentile 62`, `38.0% of the rows`, `never seen`."""
    low: float | None = None
    """For numbers: the percentile up to which all values are smaller; to 5, in between linearly interpolated."""
    high: float | None = None
    """The percentile from which on all are greater; it differs from `low` where many rows have this very value."""
    share: float | None = None
    """Of the column's rows, how many have this very category, or are missing as it is."""


def position(profile: Mapping[str, Any], value: Any) -> Position:
    """Where `value` lies, None being a missing one. `profile` is a `ColumnProfile` as a dictionary."""
    rows = profile["rows"]
    if not rows:
        return Position("no rows to compare with")
    if value is None:
        share = profile["missing"] / rows
        return Position(f"missing, as in {share:.1%}" if share else "never missing", share=share)
    if profile["type"] == "numeric":
        return _of_number(profile["quantiles"], float(value))
    counts = profile["categories"] or {}
    if str(value) in counts:
        share = counts[str(value)] / rows
        return Position(f"{share:.1%} of the rows", share=share)
    if len(counts) < MOST_CATEGORIES:
        return Position("never seen", share=0.0)
    return Position(f"rarer than the top {MOST_CATEGORIES}")


def _of_number(quantiles: Sequence[float] | None, value: float) -> Position:
    if not quantiles:
        return Position("all missing")
    if value < quantiles[0]:
        return Position(f"below the least, {quantiles[0]:.4g}", 0.0, 0.0)
    if value > quantiles[-1]:
        return Position(f"above the most, {quantiles[-1]:.4g}", 100.0, 100.0)
    low = _percentile(quantiles, value, bisect_left(quantiles, value))
    high = _percentile(quantiles, value, bisect_right(quantiles, value) - 1)
    words = f"percentile {low:.0f}" if f"{low:.0f}" == f"{high:.0f}" else f"percentiles {low:.0f} to {high:.0f}"
    return Position(words, low, high)


def _percentile(quantiles: Sequence[float], value: float, place: int) -> float:
    """The percentile of `value`, which is the quantile at `place` or lies next to it."""
    width = 100 / (len(quantiles) - 1)
    if quantiles[place] == value:
        return width * place
    before = place if quantiles[place] < value else place - 1
    return width * (before + (value - quantiles[before]) / (quantiles[before + 1] - quantiles[before]))
