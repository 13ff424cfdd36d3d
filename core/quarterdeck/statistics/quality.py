"""Realised quality: metrics of labelled predictions, with bootstrap intervals and paired comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quarterdeck.statistics.distance import Floats
from quarterdeck.statistics.resampling import WEIGHTED, Weighted, positive_label

Needs = Literal["label", "probability", "score", "number"]

_CELLS = 2_000_000


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's direction and what it takes beside the truth.

    `needs`: *label*, a predicted class; *probability*, of class 1, in [0, 1]; *score*, any ranking of class 1;
    *number*, a predicted value. For probability and score the truth is 0 or 1.
    """

    greater_is_better: bool
    needs: Needs


METRICS: dict[str, Metric] = {
    "accuracy": Metric(True, "label"),
    "f1": Metric(True, "label"),
    "log_loss": Metric(False, "probability"),
    "roc_auc": Metric(True, "score"),
    "average_precision": Metric(True, "score"),
    "mae": Metric(False, "number"),
    "rmse": Metric(False, "number"),
    "r2": Metric(True, "number"),
}


def metric(name: str, truth: ArrayLike, prediction: ArrayLike) -> float:
    """Return scikit-learn's figure of a metric of METRICS; `truth` and `prediction` are (n,).

    F1 is that of class 1 where all labels are 0 or 1, of the later label in sorted order where there are two,
    and the unweighted mean over the classes where there are more. NaN where the metric is undefined: no rows,
    a truth of one class (log_loss, roc_auc, average_precision), of one value (r2). Raises ValueError for an
    unknown name, unequal lengths, NaN or infinities, or a truth or probability out of its range.
    """
    from sklearn import metrics

    actual, given = _checked(name, truth, prediction)
    if _undefined(name, actual):
        return float("nan")
    if name == "f1":
        return _f1(actual, given)
    figures: dict[str, Callable[..., float]] = {
        "accuracy": metrics.accuracy_score,
        "log_loss": metrics.log_loss,
        "roc_auc": metrics.roc_auc_score,
        "average_precision": metrics.average_precision_score,
        "mae": metrics.mean_absolute_error,
        "rmse": metrics.root_mean_squared_error,
        "r2": metrics.r2_score,
    }
    return float(figures[name](actual, given))


def bootstrap_interval(
    name: str,
    truth: ArrayLike,
    score: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return (low, value, high): a metric and its percentile bootstrap interval (Efron and Tibshirani 1993, ch. 13).

    Rows are resampled with replacement; a resample on which the metric is undefined, such as one with a single
    class, is drawn again. All three are NaN where the metric itself is undefined. Raises ValueError as `metric`
    does, and where confidence is not between 0 and 1 or resamples is not positive.
    """
    actual, given = _checked(name, truth, score)
    value = metric(name, actual, given)
    if np.isnan(value):
        return value, value, value
    low, high = _percentiles([WEIGHTED[name](actual, given)], actual.size, confidence, resamples, seed)
    return low, value, high


def paired_difference(
    name: str,
    truth: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    *,
    confidence: float = 0.95,
    resamples: int = 500,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Return (low, difference, high) of metric(a) - metric(b), by a bootstrap of the same rows for both.

    The sign is raw: above zero a is better only where METRICS[name].greater_is_better. All three are NaN where
    the metric is undefined. Raises ValueError as `bootstrap_interval` does.
    """
    actual, a = _checked(name, truth, score_a)
    b = _checked(name, truth, score_b)[1]
    difference = metric(name, actual, a) - metric(name, actual, b)
    if np.isnan(difference):
        return difference, difference, difference
    build = WEIGHTED[name]
    low, high = _percentiles([build(actual, a), build(actual, b)], actual.size, confidence, resamples, seed)
    return low, difference, high


def _percentiles(
    figures: list[Weighted], rows: int, confidence: float, resamples: int, seed: int
) -> tuple[float, float]:
    """Bootstrap the first figure, or the first less the second, and return its central interval."""
    if not 0 < confidence < 1 or resamples < 1:
        raise ValueError("A bootstrap needs a confidence between 0 and 1 and at least one resample.")
    rng = np.random.default_rng(seed)
    kept: list[Floats] = []
    found = 0
    while found < resamples:
        size = max(1, min(resamples - found, _CELLS // rows))
        drawn = rng.integers(0, rows, (size, rows)) + np.arange(size)[:, None] * rows
        weights = np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)
        values = figures[0](weights) - figures[1](weights) if len(figures) == 2 else figures[0](weights)
        defined = values[~np.isnan(values)]
        kept.append(defined)
        found += defined.size
    low, high = np.quantile(np.concatenate(kept), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _f1(actual: NDArray[Any], given: NDArray[Any]) -> float:
    from sklearn.metrics import f1_score

    positive, labels = positive_label(actual, given)
    if positive is None:
        return float(f1_score(actual, given, labels=labels, average="macro", zero_division=0))
    return float(f1_score(actual == positive, given == positive, zero_division=0))


def _undefined(name: str, actual: NDArray[Any]) -> bool:
    if not actual.size:
        return True
    one_value = bool((actual == actual[0]).all())
    return one_value and name in ("log_loss", "roc_auc", "average_precision", "r2")


def _checked(name: str, truth: ArrayLike, prediction: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    if name not in METRICS:
        raise ValueError(f"No metric is called {name!r}; there are {', '.join(METRICS)}.")
    actual, given = np.asarray(truth).ravel(), np.asarray(prediction).ravel()
    if actual.size != given.size:
        raise ValueError(f"There are {actual.size} true values but {given.size} predictions; they must pair up.")
    needs = METRICS[name].needs
    if needs == "label":
        return actual, given
    actual, given = actual.astype(np.float64), given.astype(np.float64)
    if not (np.isfinite(actual).all() and np.isfinite(given).all()):
        raise ValueError(f"{name} needs finite numbers; leave out rows without a truth or a prediction.")
    if needs != "number" and not np.isin(actual, (0.0, 1.0)).all():
        raise ValueError(f"{name} needs a truth of 0 and 1; encode the positive class as 1.")
    if needs == "probability" and not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"{name} needs probabilities between 0 and 1.")
    return actual, given
