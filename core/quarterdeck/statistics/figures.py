"""The customary figures of a column beside the verdict's own effect: what people know from elsewhere.

Those that Evidently (0.7) has by the same name are defined as there: histograms have Sturges' bins over both samples,
and of up to 20 distinct values in the reference each is a bin of its own. Only usable values enter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quarterdeck.statistics.column import PreparedColumn, aligned_counts
from quarterdeck.statistics.distance import Counts, Floats, jensen_shannon
from quarterdeck.statistics.preset import chi_squared_p

BINNED_FROM = 20
"""A number with more distinct values in the reference is compared by a histogram."""
LEAST_SHARE, LESS = 1e-4, 1e-6
"""What stands for a share of zero in the PSI: this, or this part of the least share where that is no greater."""
NAMED = 5
"""Categories that are told by name, those with the most rows."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Figures of one column: those that are None do not exist for its kind."""

    psi: float
    """Population stability index: 0 for equal shares."""
    jensen_shannon: float
    """Distance in nats."""
    ks: float | None
    """The Kolmogorov-Smirnov statistic, the greatest difference of the distribution functions: 0 to 1."""
    chi_squared: float | None
    """p-value of Pearson's test of the current counts against the reference's shares."""
    new: tuple[str, ...]
    """Categories that the reference never saw, at most five."""
    vanished: tuple[str, ...]
    """Categories of the reference that are no more, at most five."""


def figures(reference: PreparedColumn, current: PreparedColumn) -> Figures | None:
    """The figures of a column; None where either side has no usable value."""
    if not reference.present or not current.present:
        return None
    if reference.kind == "categorical":
        before, after = aligned_counts(reference, current)
        return Figures(
            psi(before, after),
            jensen_shannon(before, after),
            None,
            chi_squared_p(before, after) if before.size > 1 else None,
            _missing_from(current, reference),
            _missing_from(reference, current),
        )
    before, after = _histograms(reference.ascending, current.ascending)
    distance = _ks(reference.ascending, current.ascending)
    return Figures(psi(before, after), jensen_shannon(before, after), distance, None, (), ())


def psi(before: Counts, after: Counts) -> float:
    """The population stability index of two aligned vectors of counts, each with at least one row."""
    p, q = (_filled(counts / counts.sum()) for counts in (before, after))
    return float(((p - q) * np.log(p / q)).sum())


def _filled(shares: Floats) -> Floats:
    least = float(shares[shares > 0].min())
    return np.where(shares > 0, shares, least * LESS if least <= LEAST_SHARE else LEAST_SHARE)


def _histograms(reference: Floats, current: Floats) -> tuple[Counts, Counts]:
    distinct = _distinct(reference)
    if distinct.size <= BINNED_FROM:
        values = np.union1d(distinct, _distinct(current))
        before, after = (
            np.diff(np.searchsorted(side, values, side="right"), prepend=0) for side in (reference, current)
        )
        return before, after
    rows = reference.size + current.size
    least, most = min(reference[0], current[0]), max(reference[-1], current[-1])
    edges = np.linspace(least, most, math.ceil(math.log2(rows) + 1) + 1)
    before, after = (_binned(side, edges) for side in (reference, current))
    return before, after


def _distinct(ascending: Floats) -> Floats:
    return np.asarray(ascending[np.append(True, ascending[1:] != ascending[:-1])])


def _binned(ascending: Floats, edges: Floats) -> Counts:
    upto = np.searchsorted(ascending, edges, side="left")
    upto[-1] = ascending.size  # The last bin has both its ends.
    return np.diff(upto)


def _ks(reference: Floats, current: Floats) -> float:
    both = np.concatenate((reference, current))
    gaps = np.searchsorted(reference, both, side="right") / reference.size
    gaps -= np.searchsorted(current, both, side="right") / current.size
    return float(np.abs(gaps).max())


def _missing_from(one: PreparedColumn, other: PreparedColumn) -> tuple[str, ...]:
    """The categories of `one` that `other` lacks."""
    names = sorted(
        (name for name in one.counts if name not in other.counts), key=lambda name: (-one.counts[name], name)
    )
    return tuple(names[:NAMED])
