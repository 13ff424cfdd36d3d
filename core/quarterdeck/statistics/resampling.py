"""Metrics as functions of row weights, so that hundreds of bootstrap resamples are one matrix operation.

A resample that draws row i w_i times is the weighted sample with weights w. Each builder takes truth and
prediction, (n,), and returns a function from weights (r, n), whole numbers, to r figures, NaN where undefined.
All are verified against scikit-learn on the repeated rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlog1py, xlogy

from quarterdeck.statistics.distance import Floats

Array = NDArray[Any]
Weighted = Callable[[Floats], Floats]


def positive_label(truth: Array, prediction: Array) -> tuple[Any, list[Any]]:
    """Return the class whose F1 counts (None: the mean over all), and all labels in sorted order.

    It is 1 where all labels are 0 or 1, else the later of two.
    """
    labels = sorted({*truth.tolist(), *prediction.tolist()})
    if set(labels) <= {0, 1}:
        return 1, labels
    return (labels[1] if len(labels) == 2 else None), labels


def _mean(rows: Floats) -> Weighted:
    return lambda weights: np.asarray(weights @ rows / weights.sum(axis=1))


def _accuracy(truth: Array, prediction: Array) -> Weighted:
    return _mean((truth == prediction).astype(np.float64))


def _mae(truth: Array, prediction: Array) -> Weighted:
    return _mean(np.abs(truth - prediction))


def _rmse(truth: Array, prediction: Array) -> Weighted:
    mean = _mean((truth - prediction) ** 2)
    return lambda weights: np.sqrt(mean(weights))


def _log_loss(truth: Array, prediction: Array) -> Weighted:
    epsilon = np.finfo(np.float64).eps  # as scikit-learn clips
    p = np.clip(prediction, epsilon, 1 - epsilon)
    mean = _mean(np.asarray(-xlogy(truth, p) - xlog1py(1 - truth, -p)))

    def figure(weights: Floats) -> Floats:
        positive = weights @ truth
        one_class = (positive == 0) | (positive == weights.sum(axis=1))
        return np.where(one_class, np.nan, mean(weights))

    return figure


def _r2(truth: Array, prediction: Array) -> Weighted:
    # Centred, or the sum of squares of a large mean would drown the variance.
    centred = truth - truth.mean()
    errors = (truth - prediction) ** 2

    def figure(weights: Floats) -> Floats:
        rows = weights.sum(axis=1)
        spread = weights @ centred**2 - (weights @ centred) ** 2 / rows
        # A resample that repeats one value leaves rounding, not zero.
        known = spread > 1e-12 * (weights @ centred**2)
        return np.where(known, 1 - weights @ errors / np.where(known, spread, 1), np.nan)

    return figure


def _f1(truth: Array, prediction: Array) -> Weighted:
    positive, labels = positive_label(truth, prediction)
    # A class absent from a resample still counts, with 0, in the mean: the classes are those of all rows.
    counted = labels if positive is None else [positive]
    hits = np.array([(truth == label) & (prediction == label) for label in counted], dtype=np.float64)
    either = np.array([(truth == label) * 1.0 + (prediction == label) for label in counted])

    def figure(weights: Floats) -> Floats:
        both, called = 2 * weights @ hits.T, weights @ either.T
        return np.asarray(np.where(called > 0, both / np.where(called > 0, called, 1), 0.0).mean(axis=1))

    return figure


def _by_score(truth: Array, score: Array) -> Callable[[Floats], tuple[Floats, Floats]]:
    """Return a function from weights (r, n) to positive and negative weight at each distinct score, descending."""
    order = np.argsort(-score, kind="stable")
    descending = score[order]
    starts = np.flatnonzero(np.append(True, descending[1:] != descending[:-1]))
    positive = truth[order] == 1

    def groups(weights: Floats) -> tuple[Floats, Floats]:
        sorted_weights = weights[:, order]
        hits = np.add.reduceat(sorted_weights * positive, starts, axis=1)
        return hits, np.add.reduceat(sorted_weights, starts, axis=1) - hits

    return groups


def _roc_auc(truth: Array, score: Array) -> Weighted:
    groups = _by_score(truth, score)

    def figure(weights: Floats) -> Floats:
        # The share of pairs in which the positive ranks higher, ties counting half (Hanley and McNeil 1982).
        positive, negative = groups(weights)
        above = np.cumsum(positive, axis=1) - positive / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        won = (above * negative).sum(axis=1)
        return np.where(pairs > 0, won / np.where(pairs > 0, pairs, 1), np.nan)

    return figure


def _average_precision(truth: Array, score: Array) -> Weighted:
    groups = _by_score(truth, score)

    def figure(weights: Floats) -> Floats:
        # The sum of precision times the step in recall over the distinct scores, as scikit-learn defines it.
        positive, negative = groups(weights)
        found = np.cumsum(positive, axis=1)
        called = found + np.cumsum(negative, axis=1)
        total, missed = found[:, -1], called[:, -1] - found[:, -1]
        precision = found / np.where(called > 0, called, 1)
        mixed = (total > 0) & (missed > 0)
        return np.where(mixed, (precision * positive).sum(axis=1) / np.where(mixed, total, 1), np.nan)

    return figure


WEIGHTED: dict[str, Callable[[Array, Array], Weighted]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "log_loss": _log_loss,
    "roc_auc": _roc_auc,
    "average_precision": _average_precision,
    "mae": _mae,
    "rmse": _rmse,
    "r2": _r2,
}
