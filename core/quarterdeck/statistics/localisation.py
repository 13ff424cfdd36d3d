"""Where in the rows a drifted column has moved: the one level of a low-cardinality column that carries it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.statistics.column import Column, prepare
from quarterdeck.statistics.comparison import Comparison, compare
from quarterdeck.statistics.significance import benjamini_hochberg

Levels = NDArray[Any]
Mask = NDArray[np.bool_]

# "Elsewhere is quiet" for want of rows is no evidence: the effect there must also be at most this part of it.
_ELSEWHERE = 0.5


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows that carry a column's shift: those where `column` is `level`.

    `effect` is the drifted column's effect within them, `effect_elsewhere` in all other rows together, both
    in the unit of the column's measure; `n_current` counts the current rows of the level.
    """

    column: str
    level: str
    effect: float
    effect_elsewhere: float
    n_current: int


def localise(
    reference_values: Column,
    current_values: Column,
    reference_levels: Mapping[str, Levels],
    current_levels: Mapping[str, Levels],
    *,
    threshold: float = 0.1,
    q: float = 0.05,
    max_levels: int = 20,
    minimum_rows: int = 30,
    seed: int = 0,
) -> Slice | None:
    """Name the level that carries a drifted column's shift, or None where no single level does.

    `reference_levels` and `current_levels` map a column's name to its rows, (rows,) of str or None, aligned
    with the values. Within a level both sides need `minimum_rows`; columns of more than `max_levels` levels,
    in one frame only, or the drifted column itself are passed over. A level carries the shift where it is
    significant (Benjamini-Hochberg over the column's levels, q) with an effect at or over the threshold, while
    the other rows, taken together, are below the threshold or not significant at q, and their effect is at
    most half of the level's; two such levels name none. Among several columns the widest gap between the two
    effects wins. Raises ValueError where the lengths differ.
    """
    slices = []
    for name, before in reference_levels.items():
        after = current_levels.get(name)
        if after is None or name == reference_values.name:
            continue
        if len(before) != len(reference_values.values) or len(after) != len(current_values.values):
            raise ValueError(f"The levels of {name!r} must be as many as the values they divide.")
        split = _Split(reference_values, current_values, before, after, threshold, minimum_rows, seed)
        found = _carrier(name, split, q, max_levels)
        if found is not None:
            slices.append(found)
    return max(slices, key=lambda found: found.effect - found.effect_elsewhere, default=None)


@dataclass(frozen=True, slots=True)
class _Split:
    """The two frames' values of one column, divided by the levels of another."""

    reference: Column
    current: Column
    before: Levels
    after: Levels
    threshold: float
    minimum_rows: int
    seed: int

    def levels(self) -> list[str]:
        names = {*self.before.tolist(), *self.after.tolist()}
        return sorted(name for name in names if isinstance(name, str))

    def within(self, level: str) -> Comparison | None:
        return self._compare(self.before == level, self.after == level)

    def elsewhere(self, level: str) -> Comparison | None:
        return self._compare(self.before != level, self.after != level)

    def _compare(self, before: Mask, after: Mask) -> Comparison | None:
        reference = prepare(Column(self.reference.name, self.reference.kind, self.reference.values[before]))
        current = prepare(Column(self.current.name, self.current.kind, self.current.values[after]))
        if min(reference.present, current.present) < self.minimum_rows:
            return None
        return compare(reference, current, threshold=self.threshold, seed=self.seed)


def _carrier(name: str, split: _Split, q: float, max_levels: int) -> Slice | None:
    levels = split.levels()
    if not 2 <= len(levels) <= max_levels:
        return None
    tested = [(level, result) for level in levels if (result := split.within(level)) is not None]
    q_values = benjamini_hochberg([result.p_value for _, result in tested])
    drifted = [
        (level, result.effect)
        for (level, result), q_value in zip(tested, q_values, strict=True)
        if q_value < q and result.effect >= split.threshold
    ]
    carriers = []
    for level, effect in drifted:
        rest = split.elsewhere(level)
        if rest is None or (rest.p_value < q and rest.effect >= split.threshold):
            continue
        if rest.effect <= _ELSEWHERE * effect:
            rows = int(np.count_nonzero(split.after == level))
            carriers.append(Slice(name, level, effect, rest.effect, rows))
    return carriers[0] if len(carriers) == 1 else None
