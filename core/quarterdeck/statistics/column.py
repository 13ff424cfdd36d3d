"""A column of a frame, and what is computed once from it: sorted values or category counts, missing rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from quarterdeck.statistics.distance import Counts, Floats, finite_sorted, robust_sigma_of_sorted

Kind = Literal["numeric", "categorical"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a frame.

    `values` (rows,): float64 with NaN for missing where numeric; an object array of str with None (or NaN)
    for missing where categorical.
    """

    name: str
    kind: Kind
    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class PreparedColumn:
    """A column sorted or counted once, to be compared with many windows.

    `ascending` holds the finite values of a numeric column, `counts` the rows of each category of a
    categorical one; the other is empty. `sigma` is the robust sigma (0.0 for a categorical column). `rows`
    counts all rows; what is neither finite nor a category is missing: NaN, None, and infinities too.
    """

    name: str
    kind: Kind
    rows: int
    present: int
    ascending: Floats
    sigma: float
    counts: Mapping[str, int]

    @property
    def missing(self) -> int:
        """Rows without a usable value."""
        return self.rows - self.present

    @property
    def missing_share(self) -> float:
        """Missing rows as a share of all rows; 0.0 where there are none."""
        return self.missing / self.rows if self.rows else 0.0


def of_values(name: str, kind: Kind, values: Sequence[Any]) -> Column:
    """A column of plain values; None or NaN is a missing one."""
    if kind == "numeric":
        numbers = [np.nan if value is None else float(value) for value in values]
        return Column(name, kind, np.array(numbers, dtype=np.float64))
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if value is None or value != value else str(value) for value in values]
    return Column(name, kind, texts)


def prepare(column: Column) -> PreparedColumn:
    """Sort or count a column. Raises ValueError where a numeric column holds what is not a number."""
    if column.kind == "numeric":
        ascending = finite_sorted(column.values)
        sigma = robust_sigma_of_sorted(ascending)
        return PreparedColumn(column.name, column.kind, len(column.values), ascending.size, ascending, sigma, {})
    tally = Counter(column.values.tolist())
    # NaN is the one value that differs from itself; libraries write it for a missing string.
    counts = {name: count for name, count in tally.items() if name is not None and name == name}
    return PreparedColumn(column.name, column.kind, len(column.values), sum(counts.values()), np.empty(0), 0.0, counts)


def of_counts(name: str, counts: Mapping[str, int], rows: int) -> PreparedColumn:
    """A categorical column of `rows` rows of which it is known how many hold each category."""
    return PreparedColumn(name, "categorical", rows, sum(counts.values()), np.empty(0), 0.0, counts)


def all_missing(name: str, kind: Kind, rows: int) -> PreparedColumn:
    """Return the column that a frame of `rows` rows would have if every value were missing."""
    return PreparedColumn(name, kind, rows, 0, np.empty(0), 0.0, {})


def aligned_counts(reference: PreparedColumn, current: PreparedColumn) -> tuple[Counts, Counts]:
    """Return both columns' category counts over their joint categories, in one reproducible order."""
    # Sorted, since the order of a dictionary would make seeded draws depend on the order of the rows.
    names = sorted(reference.counts.keys() | current.counts.keys(), key=str)
    return (
        np.array([reference.counts.get(name, 0) for name in names], dtype=np.int64),
        np.array([current.counts.get(name, 0) for name in names], dtype=np.int64),
    )
