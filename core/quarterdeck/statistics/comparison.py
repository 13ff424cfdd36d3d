"""How far one column lies from its reference, and whether that could be chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from zlib import crc32

import numpy as np

from quarterdeck.statistics.column import PreparedColumn, aligned_counts
from quarterdeck.statistics.distance import jensen_shannon, moved_counts, normed_wasserstein, pool, share_moved
from quarterdeck.statistics.permutation import (
    COARSE_DRAWS,
    DRAWS,
    anderson_darling_permuted,
    jensen_shannon_permuted,
)
from quarterdeck.statistics.significance import anderson_darling, anderson_darling_p, moved_p

Measure = Literal["wasserstein_normed", "jensen_shannon", "share_moved"]

# Above this share of the pooled rows in one value, the tabulated null distribution no longer holds.
HEAVY_TIE = 0.1


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far one column lies from its reference, and the probability of that by chance.

    `effect` is in units of the measure: W1 in robust sigmas of the reference, Jensen-Shannon distance (nats),
    or the excess share of moved values where the reference has zero spread.
    """

    measure: Measure
    effect: float
    p_value: float


def compare(reference: PreparedColumn, current: PreparedColumn, *, threshold: float = 0.1, seed: int = 0) -> Comparison:
    """Return effect and p-value of one column; effect 0.0 and p 1.0 where either side has no usable value.

    Numeric: mid-rank Anderson-Darling from its tabulated null, or by permutation where one value holds more
    than 10% of the pooled rows; where the reference has zero spread, Fisher's exact test on the moved values.
    Categorical: permutation of the Jensen-Shannon distance. An effect below `threshold` cannot give a
    verdict, so there a permutation makes 199 draws, not 9,999: a valid p-value, but never below 0.005, which can
    only make the correction of the other columns stricter. Raises ValueError where the kinds differ.
    """
    if reference.kind != current.kind:
        raise ValueError(
            f"Column {reference.name!r} is {reference.kind} in the reference but {current.kind} in the current rows."
        )
    # A stream for each name: its place does not change a column's p-value, nor are alike columns wrong together.
    rng = np.random.default_rng([seed, crc32(reference.name.encode())])
    if reference.kind == "categorical":
        return _compare_categorical(reference, current, threshold, rng)
    if reference.present and not reference.sigma:
        return _compare_constant(reference, current)
    return _compare_numeric(reference, current, threshold, rng)


def _compare_numeric(
    reference: PreparedColumn, current: PreparedColumn, threshold: float, rng: np.random.Generator
) -> Comparison:
    if not reference.present or not current.present:
        return Comparison("wasserstein_normed", 0.0, 1.0)
    pooled = pool(reference.ascending, current.ascending)
    effect = normed_wasserstein(pooled, reference.sigma)
    heaviest = int((pooled.reference + pooled.current).max())
    if heaviest > HEAVY_TIE * (reference.present + current.present):
        p_value = anderson_darling_permuted(pooled, rng, DRAWS if effect >= threshold else COARSE_DRAWS)
    else:
        p_value = anderson_darling_p(anderson_darling(pooled), reference.present, current.present)
    return Comparison("wasserstein_normed", effect, p_value)


def _compare_constant(reference: PreparedColumn, current: PreparedColumn) -> Comparison:
    if not current.present:
        return Comparison("share_moved", 0.0, 1.0)
    moved_before, moved_after = moved_counts(reference.ascending, current.ascending)
    sizes = reference.present, current.present
    effect = share_moved(moved_before, sizes[0], moved_after, sizes[1])
    return Comparison("share_moved", effect, moved_p(moved_before, sizes[0], moved_after, sizes[1]))


def _compare_categorical(
    reference: PreparedColumn, current: PreparedColumn, threshold: float, rng: np.random.Generator
) -> Comparison:
    if not reference.present or not current.present:
        return Comparison("jensen_shannon", 0.0, 1.0)
    before, after = aligned_counts(reference, current)
    effect = jensen_shannon(before, after)
    draws = DRAWS if effect >= threshold else COARSE_DRAWS
    return Comparison("jensen_shannon", effect, jensen_shannon_permuted(before, after, rng, draws))
