"""How far a current sample lies from its reference, column by column."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

# Squares of values beyond this overflow; they are taken as this large.
LARGEST = 1e150
# Steps of one sample that are merged at once: few enough for the processor's cache, and enough for two threads.
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Pooled:
    """Two numeric samples as counts over their distinct values.

    `values` (k,) ascending; `reference` and `current` (k,) say how often each sample holds each value.
    Both the Wasserstein distance and the Anderson-Darling statistic are read from this one table.
    """

    values: Floats
    reference: Counts
    current: Counts


def finite_sorted(values: ArrayLike) -> Floats:
    """Return the finite values in ascending order, those beyond +-1e150 taken as +-1e150.

    NaN and infinities are left out: the caller counts them as missing.
    """
    array = np.asarray(values, dtype=np.float64).ravel()
    finite = np.isfinite(array)
    ascending = np.sort(array if finite.all() else array[finite])
    if ascending.size and (ascending[0] < -LARGEST or ascending[-1] > LARGEST):
        np.clip(ascending, -LARGEST, LARGEST, out=ascending)
    return ascending


def pool(reference: Floats, current: Floats) -> Pooled:
    """Count two ascending finite samples over their distinct values; O(n + m) up to binary searches."""
    both = np.concatenate((reference, current))
    both.sort(kind="stable")  # merges the two sorted runs in linear time
    values = both[np.append(True, both[1:] != both[:-1])] if both.size else both
    return Pooled(values, _occurrences(reference, values), _occurrences(current, values))


def _occurrences(ascending: Floats, values: Floats) -> Counts:
    upto = np.searchsorted(ascending, values, side="right")
    return np.diff(upto, prepend=0).astype(np.int64)


def wasserstein(reference: ArrayLike, current: ArrayLike) -> float:
    """Return the exact first Wasserstein distance of two samples, in the unit of the values.

    Sizes may differ; only finite values enter. Raises ValueError where a sample has no finite value.
    W1 is the integral of |F - G| (Ramdas, Garcia Trillos and Cuturi 2017, as scipy.stats computes it).
    """
    return pooled_wasserstein(pool(finite_sorted(reference), finite_sorted(current)))


def pooled_wasserstein(pooled: Pooled) -> float:
    """Return the first Wasserstein distance of two samples already counted by `pool`.

    Raises ValueError where either sample is empty.
    """
    n_reference, n_current = int(pooled.reference.sum()), int(pooled.current.sum())
    if not n_reference or not n_current:
        raise ValueError("A Wasserstein distance needs at least one finite value in both samples.")
    gap = np.cumsum(pooled.reference) / n_reference - np.cumsum(pooled.current) / n_current
    return float(np.abs(gap[:-1]) @ np.diff(pooled.values))


def wasserstein_of_sorted(reference: Floats, current: Floats) -> float:
    """Return the first Wasserstein distance of two ascending samples of finite values.

    The integral of the difference of both quantile functions, which is that of their distribution functions. Where
    the sizes differ the functions' steps are merged by arithmetic on the ranks, without another sort. Raises
    ValueError where either sample is empty.
    """
    n, m = reference.size, current.size
    if not n or not m:
        raise ValueError("A Wasserstein distance needs at least one finite value in both samples.")
    if n == m:
        return float(np.abs(reference - current).mean())
    if n > m:  # It is the same either way, and the blocks are cut by the steps of the first.
        reference, current, n, m = current, reference, m, n
    # Steps lie at i/n and j/m: in units of 1/(nm) these are whole numbers, and so are their places among each other.
    total = 0.0
    for first in range(0, n, _BLOCK):
        steps = np.arange(first + 1, min(first + _BLOCK, n) + 1) * m
        before, upto = first * m // n, int(steps[-1]) // n
        places = np.arange(steps.size) + steps // n - before
        of_reference = np.zeros(steps.size + upto - before, dtype=bool)
        of_reference[places] = True
        ends = np.empty(of_reference.size, dtype=np.int64)
        ends[places] = steps
        ends[~of_reference] = np.arange(before + 1, upto + 1) * n
        passed = np.cumsum(of_reference) - of_reference
        others = np.arange(before, before + ends.size) - passed
        # A step of the current sample at the very end of the block, or of both, has nothing after it.
        gaps = np.abs(reference[np.minimum(first + passed, n - 1)] - current[np.minimum(others, m - 1)])
        total += float(gaps @ np.diff(ends, prepend=first * m))
    return total / (n * m)


def robust_sigma(reference: ArrayLike) -> float:
    """As `robust_sigma_of_sorted`, of values in any order."""
    return robust_sigma_of_sorted(finite_sorted(reference))


def robust_sigma_of_sorted(values: Floats) -> float:
    """Return the population standard deviation of ascending values clipped to their 0.5 and 99.5 percentiles.

    So one value of 1e9 cannot hide all drift. It is exactly 0.0 where the two percentiles coincide (a
    constant column, or one where all but half a percent at either end is one value) or nothing is finite.
    """
    if not values.size:
        return 0.0
    low, high = _quantile(values, 0.005), _quantile(values, 0.995)
    # Rounding in the mean would give a constant such as 0.1 a spread of 1e-17.
    return float(np.std(np.clip(values, low, high))) if low < high else 0.0


def _quantile(ascending: Floats, share: float) -> float:
    """numpy's default quantile, which need not look for its neighbours here."""
    place = share * (ascending.size - 1)
    below = int(place)
    above = min(below + 1, ascending.size - 1)
    low, high = float(ascending[below]), float(ascending[above])
    return low + (high - low) * (place - below)


