"""Could the difference be chance, given both sample sizes? Null distributions and multiple testing."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, xlogy

from quarterdeck.statistics.distance import Floats, Pooled

# Standard deviation of the limiting Anderson-Darling distribution; its mean is 1 (Anderson and Darling 1954).
_SIGMA_LIMIT = float(np.sqrt(2 * (np.pi**2 / 3 - 3)))
_NODES = 64
_BLOCKS = 8


def anderson_darling(pooled: Pooled) -> float:
    """Return the two-sample Anderson-Darling statistic on mid-ranks, A2akN of Scholz and Stephens (1987, eq. 7).

    Its null mean is 1. It is 0.0 where all rows hold one value. Raises ValueError where a sample is empty.
    """
    return float(anderson_darling_of_counts(pooled.reference + pooled.current, pooled.current[None, :])[0])


def anderson_darling_of_counts(total: ArrayLike, current: ArrayLike) -> Floats:
    """Return the statistic of `anderson_darling` for many splits of the same pooled rows at once.

    `total` (k,) counts the pooled rows at each distinct value in ascending order; `current` (r, k) says how
    many of them each split gives to the current sample, every split the same number. Returns (r,). Raises
    ValueError where a sample is empty.
    """
    ties = np.asarray(total, dtype=np.float64)
    counts = np.asarray(current, dtype=np.float64)
    rows = float(ties.sum())
    n = float(counts[0].sum())
    if not 0 < n < rows:
        raise ValueError("The Anderson-Darling statistic needs at least one row in both samples.")
    if ties.size == 1:
        return np.zeros(counts.shape[0])
    middle = np.cumsum(ties) - ties / 2
    weight = ties / rows / (middle * (rows - middle) - rows * ties / 4)
    inner = rows * (np.cumsum(counts, axis=1) - counts / 2) - middle * n
    statistic = (rows - 1) / rows * (1 / n + 1 / (rows - n)) * ((inner * inner) @ weight)
    return np.asarray(statistic, dtype=np.float64)


def anderson_darling_p(statistic: float, n_reference: int, n_current: int) -> float:
    """Return the p-value of `anderson_darling` without heavy ties, in [0, 1].

    The statistic is standardised by its exact finite-sample variance, `anderson_darling_sigma`, and read off the
    limiting law, which for two samples is that of Anderson and Darling (Pettitt 1976). So the small tail that
    scipy's table cuts at 0.001 is computed, not extrapolated.
    """
    sigma = anderson_darling_sigma(n_reference, n_current)
    if sigma == 0:
        return 1.0
    return _limit_tail(1 + (statistic - 1) * _SIGMA_LIMIT / sigma)


@lru_cache(maxsize=256)
def anderson_darling_sigma(n_reference: int, n_current: int) -> float:
    """Return the statistic's null standard deviation without ties (Scholz and Stephens 1987, eq. 4).

    It is 0.0 below four pooled rows, where the formula has no value.
    """
    rows = n_reference + n_current
    if rows < 4:
        return 0.0
    inverse = 1 / n_reference + 1 / n_current
    partial = np.cumsum(1 / np.arange(rows - 1, 1, -1.0))
    h = float(partial[-1]) + 1
    g = float((partial / np.arange(2.0, rows)).sum())
    k = 2
    a = (4 * g - 6) * (k - 1) + (10 - 6 * g) * inverse
    b = (2 * g - 4) * k**2 + 8 * h * k + (2 * g - 14 * h - 4) * inverse - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * k**2 + (4 * h - 4 * g + 6) * k + (2 * h - 6) * inverse + 4 * h
    d = (2 * h + 6) * k**2 - 4 * h * k
    variance = (a * rows**3 + b * rows**2 + c * rows + d) / ((rows - 1.0) * (rows - 2.0) * (rows - 3.0))
    return float(np.sqrt(max(variance, 0.0)))


def _limit_tail(z: float) -> float:
    """P(A2 > z) for the sum of chi-squared variables weighted 1/(j(j+1)).

    Smirnov's alternating series of integrals for such a sum (Anderson and Darling 1952, section 4), where the
    product over (1 - u/(j(j+1))) is -cos(pi/2 sqrt(1+4u)) / (pi u); Gauss-Chebyshev nodes absorb the inverse
    square roots at the ends of each interval.
    """
    if z <= 0.1:
        return 1.0
    block = np.arange(1, _BLOCKS + 1)[:, None]
    low, high = (2.0 * block - 1) * (2 * block), 2.0 * block * (2 * block + 1)
    angle = (np.arange(_NODES) + 0.5) * np.pi / _NODES
    u = (low + high) / 2 + (high - low) / 2 * np.cos(angle)
    product = np.abs(np.cos(np.pi / 2 * np.sqrt(1 + 4 * u))) / (np.pi * u)
    smooth = np.sqrt((u - low) * (high - u) / product) * np.exp(-u * z / 2) / u
    signs = np.where(block % 2 == 1, 1.0, -1.0)
    return float(np.clip((signs * smooth).sum() / _NODES, 0.0, 1.0))


def moved_p(moved_reference: int, n_reference: int, moved_current: int, n_current: int) -> float:
    """Return the p-value that so many current rows moved by chance: Fisher's exact test, one-sided upward.

    The tail of the hypergeometric distribution given the pooled number of moved rows. One-sided since
    `share_moved` counts only an excess. It is 1.0 where either sample is empty.
    """
    from scipy.stats import hypergeom

    rows = n_reference + n_current
    if not n_reference or not n_current:
        return 1.0
    tail = hypergeom.sf(moved_current - 1, rows, moved_reference + moved_current, n_current)
    return float(np.clip(tail, 0.0, 1.0))


def two_shares_p(hits_reference: int, n_reference: int, hits_current: int, n_current: int) -> float:
    """Return the two-sided p-value that two shares, such as missing rates, are equal.

    Fisher's exact test where any expected count of the 2 x 2 table is below 10, else the likelihood-ratio
    G-test with one degree of freedom (Sokal and Rohlf, Biometry, ch. 17), which agrees with it from there on.
    It is 1.0 where either sample is empty or neither or all of the rows are hits.
    """
    table = np.array(
        [[hits_reference, n_reference - hits_reference], [hits_current, n_current - hits_current]], dtype=np.int64
    )
    across, down = table.sum(axis=1), table.sum(axis=0)
    if not across.all() or not down.all():
        return 1.0
    expected = np.outer(across, down) / table.sum()
    if expected.min() < 10:
        from scipy.stats import fisher_exact

        return float(fisher_exact(table)[1])
    # Rounding can leave equal shares a hair below zero.
    g = max(0.0, 2 * float((xlogy(table, table) - xlogy(table, expected)).sum()))
    return float(chdtrc(1, g))


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """Return the q-value of each p-value, (n,) in the order given (Benjamini and Hochberg 1995).

    A q-value is the smallest false discovery rate at which its test would be called. Raises ValueError where
    a p-value lies outside [0, 1] or is NaN.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("A p-value must lie between 0 and 1.")
    order = np.argsort(p)
    ranked = p[order] * p.size / np.arange(1, p.size + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(ranked[::-1])[::-1], 1.0)
    return q
