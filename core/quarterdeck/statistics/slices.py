"""Where predictions got worse: the loss of every row, and how it grew in each slice of the rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quarterdeck.statistics.distance import Floats
from quarterdeck.statistics.significance import benjamini_hochberg

Loss = Literal["log_loss", "error_rate", "absolute_error", "squared_error"]
"""What is lost on one row: minus the logarithm of the true class's probability (nats); 1 for a wrong label; the error
of a number, or its square."""

LEAST_PROBABILITY = 0.001
"""One answer that was sure and wrong costs 6.9 nats, not all that there is."""
LEAST_ROWS = 30
"""Of a slice, on both sides: below that nothing is said of it."""
DRAWS, BATCH, ENOUGH = 4_999, 200, 20
"""Drawn in batches, until so many reached what was observed (Besag and Clifford 1991)."""
EXACT_ROWS = 2_000
"""Of both sides together: with more the permutation distribution of a mean is normal (Hoeffding 1951)."""
HALF = 0.5
"""Of all that was lost: a slice with less of it does not stand for the rest."""


@dataclass(frozen=True, slots=True)
class SliceLoss:
    """The rows of one slice, now and in the reference."""

    slice: str
    n_reference: int
    n_current: int
    before: float
    """Mean loss of a row in the reference."""
    after: float
    share: float
    """Of the current rows, how many are in the slice."""
    carries: float
    """The slice's part in the growth of the mean loss over all rows; above 1 where other slices got better, NaN where
    there was no growth."""
    p_value: float
    """That the rows of both sides have one mean, against a greater one now."""
    q_value: float

    @property
    def growth(self) -> float:
        """How much more is lost on a row than before, as a share of that; at most 1, which doubles it."""
        return min(self.after / self.before - 1, 1.0) if self.before > 0 else float(self.after > 0)


def log_losses(truth: NDArray[np.int64], shares: Floats) -> Floats:
    """Minus the logarithm of what each row (n, classes) gave its true class; a class that is not known (-1) got 0."""
    known = truth >= 0
    given = np.where(known, shares[np.arange(truth.size), np.where(known, truth, 0)], 0.0)
    return np.asarray(-np.log(given.clip(LEAST_PROBABILITY, 1.0)))


def expected_log_losses(likely: Floats, shares: Floats) -> Floats:
    """The log loss (n,) to expect of rows with probabilities `shares` (n, classes), if the classes are so `likely`."""
    return np.asarray(-(likely * np.log(shares.clip(LEAST_PROBABILITY, 1.0))).sum(axis=1))


def slice_losses(
    before: Floats,
    after: Floats,
    slices_before: Mapping[str, NDArray[np.bool_]],
    slices_after: Mapping[str, NDArray[np.bool_]],
    *,
    seed: int = 0,
) -> list[SliceLoss]:
    """Compare the losses (n,) and (m,) within each slice, given as the rows that are in it; the gravest first.

    A slice with fewer than 30 rows on a side is left out. Its growth is tested by permutation of the rows of both
    sides, and all slices are corrected together (Benjamini and Hochberg 1995). What each carries is its share of the
    rows times the growth of its mean, over the same sum for all rows (a shift of the mix between slices is no growth).
    """
    rng = np.random.default_rng(seed)

    def test(old: Floats, new: Floats) -> float:
        return _mean_grew(old[0], new[0], rng)

    return _compared(before[None, :], after[None, :], slices_before, slices_after, test)


def expected_slice_losses(
    before: Floats,
    after: Floats,
    slices_before: Mapping[str, NDArray[np.bool_]],
    slices_after: Mapping[str, NDArray[np.bool_]],
) -> list[SliceLoss]:
    """As `slice_losses`, of losses that are only expected: (d, n) and (d, m), one row for each way to expect them.

    A slice's growth is held to its standard error: how it differs between the ways, and how the rows do.
    """
    return _compared(before, after, slices_before, slices_after, _expected_grew)


def _compared(
    before: Floats,
    after: Floats,
    slices_before: Mapping[str, NDArray[np.bool_]],
    slices_after: Mapping[str, NDArray[np.bool_]],
    test: Callable[[Floats, Floats], float],
) -> list[SliceLoss]:
    found = []
    for name, chosen in slices_after.items():
        old, new = before[:, slices_before[name]], after[:, chosen]
        if min(old.shape[1], new.shape[1]) >= LEAST_ROWS:
            found.append((name, old, new, test(old, new)))
    q_values = benjamini_hochberg([p for *_, p in found])
    total = float(after.mean() - before.mean()) if before.size and after.size else 0.0
    rows = []
    for (name, old, new, p), q in zip(found, q_values, strict=True):
        sizes, means = (old.shape[1], new.shape[1]), (float(old.mean()), float(new.mean()))
        share = sizes[1] / after.shape[1]
        carries = (means[1] - means[0]) * share / total if total > 0 else math.nan
        rows.append(SliceLoss(name, *sizes, *means, share, carries, p, float(q)))
    return sorted(rows, key=lambda row: (row.after - row.before) * row.share, reverse=True)


def grown(found: list[SliceLoss], *, level: float, by: float) -> list[SliceLoss]:
    """Those in which more is lost, by that share at least and with a q-value below the level; the gravest first."""
    return [one for one in found if one.q_value < level and one.growth >= by]


def culprit(found: list[SliceLoss], *, level: float) -> SliceLoss | None:
    """The slice that stands for a loss over all rows: it carries half of it at least, with a p-value below the level.

    That there is a loss is known before, so the p-values are not corrected: what is asked is where.

    Of several it is the one that carries most beyond its share of the rows; none where the loss is everywhere.
    """
    grave = [one for one in found if one.p_value < level and one.carries >= max(HALF, 1.5 * one.share)]
    return max(grave, key=lambda one: one.carries - one.share, default=None)


def _expected_grew(old: Floats, new: Floats) -> float:
    gaps = new.mean(axis=1) - old.mean(axis=1)
    scatter = old.mean(axis=0).var(ddof=1) / old.shape[1] + new.mean(axis=0).var(ddof=1) / new.shape[1]
    error = math.sqrt(gaps.var(ddof=1) + scatter)
    return 0.5 * math.erfc(float(gaps.mean()) / error / math.sqrt(2)) if error else float(gaps.mean() <= 0)


def _mean_grew(old: Floats, new: Floats, rng: np.random.Generator) -> float:
    pooled = np.concatenate([old, new])
    observed = float(new.sum())
    if pooled.size > EXACT_ROWS:
        spread = float(pooled.std(ddof=1)) * math.sqrt(new.size * old.size / pooled.size)
        expected = float(pooled.mean()) * new.size
        return 0.5 * math.erfc((observed - expected) / spread / math.sqrt(2)) if spread else 1.0
    reached = np.empty(0, dtype=bool)
    while reached.size < DRAWS and reached.sum() < ENOUGH:
        chosen = rng.random((BATCH, pooled.size)).argpartition(new.size - 1, axis=1)[:, : new.size]
        reached = np.append(reached, pooled[chosen].sum(axis=1) >= observed * (1 - 1e-12))
    hits = np.flatnonzero(reached)
    return (hits.size + 1) / (reached.size + 1) if hits.size < ENOUGH else ENOUGH / (int(hits[ENOUGH - 1]) + 1)
