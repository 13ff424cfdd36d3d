"""Permutation tests conditional on the pooled rows: exact in level however the values tie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from quarterdeck.statistics.distance import Counts, Floats, Pooled, jensen_shannon_terms
from quarterdeck.statistics.significance import anderson_darling_of_counts

DRAWS = 9_999
# Where the effect is too small to matter whatever the p-value: a valid but coarse one (never below 0.005).
COARSE_DRAWS = 199
# Categories times draws: beyond 400 categories fewer than DRAWS are made, never fewer than COARSE_DRAWS, so that
# a column of thousands of names still takes a fraction of a second.
CATEGORY_DRAWS = 4_000_000
# p-values under ENOUGH / DRAWS, 1%, keep the full number of draws.
ENOUGH = 100
# Pooled values are joined into at most this many groups: what bounds the price of a draw.
GROUPS = 200
_CELLS = 500_000


def anderson_darling_permuted(pooled: Pooled, rng: np.random.Generator, draws: int = DRAWS) -> float:
    """Return the permutation p-value of the mid-rank Anderson-Darling statistic, given the ties.

    Neighbouring values whose mid-ranks fall in the same 200th of the pooled rows are first joined, so a value
    that holds 1% or more stays alone. The counts of the groups are then redrawn from the multivariate
    hypergeometric distribution. The grouping depends on the pooled rows only, so the level stays exact.
    Raises ValueError where a sample is empty.
    """
    total, current = _grouped(pooled.reference + pooled.current, pooled.current)

    def statistic(counts: Counts) -> Floats:
        return anderson_darling_of_counts(total, counts)

    return _permuted(total, current, statistic, rng, draws)


def jensen_shannon_permuted(reference: Counts, current: Counts, rng: np.random.Generator, draws: int = DRAWS) -> float:
    """Return the permutation p-value of the Jensen-Shannon distance of two aligned vectors of category counts.

    At most 4,000,000 / categories draws, and no fewer than 199: beyond 400 categories p is coarser than 0.0001
    (0.0005 at 2,000, 0.005 from 20,000). Raises ValueError where a sample is empty.
    """
    total = reference + current
    n_reference, n_current = int(reference.sum()), int(current.sum())
    if not n_reference or not n_current:
        raise ValueError("A permutation test needs at least one row in both samples.")

    # A category's term depends on its own counts only: every value it can take is computed once.
    category = np.repeat(np.arange(total.size), total + 1)
    starts = np.cumsum(total + 1) - (total + 1)
    held = np.arange(category.size) - starts[category]
    # More than either sample holds cannot be drawn; the clip only keeps the unused entries defined.
    q = np.minimum(held, n_current) / n_current
    p = np.minimum(total[category] - held, n_reference) / n_reference
    terms = jensen_shannon_terms(p, q)

    def statistic(counts: Counts) -> Floats:
        return np.asarray(terms[starts + counts].sum(axis=1), dtype=np.float64)

    affordable = max(CATEGORY_DRAWS // total.size, COARSE_DRAWS)
    return _permuted(total, current, statistic, rng, min(draws, affordable))


def _grouped(total: Counts, current: Counts) -> tuple[Counts, Counts]:
    middle = np.cumsum(total) - total / 2
    group = (middle * GROUPS / total.sum()).astype(np.int64)
    edges = np.flatnonzero(np.diff(group, prepend=-1))
    return np.add.reduceat(total, edges), np.add.reduceat(current, edges)


def _permuted(
    total: Counts,
    current: Counts,
    statistic: Callable[[Counts], Floats],
    rng: np.random.Generator,
    draws: int,
) -> float:
    """Sequential Monte Carlo p-value: stop at ENOUGH exceedances, else (b + 1)/(B + 1) (Besag and Clifford 1991)."""
    # Equal statistics may differ in the last bit, and a tie must count as an exceedance.
    observed = float(statistic(current[None, :])[0]) * (1 - 1e-9) - 1e-12
    n_current = int(current.sum())
    smaller = min(n_current, int(total.sum()) - n_current)
    # numpy's "count" walks the rows drawn, "marginals" the values, at about ten times the price of a row.
    method: Literal["count", "marginals"] = "count" if 10 * total.size > smaller else "marginals"
    exceedances, done = 0, 0
    while done < draws:
        size = min(draws - done, max(_CELLS // total.size, 1), max(2 * ENOUGH, done))
        drawn = rng.multivariate_hypergeometric(total, smaller, size=size, method=method)
        reached = statistic(drawn if smaller == n_current else total - drawn) >= observed
        needed = ENOUGH - exceedances
        hits = np.flatnonzero(reached)
        if hits.size >= needed:
            return ENOUGH / (done + int(hits[needed - 1]) + 1)
        exceedances += hits.size
        done += size
    return (exceedances + 1) / (draws + 1)