def normed_wasserstein(pooled: Pooled, sigma: float) -> float:
    """Return the effect of a numeric column: W1 in units of `sigma`, the reference's `robust_sigma` (> 0).

    Raises ValueError where either sample is empty or sigma is not positive.
    """
    if not sigma > 0:
        raise ValueError("The normed distance needs a positive sigma; use share_moved for a constant reference.")
    return min(pooled_wasserstein(pooled) / sigma, float(np.finfo(np.float64).max))


def moved_counts(reference: Floats, current: Floats) -> tuple[int, int]:
    """Count the values of each ascending sample that differ from the reference's median.

    Meant for a reference of zero robust sigma, whose median is the one value that nearly all of it holds.
    Raises ValueError where the reference is empty.
    """
    if not reference.size:
        raise ValueError("An empty reference has no median.")
    usual = reference[reference.size // 2]
    return int(np.count_nonzero(reference != usual)), int(np.count_nonzero(current != usual))


def share_moved(moved_reference: int, n_reference: int, moved_current: int, n_current: int) -> float:
    """Return the effect where the reference has zero spread: the excess share of moved values, in [0, 1].

    It is the share of current values that differ from the reference's median, less the share of such
    values in the reference, and 0.0 where that is negative. Raises ValueError where either size is 0.
    """
    if n_reference < 1 or n_current < 1:
        raise ValueError("A share of moved values needs at least one row in both samples.")
    return max(0.0, moved_current / n_current - moved_reference / n_reference)


def jensen_shannon(reference_counts: ArrayLike, current_counts: ArrayLike) -> float:
    """Return the Jensen-Shannon distance of two aligned vectors of category counts, in [0, sqrt(ln 2)].

    The square root of the divergence in nats: Evidently 0.7 calls scipy.spatial.distance.jensenshannon with
    base None, the natural logarithm (Lin 1991; Endres and Schindelin 2003). Raises ValueError where the
    shapes differ, a count is negative, or either vector sums to 0.
    """
    reference = np.asarray(reference_counts, dtype=np.float64)
    current = np.asarray(current_counts, dtype=np.float64)
    if reference.shape != current.shape or reference.ndim != 1:
        raise ValueError("Category counts must be two vectors over the same categories.")
    if (reference < 0).any() or (current < 0).any() or not reference.sum() > 0 or not current.sum() > 0:
        raise ValueError("Category counts must not be negative, and each sample needs at least one row.")
    terms = jensen_shannon_terms(reference / reference.sum(), current / current.sum())
    # Rounding can leave equal distributions a hair below zero.
    return math.sqrt(max(0.0, float(terms.sum())))


def jensen_shannon_terms(p: Floats, q: Floats) -> Floats:
    """Return each category's term of the Jensen-Shannon divergence in nats; they sum to it.

    `p` and `q` are aligned shares of the reference and of the current sample, of any one shape.
    """
    middle = 0.5 * (p + q)
    return np.asarray(0.5 * (xlogy(p, p) + xlogy(q, q)) - xlogy(middle, middle), dtype=np.float64)
