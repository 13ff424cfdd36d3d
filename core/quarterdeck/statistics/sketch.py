"""Columns too large to hold: summaries of bounded size that can be updated, merged, and say how wrong they may be.

A sketch is labelled as such wherever it is shown, and its error goes along: it never counts as equal to the values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.statistics.column import Column, Kind, PreparedColumn, of_counts
from quarterdeck.statistics.column import prepare as prepare_column
from quarterdeck.statistics.distance import LARGEST, Counts, Floats, robust_sigma_of_sorted

SIZE = 32_768
"""Values in the topmost level of a quantile sketch; three times as many, 0.8 MB, in all."""
SHRINK = 2 / 3
"""How much smaller each level below is allowed to be."""
ROOM = 3 * SIZE + 128
"""All levels together. So many values are kept as they are, without any error."""
CATEGORIES = 16_384
"""Categories that are counted exactly; of more the heavy ones are kept."""
CONFIDENCE = 0.999
"""With which all ranks of a sketch, at once, are no further off than its error."""
_GRID = 1_000_000


class QuantileSketch:
    """Ranks and quantiles of any number of values: a KLL sketch (Karnin, Lang and Liberty, FOCS 2016).

    A level holds values that stand for 2^level each. One that is too long is sorted and every second value of it goes
    on to the next level, from the first or from the second by the toss of a coin. Such a halving changes the rank of
    any point by nothing, or by 2^level up or down alike. The changes are a martingale, so by Azuma and Hoeffding a rank
    is off by more than t with a chance of 2 exp(-t^2 / 2V) at most, where V adds 4^level for each halving that there
    really was; the bound of `error` holds at a million ranks at once, which all others lie between. Merging appends
    level to level and adds V to V (Agarwal et al., "Mergeable summaries", PODS 2012).

    The coin is seeded: the same values in the same order give the same sketch. Sketches that are to be merged or
    compared need seeds of their own, since the bound takes their coins for independent.
    """

    def __init__(self, seed: Sequence[int] = (0,)) -> None:
        self.count = 0
        self._coin = np.random.default_rng(list(seed))
        self._levels: list[list[Floats]] = [[]]
        self._held = 0
        self._variance = 0

    def update(self, values: Floats) -> None:
        """Add finite values, in any order; the more at once, the smaller the error."""
        if values.size:
            self.count += values.size
            self._held += values.size
            self._levels[0].append(values)
            self._compress()

    def merge(self, other: QuantileSketch) -> None:
        """Add all that another one has seen; that one is to be used no more."""
        self._levels += [[] for _ in range(len(other._levels) - len(self._levels))]
        for level, more in zip(self._levels, other._levels, strict=False):
            level += more
        self.count += other.count
        self._held += other._held
        self._variance += other._variance
        self._compress()

    @property
    def exact(self) -> bool:
        """Whether every value is there as it came."""
        return self._variance == 0

    @property
    def error(self) -> float:
        """By how much a rank may be off, as a share of `count`: 0.0 while every value is there."""
        if self.exact:
            return 0.0
        spread = math.sqrt(2 * self._variance * math.log(2 * _GRID / (1 - CONFIDENCE)))
        return spread / self.count + 1 / _GRID

    def points(self) -> tuple[Floats, Counts]:
        """The values that are held, ascending, and how many each stands for; those sum to `count`."""
        parts = [np.concatenate(chunks) if chunks else np.empty(0) for chunks in self._levels]
        values = np.concatenate(parts)
        weights = np.repeat(2 ** np.arange(len(parts), dtype=np.int64), [part.size for part in parts])
        order = np.argsort(values, kind="stable")
        return values[order], weights[order]

    def _compress(self) -> None:
        while self._held > ROOM:
            top = len(self._levels) - 1
            sizes = [sum(chunk.size for chunk in chunks) for chunks in self._levels]
            # Together the levels may hold less than the room, so one of them is too long. The lowest costs least.
            self._halve(next(h for h, size in enumerate(sizes) if size > max(2.0, SIZE * SHRINK ** (top - h))))

    def _halve(self, level: int) -> None:
        values = np.concatenate(self._levels[level])
        # Above the lowest level these are sorted runs, which a stable sort merges in linear time.
        values.sort(kind="stable" if level else "quicksort")
        odd = values.size % 2
        if level + 1 == len(self._levels):
            self._levels.append([])
        kept = values[odd + int(self._coin.integers(2)) :: 2].copy()
        self._levels[level] = [values[:odd].copy()]
        self._levels[level + 1].append(kept)
        self._held -= kept.size
        self._variance += 4**level


@dataclass(slots=True)
class Moments:
    """What is known exactly of the finite values of a column, however many."""

    count: int = 0
    minimum: float = math.inf
    maximum: float = -math.inf
    mean: float = 0.0
    squares: float = 0.0
    """The sum of squared distances to the mean."""

    @property
    def sigma(self) -> float:
        """The population standard deviation; 0.0 of no values."""
        return math.sqrt(self.squares / self.count) if self.count else 0.0

    def update(self, values: Floats) -> None:
        if values.size:
            # What is too large for a float becomes infinite, and the sigma with it.
            with np.errstate(over="ignore"):
                mean = float(values.mean())
                squares = float(np.square(values - mean).sum())
            self.merge(Moments(values.size, float(values.min()), float(values.max()), mean, squares))

    def merge(self, other: Moments) -> None:
        """Add another part (Chan, Golub and LeVeque 1983)."""
        if not other.count:
            return
        total = self.count + other.count
        gap = other.mean - self.mean
        self.squares += other.squares + gap * gap * (self.count / total) * other.count
        self.mean += gap * (other.count / total)
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.count = total


class NumericSketch:
    """A numeric column: its quantiles sketched; rows, missing values, range and moments exact."""

    def __init__(self, seed: Sequence[int] = (0,)) -> None:
        self.rows = 0
        self.quantiles = QuantileSketch(seed)
        self.moments = Moments()

    def update(self, values: Floats) -> None:
        """Add rows; NaN and infinities are missing, and values beyond +-1e150 are taken as that."""
        self.rows += values.size
        finite = values[np.isfinite(values)]
        np.clip(finite, -LARGEST, LARGEST, out=finite)
        self.moments.update(finite)
        self.quantiles.update(finite)

    def merge(self, other: NumericSketch) -> None:
        """Add all that another one has seen; that one is to be used no more."""
        self.rows += other.rows
        self.moments.merge(other.moments)
        self.quantiles.merge(other.quantiles)

    @property
    def present(self) -> int:
        return self.quantiles.count

    @property
    def exact(self) -> bool:
        return self.quantiles.exact

    @property
    def error(self) -> float:
        """By how much a rank may be off, as a share of the values; of a constant none is."""
        return 0.0 if self.moments.minimum == self.moments.maximum else self.quantiles.error

    def prepared(self, name: str) -> PreparedColumn:
        """The column, where the sketch is exact."""
        ascending, _ = self.quantiles.points()
        sigma = robust_sigma_of_sorted(ascending)
        return PreparedColumn(name, "numeric", self.rows, ascending.size, ascending, sigma, {})


class CategorySketch:
    """A categorical column: exact counts while there are few categories, else those of the heavy ones.

    Where there are too many, the count of the heaviest one that has no place is taken off all of them, and what is not
    above zero goes: Misra and Gries (1982), merged as by Agarwal et al. (2012). So a count is too low by `error` at
    most, never too high, and that is at most the share 1 / 16,385 of the rows.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.present = 0
        self.counts: dict[str, int] = {}
        self.error = 0

    def update(self, counts: Mapping[str, int], *, rows: int, present: int, error: int = 0) -> None:
        """Add rows of which so many hold a value. `counts` may be too low by `error`, as `heaviest` leaves them."""
        self.rows += rows
        self.present += present
        self.error += error
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        if len(self.counts) > CATEGORIES:
            names = list(self.counts)
            kept, cut = heaviest(np.fromiter(self.counts.values(), np.int64, len(names)))
            self.counts = {names[place]: self.counts[names[place]] - cut for place in kept.tolist()}
            self.error += cut

    def merge(self, other: CategorySketch) -> None:
        """Add all that another one has seen."""
        self.update(other.counts, rows=other.rows, present=other.present, error=other.error)

    @property
    def exact(self) -> bool:
        return self.error == 0

    @property
    def lost(self) -> int:
        """Rows that hold a value and are in none of the counts."""
        return self.present - sum(self.counts.values())

    def prepared(self, name: str) -> PreparedColumn:
        """The column, where the sketch is exact."""
        return of_counts(name, self.counts, self.rows)


