"""The figures of Evidently's DataDriftPreset (0.7) by its own definitions, a column at a time and without Evidently.

Which method judges a column depends on its kind, on how many distinct values both samples have together, and on whether
the reference has more than 1,000 values. Missing values and infinities do not enter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import chdtrc, ndtr

from quarterdeck.statistics.column import PreparedColumn
from quarterdeck.statistics.distance import Counts, Floats, jensen_shannon, wasserstein_of_sorted

Method = Literal["wasserstein", "jensenshannon", "ks", "chisquare", "z"]

SMALL_REFERENCE = 1_000
"""Up to so many values the score is the p-value of a test, beyond it a distance."""
FEW_VALUES = 5
"""A numeric column of at most so many distinct values is compared like a categorical one."""
DISTANCE_THRESHOLD, P_THRESHOLD = 0.1, 0.05
LEAST_SIGMA = 0.001
"""What the Wasserstein distance is divided by at the least."""


@dataclass(frozen=True, slots=True)
class PresetFigure:
    """What the preset says of one column: a distance or a p-value, and the threshold that it is held against."""

    column: str
    method: Method
    score: float
    threshold: float
    drifted: bool


def preset_figure(reference: PreparedColumn, current: PreparedColumn) -> PresetFigure | None:
    """The preset's figure for one column; None where either sample has no usable value, on which Evidently fails.

    Raises:
        ValueError: the kinds differ.
    """
    if reference.kind != current.kind:
        raise ValueError(f"Column {reference.name!r} is {reference.kind} before and {current.kind} after.")
    if not reference.present or not current.present:
        return None
    counts = _counts(reference, current)
    small = reference.present <= SMALL_REFERENCE
    if counts is None:
        if small:
            return _tested(reference.name, "ks", _ks_p(reference.ascending, current.ascending))
        sigma = max(float(np.std(reference.ascending)), LEAST_SIGMA)
        distance = wasserstein_of_sorted(reference.ascending, current.ascending) / sigma
        return _measured(reference.name, "wasserstein", distance)
    before, after = counts
    if not small:
        return _measured(reference.name, "jensenshannon", jensen_shannon(before, after))
    if before.size > 2:
        return _tested(reference.name, "chisquare", chi_squared_p(before, after))
    return _tested(reference.name, "z", _z_p(before, after))


def _measured(column: str, method: Method, score: float) -> PresetFigure:
    return PresetFigure(column, method, score, DISTANCE_THRESHOLD, score >= DISTANCE_THRESHOLD)


def _tested(column: str, method: Method, p: float) -> PresetFigure:
    # As in Evidently: KS calls a p-value at the threshold drift, the others only one below it.
    drifted = p <= P_THRESHOLD if method == "ks" else p < P_THRESHOLD
    return PresetFigure(column, method, p, P_THRESHOLD, drifted)


def _counts(reference: PreparedColumn, current: PreparedColumn) -> tuple[Counts, Counts] | None:
    """How often each value occurs, in the values' order; None for a numeric column of many values."""
    if reference.kind == "categorical":
        names = sorted(reference.counts.keys() | current.counts.keys())
        of_names = ([side.counts.get(name, 0) for name in names] for side in (reference, current))
        before, after = (np.array(counts, dtype=np.int64) for counts in of_names)
        return before, after
    values = _few_values(reference.ascending, current.ascending)
    if values is None:
        return None
    before, after = (
        np.diff(np.searchsorted(side.ascending, values, side="right"), prepend=0) for side in (reference, current)
    )
    return before, after


def _few_values(reference: Floats, current: Floats) -> Floats | None:
    """The distinct values of two ascending samples; None where there are many."""
    found: set[float] = set()
    for ascending in (reference, current):
        position = 0
        while position < ascending.size:
            value = float(ascending[position])
            found.add(value)
            if len(found) > FEW_VALUES:
                return None
            position = int(np.searchsorted(ascending, value, side="right"))
    return np.array(sorted(found))


def _ks_p(reference: Floats, current: Floats) -> float:
    from scipy.stats import ks_2samp

    return float(ks_2samp(reference, current).pvalue)


def chi_squared_p(before: Counts, after: Counts) -> float:
    """Pearson's test of the current counts against the reference's shares; 0.0 where a category is new."""
    expected = before * (after.sum() / before.sum())
    if (expected == 0).any():
        return 0.0
    return float(chdtrc(before.size - 1, float(((after - expected) ** 2 / expected).sum())))


def _z_p(before: Counts, after: Counts) -> float:
    """The two-sided test that two shares are equal; 1.0 where both samples hold one value only."""
    if before.size < 2:
        return 1.0
    n, m = int(before.sum()), int(after.sum())
    p, q = float(before[1] / n), float(after[1] / m)
    pooled = float(before[1] + after[1]) / (n + m)
    z = (p - q) / float(np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)))
    return float(2 * (1 - ndtr(abs(z))))
