"""Quality without labels: what calibrated probabilities say of the predictions of a window, with a band.

Confidence-based performance estimation (CBPE; Bialek et al. 2024, "Estimating Model Performance Under Covariate Shift
Without Labels"): a probability that is calibrated says how often a prediction is right, so the expected metric of a
window follows from its probabilities alone. It holds while the score tells all that the inputs tell of the truth; it is
blind to a change of what inputs mean (concept drift), and to regions that the rows it was calibrated on never saw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import expit

from quarterdeck.statistics.distance import Floats
from quarterdeck.statistics.quality import METRICS
from quarterdeck.statistics.resampling import WEIGHTED

ESTIMATED = ("accuracy", "f1", "log_loss", "roc_auc", "average_precision")
"""The metrics of METRICS that probabilities tell of; all but the first two of two classes only."""
CELLS = 2_000_000
"""Numbers that are held at once for the band."""
PSEUDO_ROWS = 0.5
"""The weight of a row of the other truth at both ends of the scores: no finite sample shows a share of 0 or 1."""
LEAST_SCORE = 1e-9
TRUTHS = 4
"""Drawn for the window from each calibration that was learnt anew: that costs four times as much as they do."""
NEWTON_STEPS, LONGEST_STEP, LAST_STEP = 25, 4.0, 1e-5
RIDGE = 1e-3
"""In rows: what keeps the curve defined where one of its logarithms tells nothing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected metric of a window, and the band in which the one that labels will show should lie."""

    low: float
    value: float
    high: float


class Calibration:
    """How often each class was the truth, by the probability that a model gave it; learnt in two ways.

    Isotonic regression (Zadrozny and Elkan 2002) follows any rising curve, and knows little where it has few rows. Beta
    calibration (Kull, Silva Filho and Flach 2017) is a curve of three numbers, which every row tells of. The mean of
    both is what is expected, and what they disagree on widens the band. Of more than two classes each is calibrated
    against the rest, and divided by their sum.
    """

    def __init__(self, truth: ArrayLike, probabilities: ArrayLike) -> None:
        """Learn it. `truth` (m,) holds the position of each row's class, `probabilities` (m, classes) the model's.

        Raises:
            ValueError: there is no row, or the shapes do not fit.
        """
        positions, given = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
        if given.ndim != 2 or len(positions) != len(given) or not len(given):
            raise ValueError(f"{len(positions)} true classes do not fit probabilities of shape {given.shape}.")
        self.rows, self.classes = given.shape
        # Of two classes the second tells of both.
        told = [1] if self.classes == 2 else range(self.classes)
        self._scores = {number: _Scores(given[:, number], positions == number) for number in told}

    def calibrated(self, probabilities: ArrayLike) -> Floats:
        """The shares of the classes, (n, classes), for a model's probabilities of that shape."""
        places = self._places(probabilities)
        weights = np.ones(self.rows)
        both = [self._shares(places, weights, way) for way in (_isotonic, _beta)]
        return np.asarray(np.mean(both, axis=0))

    def drawn(self, probabilities: ArrayLike, draws: int, rng: np.random.Generator) -> Iterator[Floats]:
        """As `calibrated`, `draws` times: each learnt on a Poisson bootstrap of the rows (Hanley and MacGibbon 2006).

        The two ways take turns.
        """
        places = self._places(probabilities)
        for way in islice(cycle((_isotonic, _beta)), draws):
            yield self._shares(places, np.asarray(rng.poisson(1.0, self.rows), dtype=np.float64), way)

    def _places(self, probabilities: ArrayLike) -> dict[int, Floats]:
        given = np.asarray(probabilities, dtype=np.float64)
        return {number: scores.place(given[:, number]) for number, scores in self._scores.items()}

    def _shares(self, places: dict[int, Floats], weights: Floats, way: _Way) -> Floats:
        found = [self._scores[number].shares(weights, way, place) for number, place in places.items()]
        if self.classes == 2:
            return np.column_stack([1 - found[0], found[0]])
        shares = np.column_stack(found)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def estimate(
    name: str,
    calibration: Calibration,
    probabilities: ArrayLike,
    predicted: ArrayLike,
    *,
    confidence: float = 0.95,
    draws: int = 400,
    seed: int = 0,
) -> Estimate:
    """Estimate a metric of ESTIMATED on rows without labels.

    `probabilities` (n, classes) are the model's own, `predicted` (n,) the positions of the classes that it answered.
    The metric weights each row by the calibrated share of each class that may be its truth. `draws` times a truth is
    drawn for every row, four times from each of the calibrations that are learnt anew on resampled rows. What is learnt
    fits its own rows too well, and once more on each resample, so what the draws differ by is taken off the value (the
    basic bootstrap; Davison and Hinkley 1997, 5.2). The band is the central `confidence` of that, and of the chance of
    the window's own truths, widened by what so few draws would miss. All three are NaN where the metric is undefined.

    Raises:
        ValueError: no such metric, one that needs two classes, or rows that do not fit.
    """
    given, answered = np.asarray(probabilities, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    rows, classes = given.shape
    if name not in ESTIMATED:
        raise ValueError(f"'{name}' cannot be estimated; {', '.join(ESTIMATED)} can.")
    by_label = METRICS[name].needs == "label"
    if not by_label and classes != 2:
        raise ValueError(f"'{name}' is estimated for two classes, not for {classes}.")
    if len(answered) != rows:
        raise ValueError(f"{len(answered)} predictions do not fit {rows} rows of probabilities.")
    if not rows:
        return Estimate(np.nan, np.nan, np.nan)
    # Every row once for each class that may be its truth: how likely that is becomes its weight.
    truth = np.tile(np.arange(classes, dtype=np.float64), rows)
    figure = WEIGHTED[name](truth, np.repeat(answered if by_label else given[:, 1], classes))
    fitted = float(figure(calibration.calibrated(given).reshape(1, -1))[0])
    rng = np.random.default_rng(seed)
    expected, drawn = [], []
    calibrations = -(-draws // TRUTHS)
    learnt = calibration.drawn(given, calibrations, rng)
    for some in _batched(learnt, max(1, CELLS // (2 * TRUTHS * rows * classes))):
        expected.append(np.repeat(figure(np.stack([shares.ravel() for shares in some])), TRUTHS))
        drawn.append(figure(np.stack([_truths(shares, rng) for shares in some for _ in range(TRUTHS)])))
    means, figures = np.concatenate(expected), np.concatenate(drawn)
    known = ~np.isnan(figures)
    if not known.any() or np.isnan(fitted):
        return Estimate(np.nan, np.nan, np.nan)
    value = 2 * fitted - float(means.mean())
    tail = _tail(confidence, calibrations)
    low, high = np.quantile(2 * fitted - means[known] + (figures - means)[known], [tail, 1 - tail])
    least, most = (0.0, math.inf) if name == "log_loss" else (0.0, 1.0)
    return Estimate(*(float(min(max(x, least), most)) for x in (min(low, value), value, max(high, value))))


def _tail(confidence: float, draws: int) -> float:
    """The level of the quantile of so many draws behind which one more lies with a chance of (1 - confidence) / 2.

    Of n draws the k-th smallest has k / (n + 1) of them below it, and stands at the level (k - 1) / (n - 1).
    """
    return max(((1 - confidence) / 2 * (draws + 1) - 1) / max(draws - 1, 1), 0.0)


class _Scores:
    """The rows by their score of one class, sorted once for many weightings."""

    def __init__(self, scores: Floats, hits: NDArray[np.bool_]) -> None:
        self._distinct, self._of_row = np.unique(scores, return_inverse=True)
        self._hits = hits

    def place(self, scores: Floats) -> Floats:
        """Where scores lie among the distinct ones: whole numbers at them, fractions between."""
        return np.interp(scores, self._distinct, np.arange(self._distinct.size))

    def shares(self, weights: Floats, way: _Way, place: Floats) -> Floats:
        """How often it was this class at those places, learnt from rows of these weights."""
        size = self._distinct.size
        total = np.asarray(np.bincount(self._of_row, weights, size), dtype=np.float64)
        hit = np.asarray(np.bincount(self._of_row, weights * self._hits, size), dtype=np.float64)
        known = np.flatnonzero(total)
        if not known.size:
            return np.full(place.size, 0.5)
        # One more row of each kind, at the ends: at the lowest score a hit, at the highest a miss.
        total[known[0]] += PSEUDO_ROWS
        hit[known[0]] += PSEUDO_ROWS
        total[known[-1]] += PSEUDO_ROWS
        return np.interp(place, known, way(self._distinct[known], hit[known], total[known]))


_Way = Callable[[Floats, Floats, Floats], Floats]
"""From k distinct scores in order, and how many of how many rows there were hits, the share of hits at each, (k,)."""


def _isotonic(scores: Floats, hits: Floats, total: Floats) -> Floats:
    return np.asarray(isotonic_regression(hits / total, weights=total).x)


def _beta(scores: Floats, hits: Floats, total: Floats) -> Floats:
    """Logistic regression on both logarithms of the score, by Newton's method; a little held to the score itself."""
    kept = scores.clip(LEAST_SCORE, 1 - LEAST_SCORE)
    terms = np.column_stack([np.ones_like(kept), np.log(kept), -np.log1p(-kept)])
    unchanged = np.array([0.0, 1.0, 1.0])
    factors = unchanged
    for _ in range(NEWTON_STEPS):
        shares = expit(terms @ factors)
        slope = terms.T @ (hits - total * shares) - RIDGE * (factors - unchanged)
        curvature = (terms * (total * shares * (1 - shares))[:, None]).T @ terms + RIDGE * np.eye(3)
        step = np.linalg.solve(curvature, slope).clip(-LONGEST_STEP, LONGEST_STEP)
        factors = factors + step
        if np.abs(step).max() < LAST_STEP:
            break
    return np.asarray(expit(terms @ factors))


def _truths(shares: Floats, rng: np.random.Generator) -> Floats:
    """One class for each row, drawn by its shares, as (n * classes,) weights of 0 and 1."""
    rows, classes = shares.shape
    if classes == 2:
        second = rng.random(rows) < shares[:, 1]
        return np.column_stack([~second, second]).ravel().astype(np.float64)
    drawn = (rng.random((rows, 1)) > np.cumsum(shares, axis=1)).sum(axis=1).clip(max=classes - 1)
    truths = np.zeros((rows, classes))
    truths[np.arange(rows), drawn] = 1.0
    return truths.ravel()


def _batched(values: Iterator[Floats], size: int) -> Iterator[list[Floats]]:
    while some := list(islice(values, size)):
        yield some
