"""Values that the reference does not know: outside of its range, or of a category that it never saw."""

from __future__ import annotations

import numpy as np
from scipy.special import betainc, gammaln

from quarterdeck.statistics.column import PreparedColumn


def share_unseen(reference: PreparedColumn, current: PreparedColumn) -> float:
    """The share of the current usable values that the reference does not know; 0.0 where a side has none."""
    below, above, new = _counts(reference, current)
    return (below + above + new) / current.present if current.present else 0.0


def unseen_p(reference: PreparedColumn, current: PreparedColumn) -> float:
    """The p-value that both samples are of one kind, against too many unknown values in the current one.

    Numbers: where n and m values come in any order, the k greatest are all of the m with the probability of m choose k
    over n + m choose k (Wilks 1942); both ends are tested, and the smaller p-value counts twice. Categories: the share
    of rows whose category is not known yet is estimated by that of categories which the reference saw once (Good 1953;
    one is added, so that it is never zero), and the count is tested against it (binomial). 1.0 where a side is empty.
    """
    n, m = reference.present, current.present
    if not n or not m:
        return 1.0
    below, above, new = _counts(reference, current)
    if reference.kind == "numeric":
        return two_ends_p(n, m, below, above)
    expected = (sum(count == 1 for count in reference.counts.values()) + 1) / (n + 1)
    # The upper tail of the binomial distribution, as a beta distribution.
    return float(betainc(new, m - new + 1, expected)) if new else 1.0


def _counts(reference: PreparedColumn, current: PreparedColumn) -> tuple[int, int, int]:
    """How many current values lie below and above the reference's, and how many are of new categories."""
    if reference.kind == "categorical":
        return 0, 0, sum(count for name, count in current.counts.items() if name not in reference.counts)
    if not reference.present or not current.present:
        return 0, 0, 0
    below = int(np.searchsorted(current.ascending, reference.ascending[0], side="left"))
    above = current.present - int(np.searchsorted(current.ascending, reference.ascending[-1], side="right"))
    return below, above, 0


def two_ends_p(n: int, m: int, below: int, above: int) -> float:
    """The p-value of so many of m values below all n others, and so many above: see `unseen_p`."""
    return min(1.0, 2 * min(_all_of_one(n, m, below), _all_of_one(n, m, above)))


def _all_of_one(n: int, m: int, k: int) -> float:
    return float(np.exp(gammaln(m + 1) - gammaln(m - k + 1) + gammaln(n + m - k + 1) - gammaln(n + m + 1)))