def heaviest(counts: Counts) -> tuple[NDArray[Any], int]:
    """The places of the categories that keep a place among so many, and what is to be taken off each count."""
    if counts.size <= CATEGORIES:
        return np.arange(counts.size), 0
    cut = int(np.partition(counts, counts.size - CATEGORIES - 1)[counts.size - CATEGORIES - 1])
    return np.flatnonzero(counts > cut), cut


ColumnSketch = NumericSketch | CategorySketch


def sketch_for(kind: Kind, seed: Sequence[int]) -> ColumnSketch:
    """An empty sketch of a column of that kind; see `QuantileSketch` for the seed."""
    return NumericSketch(seed) if kind == "numeric" else CategorySketch()


def sketch_of(column: Column, seed: Sequence[int]) -> ColumnSketch:
    """A column that is there as a whole, to be compared with one that is not."""
    sketch = sketch_for(column.kind, seed)
    add_column(sketch, column)
    return sketch


def add_column(sketch: ColumnSketch, column: Column) -> None:
    """Add rows. Raises ValueError where a numeric column holds what is not a number."""
    if isinstance(sketch, NumericSketch):
        sketch.update(column.values)
        return
    counted = prepare_column(column)
    sketch.update(counted.counts, rows=counted.rows, present=counted.present)


def add_sketch(whole: ColumnSketch, part: ColumnSketch) -> None:
    """Add all that another sketch of that kind has seen; of numbers that one is to be used no more."""
    match whole, part:
        case NumericSketch() as before, NumericSketch() as more:
            before.merge(more)
        case CategorySketch() as counts, CategorySketch() as others:
            counts.merge(others)
        case _:
            raise ValueError("A sketch of numbers and one of categories cannot be merged.")


def merged(parts: Sequence[ColumnSketch], seed: Sequence[int]) -> ColumnSketch:
    """Sketches of parts of a column, at least one, as a new one of it all."""
    whole = sketch_for("numeric" if isinstance(parts[0], NumericSketch) else "categorical", seed)
    for part in parts:
        add_sketch(whole, part)
    return whole
