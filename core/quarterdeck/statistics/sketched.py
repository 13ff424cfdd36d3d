"""How far apart two sketched columns lie, with the error of saying so, and what can be said in spite of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, kolmogorov, xlogy

from quarterdeck.statistics.column import aligned_counts
from quarterdeck.statistics.comparison import Measure, compare
from quarterdeck.statistics.distance import Counts, Floats, jensen_shannon, jensen_shannon_terms
from quarterdeck.statistics.drift import UNSEEN, ColumnScore, Limits, Verdict
from quarterdeck.statistics.significance import benjamini_hochberg, two_shares_p
from quarterdeck.statistics.sketch import CategorySketch, ColumnSketch, NumericSketch
from quarterdeck.statistics.unseen import share_unseen, two_ends_p, unseen_p

EXACT_ROWS = 200_000
"""Up to so many rows on both sides the tests of whole columns are affordable."""
CLIP = 0.005
"""The share of the reference at either end that its robust sigma is clipped to."""
FAR = 0.0005
"""The share of either sample at either end beyond which a sketched distance does not look."""
LEAST_EXPECTED = 5.0


@dataclass(frozen=True, slots=True)
class SketchedPair:
    """A column of both tables."""

    name: str
    reference: ColumnSketch
    current: ColumnSketch


@dataclass(frozen=True, slots=True)
class SketchedScore:
    """A score whose effect may be off by `error`; exact where that is 0.0."""

    score: ColumnScore
    error: float


@dataclass(frozen=True, slots=True)
class _Found:
    """An effect between `low` and `high`.

    `p_value` is the chance of it at the least that the sketches leave open, so it is too high rather than too low;
    `least_p` is that of the most.
    """

    measure: Measure
    effect: float
    low: float
    high: float
    p_value: float
    least_p: float

    @property
    def error(self) -> float:
        return max(self.high - self.effect, self.effect - self.low)


def score_sketches(
    pairs: Sequence[SketchedPair],
    *,
    threshold: float = 0.1,
    q: float = 0.05,
    minimum_rows: int = 180,
    unseen: float = UNSEEN,
    seed: int = 0,
) -> list[SketchedScore]:
    """Judge columns as `score_pairs` does, from sketches. Two that still hold every value give the very same score.

    Otherwise a column has *drifted* where its effect less the error reaches the threshold, significantly; it is
    *quiet* where the effect with the error does not, or where that could surely be chance; and *inconclusive* where
    the error leaves it open. Shares of missing values are exact.
    """
    limits, of_unseen = Limits(threshold, q, minimum_rows), Limits(unseen, q, minimum_rows)
    found = [_found(pair, threshold, seed) for pair in pairs]
    missing = [_missing_p(pair) for pair in pairs]
    q_values = benjamini_hochberg([one.p_value for one in found])
    missing_q = benjamini_hochberg(missing)
    unknown = [_unseen(pair) for pair in pairs]
    unseen_q = benjamini_hochberg([p for _, p in unknown])
    together = zip(pairs, found, q_values, missing_q, unknown, unseen_q, strict=True)
    return [
        _score(pair, one, (float(q_value), float(q_missing), float(q_unseen)), share, limits, of_unseen)
        for pair, one, q_value, q_missing, (share, _), q_unseen in together
    ]


def _score(
    pair: SketchedPair,
    found: _Found,
    q_values: tuple[float, float, float],
    unseen: float,
    limits: Limits,
    of_unseen: Limits,
) -> SketchedScore:
    before, after = pair.reference, pair.current
    q_value, missing_q, unseen_q = q_values
    present = min(before.present, after.present)
    shares = [(side.rows - side.present) / side.rows if side.rows else 0.0 for side in (before, after)]
    gap = abs(shares[1] - shares[0]) if before.rows and after.rows else 0.0
    score = ColumnScore(
        column=pair.name,
        kind="numeric" if isinstance(before, NumericSketch) else "categorical",
        measure=found.measure,
        effect=found.effect,
        p_value=found.p_value,
        q_value=q_value,
        n_reference=before.present,
        n_current=after.present,
        missing_reference=shares[0],
        missing_current=shares[1],
        missing_effect=gap,
        missing_q=missing_q,
        unseen=unseen,
        unseen_q=unseen_q,
        verdict=_verdict(found, q_value, present, limits),
        missing_verdict=limits.verdict(gap, missing_q, min(before.rows, after.rows)),
        unseen_verdict=of_unseen.verdict(unseen, unseen_q, present),
    )
    return SketchedScore(score, found.error)


def _verdict(found: _Found, q_value: float, rows: int, limits: Limits) -> Verdict:
    if not found.error:
        return limits.verdict(found.effect, q_value, rows)
    if q_value < limits.q and found.low >= limits.threshold:
        return "drifted"
    open_ = found.high >= limits.threshold and found.least_p < limits.q
    return "inconclusive" if open_ or rows < limits.minimum_rows else "quiet"


def _missing_p(pair: SketchedPair) -> float:
    before, after = pair.reference, pair.current
    return two_shares_p(before.rows - before.present, before.rows, after.rows - after.present, after.rows)


def _unseen(pair: SketchedPair) -> tuple[float, float]:
    """The share of current values that the reference does not know, and the p-value of `unseen_p`.

    The range is exact, ranks are not: what is told of numbers is what lies outside of it at the least. Of categories
    that were not all counted nobody knows which are new: the p-value is 1.
    """
    before, after = pair.reference, pair.current
    if before.exact and after.exact:
        both = before.prepared(pair.name), after.prepared(pair.name)
        return share_unseen(*both), unseen_p(*both)
    if not before.present or not after.present:
        return 0.0, 1.0
    if isinstance(before, NumericSketch) and isinstance(after, NumericSketch):
        upto = _Distribution.of(after).upto
        least = np.nextafter(before.moments.minimum, -np.inf)
        below, above = float(upto(np.array([least]))[0]), 1.0 - float(upto(np.array([before.moments.maximum]))[0])
        counts = [math.floor(max(0.0, share - after.error) * after.present) for share in (below, above)]
        return sum(counts) / after.present, two_ends_p(before.present, after.present, *counts)
    assert isinstance(before, CategorySketch)
    assert isinstance(after, CategorySketch)
    return sum(count for name, count in after.counts.items() if name not in before.counts) / after.present, 1.0


def _found(pair: SketchedPair, threshold: float, seed: int) -> _Found:
    before, after = pair.reference, pair.current
    if isinstance(before, NumericSketch) is not isinstance(after, NumericSketch):
        raise ValueError(f"Column {pair.name!r} is numeric in one table and categorical in the other.")
    whole = before.exact and after.exact and before.present + after.present <= EXACT_ROWS
    if whole or not before.present or not after.present:
        # Sketches without a value are compared alike, whatever the other side lost.
        both = [side.prepared(pair.name) for side in (before, after)]
        result = compare(both[0], both[1], threshold=threshold, seed=seed)
        return _Found(result.measure, result.effect, result.effect, result.effect, result.p_value, result.p_value)
    if isinstance(before, CategorySketch) and isinstance(after, CategorySketch):
        return _categories_exact(pair) if before.exact and after.exact else _categories(before, after)
    assert isinstance(before, NumericSketch)
    assert isinstance(after, NumericSketch)
    return _numbers(before, after)


def _numbers(before: NumericSketch, after: NumericSketch) -> _Found:
    """W1 over the robust sigma of the reference, W1 as far out as the 0.05 and 99.95 percentiles of either sample.

    With F and G the distribution functions W1 is the integral of |F - G|, here from a to b. No rank is off by more than
    e of the reference's and d of the current sketch, so the integral is off by (e + d)(b - a) at most: that is why it
    has to end somewhere. What 0.1% of the rows do beyond is not seen. The mean squared distance of the reference,
    clipped to its 0.5 and 99.5 percentiles s and t, to a point c is an integral of 2|x - c| over F or 1 - F; so with c
    its mean by the sketch the variance is off by e((c - s)^2 + (t - c)^2) + (e(t - s))^2 at most, which bounds sigma.
    Without any spread the effect is the share of values that differ from the one that there is, less that share in the
    reference: off by 2(e + d).
    """
    e, d = before.error, after.error
    of_before, of_after = _Distribution.of(before), _Distribution.of(after)
    grid = np.concatenate((of_before.values, of_after.values))
    grid.sort(kind="stable")
    gaps = np.abs(of_before.upto(grid) - of_after.upto(grid))
    # The two-sample Kolmogorov-Smirnov statistic, at the least and at the most that it can be.
    size = math.sqrt(before.present / (before.present + after.present) * after.present)
    p_value, least_p = (float(kolmogorov(size * max(0.0, float(gaps.max()) + way * (e + d)))) for way in (-1, 1))
    low, high = of_before.quantile(CLIP), of_before.quantile(1 - CLIP)
    if not low < high:
        effect = max(0.0, of_after.share_other_than(low) - of_before.share_other_than(low))
        off = 2 * (e + d)
        return _Found("share_moved", effect, max(0.0, effect - off), min(1.0, effect + off), p_value, least_p)
    first = min(one.quantile(FAR) for one in (of_before, of_after))
    last = max(one.quantile(1 - FAR) for one in (of_before, of_after))
    # In units of the width between the clips, so that no square is too large for a float.
    width = high - low
    w1 = float(gaps[:-1] @ np.diff(np.clip(grid, first, last) / width))
    off = (e + d) * (last / width - first / width)
    variance, slack = _variance((np.clip(of_before.values, low, high) - low) / width, of_before.shares, e)
    least = max(0.0, w1 - off) / math.sqrt(variance + slack)
    most = (w1 + off) / math.sqrt(variance - slack) if variance > slack else math.inf
    return _Found("wasserstein_normed", w1 / math.sqrt(variance), least, most, p_value, least_p)


@dataclass(frozen=True, slots=True)
class _Distribution:
    """What a sketch holds: ascending values, the share that each stands for, and those up to and with it."""

    values: Floats
    shares: Floats
    sums: Floats

    @classmethod
    def of(cls, sketch: NumericSketch) -> _Distribution:
        values, weights = sketch.quantiles.points()
        return cls(values, weights / sketch.present, np.cumsum(weights) / sketch.present)

    def upto(self, grid: Floats) -> Floats:
        """The distribution function at each point of the grid."""
        return np.concatenate(([0.0], self.sums))[np.searchsorted(self.values, grid, side="right")]

    def quantile(self, share: float) -> float:
        return float(self.values[min(int(np.searchsorted(self.sums, share)), self.values.size - 1)])

    def share_other_than(self, value: float) -> float:
        return 1.0 - float(self.shares[self.values == value].sum())


def _variance(values: Floats, shares: Floats, error: float) -> tuple[float, float]:
    """The variance of values between 0 and 1, and by how much it may be off."""
    mean = float(values @ shares)
    variance = float(np.square(values - mean) @ shares)
    return variance, error * (mean**2 + (1 - mean) ** 2) + error * error


def _categories_exact(pair: SketchedPair) -> _Found:
    """The exact distance of many rows; the likelihood-ratio test of homogeneity, the rare categories taken together."""
    before, after = aligned_counts(pair.reference.prepared(pair.name), pair.current.prepared(pair.name))
    effect = jensen_shannon(before, after)
    p = _homogeneity_p(np.stack((before, after)))
    return _Found("jensen_shannon", effect, effect, effect, p, p)


def _homogeneity_p(table: Counts) -> float:
    """The p-value of the G-test on (2, k) counts (Sokal and Rohlf, ch. 17), cells that expect below 5 in one."""
    rows = table.sum(axis=1, keepdims=True)
    rare = (table.sum(axis=0) * rows.min() / rows.sum()) < LEAST_EXPECTED
    together = table[:, rare].sum(axis=1, keepdims=True)
    cells = np.concatenate((table[:, ~rare], together), axis=1)
    cells = cells[:, cells.any(axis=0)]
    if cells.shape[1] < 2:
        return 1.0
    expected = cells.sum(axis=0) * (rows / rows.sum())
    g = max(0.0, 2 * float((xlogy(cells, cells) - xlogy(cells, expected)).sum()))
    return float(chdtrc(cells.shape[1] - 1, g))


def _categories(before: CategorySketch, after: CategorySketch) -> _Found:
    """The Jensen-Shannon distance between what the counts leave open.

    The divergence adds up a term f(p, q) for each category, with shares p and q. The term is of first degree and
    convex, so f(p + a, q + b) <= f(p, q) + f(a, b), and f(a, b) <= ln 2 (a + b) / 2: what was lost of both samples
    raises the divergence by that at most. From below, a share lies between the counted one and that with the error
    added, and f only grows as its shares part: the least of each term, over the categories that are counted, is no more
    than the divergence. That bounds the G statistic of both samples, of n and m rows: it is 2(n + m) times the
    divergence weighted by their sizes, which is concave in the weight, so 4 min(n, m) times the plain one at least.
    """
    names = sorted(before.counts.keys() | after.counts.keys())
    p, q = (np.array([side.counts.get(name, 0) for name in names]) / side.present for side in (before, after))
    upto = [side.error / side.present for side in (before, after)]
    lost = [side.lost / side.present for side in (before, after)]
    divergence = float(jensen_shannon_terms(p, q).sum())
    high = min(math.sqrt(math.log(2)), math.sqrt(max(0.0, divergence + math.log(2) * sum(lost) / 2)))
    nearer_p = np.where(p < q, np.minimum(p + upto[0], q), p)
    nearer_q = np.where(q < p, np.minimum(q + upto[1], p), q)
    low = math.sqrt(max(0.0, float(jensen_shannon_terms(nearer_p, nearer_q).sum())))
    effect = min(max(math.sqrt(max(0.0, divergence)), low), high)
    sizes = before.present, after.present
    p_value = float(chdtrc(max(1, len(names)), 4 * min(sizes) * low * low))
    least_p = float(chdtrc(max(1, len(names)), 4 * max(sizes) * high * high))
    return _Found("jensen_shannon", effect, low, high, p_value, least_p)
