"""Quality without labels: right on average, and its band as wide as it says, while the score tells all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quarterdeck.statistics.estimation import Calibration, Estimate, _tail, estimate
from quarterdeck.statistics.loss import LossModel
from quarterdeck.statistics.quality import METRICS, bootstrap_interval, metric

Floats = NDArray[np.float64]
REPEATS = 60
LEAST_INSIDE = 51
"""Of 60 with a chance of 95% each: fewer come once in 1,500 times, if the band is what it says."""


def sigmoid(values: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-values)))


def over(scores: Floats) -> Floats:
    """The truth behind a model that is too sure of itself."""
    return sigmoid(0.5 * np.log(scores / (1 - scores)) - 0.2)


def drawn(
    rng: np.random.Generator, rows: int, centre: float, truth: Callable[[Floats], Floats] = over
) -> tuple[Floats, NDArray[np.int64]]:
    """Probabilities of both classes that a model gave, and what was true."""
    second = sigmoid(rng.normal(centre, 1.3, rows))
    return np.column_stack([1 - second, second]), (rng.random(rows) < truth(second)).astype(np.int64)


def compared(name: str, seed: int, **shift: Any) -> tuple[Estimate, float, float]:
    """The estimate of a window that moved, what its labels show, and how wide the interval of that is."""
    rng = np.random.default_rng(seed)
    given, known = drawn(rng, 2_000, -1.0)
    window, truth = drawn(rng, 600, **{"centre": 0.2, **shift})
    labels = (window[:, 1] > 0.5).astype(np.int64)
    found = estimate(name, Calibration(known, given), window, labels, seed=seed)
    low, realised, high = bootstrap_interval(
        name, truth, labels if METRICS[name].needs == "label" else window[:, 1], resamples=100
    )
    return found, realised, high - low


@pytest.mark.parametrize("name", ["roc_auc", "f1", "accuracy", "log_loss", "average_precision"])
def test_what_labels_show_lies_in_the_band_as_often_as_it_says(name: str) -> None:
    found = [compared(name, seed) for seed in range(REPEATS)]
    inside = sum(one.low <= realised <= one.high for one, realised, _ in found)
    assert inside >= LEAST_INSIDE
    error = np.mean([realised - one.value for one, realised, _ in found])
    assert abs(error) < np.mean([one.high - one.low for one, _, _ in found]) / 8
    # A band that held everything would be worth nothing: labels themselves leave half of that open.
    assert np.mean([one.high - one.low for one, _, _ in found]) < 2 * np.mean([width for _, _, width in found])


def test_a_change_of_what_the_inputs_mean_is_not_seen() -> None:
    quiet = [compared("roc_auc", seed, centre=-1.0) for seed in range(5)]
    changed = [compared("roc_auc", seed, centre=-1.0, truth=lambda s: sigmoid(-np.log(s))) for seed in range(5)]
    for (before, _, _), (after, realised, _) in zip(quiet, changed, strict=True):
        assert after.value == pytest.approx(before.value, abs=1e-12)
        assert realised < after.low


def test_several_classes_are_calibrated_each_and_shares_sum_to_one() -> None:
    rng = np.random.default_rng(3)

    def several(rows: int, tilt: float) -> tuple[Floats, NDArray[np.int64]]:
        logits = rng.normal(0, 1.5, (rows, 3)) + np.array([0, tilt, 0])
        given = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        flat = np.exp(0.6 * logits) / np.exp(0.6 * logits).sum(axis=1, keepdims=True)
        return given, (rng.random((rows, 1)) > np.cumsum(flat, axis=1)).sum(axis=1)

    given, truth = several(4_000, 0.0)
    calibration = Calibration(truth, given)
    assert calibration.calibrated(given).sum(axis=1) == pytest.approx(np.ones(4_000))
    for name in ("accuracy", "f1"):
        inside = 0
        for _ in range(20):
            window, known = several(500, 1.0)
            labels = window.argmax(axis=1)
            found = estimate(name, calibration, window, labels, draws=200)
            inside += found.low <= metric(name, known, labels) <= found.high
        assert inside >= 16
    with pytest.raises(ValueError, match="two classes"):
        estimate("roc_auc", calibration, given, truth)


@pytest.mark.parametrize("name", ["roc_auc", "accuracy", "f1", "log_loss"])
def test_the_smallest_and_oddest_windows_have_a_defined_estimate(name: str) -> None:
    rng = np.random.default_rng(0)
    for truth in (rng.integers(0, 2, 50), np.zeros(50), np.ones(1)):
        given = np.column_stack([1 - (p := rng.random(truth.size)), p])
        calibration = Calibration(truth, given)
        for window in ([[0.2, 0.8]], [[1.0, 0.0]] * 3, [[0.5, 0.5]] * 40):
            found = estimate(name, calibration, window, [1.0] * len(window), draws=50)
            assert np.isnan(found.value) or found.low <= found.value <= found.high
        nothing = estimate(name, calibration, np.empty((0, 2)), [], draws=5)
        assert np.isnan([nothing.low, nothing.value, nothing.high]).all()


def test_what_cannot_be_estimated_says_so() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Calibration([0, 1], [[0.5, 0.5]])
    calibration = Calibration([0, 1], [[0.5, 0.5], [0.4, 0.6]])
    with pytest.raises(ValueError, match="'rmse' cannot be estimated"):
        estimate("rmse", calibration, [[0.5, 0.5]], [1])
    with pytest.raises(ValueError, match="2 predictions do not fit 1 rows"):
        estimate("f1", calibration, [[0.5, 0.5]], [1, 1])


def regression(rng: np.random.Generator, rows: int, centre: float) -> tuple[list[NDArray[Any]], Floats, Floats]:
    """Columns, truth and answers of a model whose errors grow with `x`, and are worse in `shop`."""
    x = np.abs(rng.normal(centre, 1.0, rows))
    place = rng.choice(["app", "web", "shop"], rows).astype(object)
    answers = 3 * x
    scale = (0.2 + x) * np.where(place == "shop", 2.0, 1.0)
    return [x, place], answers + scale * rng.standard_t(6, rows), answers


@pytest.mark.parametrize("name", ["mae", "rmse"])
def test_the_loss_of_a_regression_is_estimated_where_its_inputs_moved(name: str) -> None:
    rng = np.random.default_rng(11)
    columns, truth, answers = regression(rng, 4_000, 1.0)
    before = metric(name, truth, answers)
    model = LossModel(name, columns, truth, answers)
    inside, errors = 0, []
    for seed in range(REPEATS):
        window, known, given = regression(rng, 500, 1.8)
        found = model.estimate(window, given, draws=200, seed=seed)
        realised = metric(name, known, given)
        inside += found.low <= realised <= found.high
        errors.append(found.value - realised)
        assert found.value > 1.2 * before
    assert inside >= LEAST_INSIDE - 3  # Bands hold what the five models do not agree on, which is not all of it.
    assert abs(np.mean(errors)) < 0.05 * before


def test_losses_of_few_rows_and_of_unknown_levels_are_defined() -> None:
    rng = np.random.default_rng(2)
    columns, truth, answers = regression(rng, 40, 1.0)
    found = LossModel("mae", columns, truth, answers).estimate(columns, answers)
    assert found.low <= metric("mae", truth, answers) <= found.high
    columns, truth, answers = regression(rng, 300, 1.0)
    odd: list[NDArray[Any]] = [np.array([np.nan, np.inf, 1e9]), np.array([None, "never seen", "app"], dtype=object)]
    found = LossModel("rmse", columns, truth, answers).estimate(odd, np.array([1.0, 2.0, 3.0]))
    assert 0 < found.low <= found.value <= found.high
    exact = LossModel("mae", columns, answers, answers).estimate(columns, answers)
    assert exact.value == pytest.approx(0, abs=1e-9)
    assert np.isnan(LossModel("mae", columns, truth, answers).estimate([c[:0] for c in columns], answers[:0]).value)


def test_a_new_draw_lies_beyond_the_tails_as_often_as_stated_however_few_draws_there_are() -> None:
    rng = np.random.default_rng(9)
    for draws in (50, 100, 1_000):
        tail = _tail(0.95, draws)
        drawn = np.quantile(rng.random((5_000, draws)), [tail, 1 - tail], axis=1)
        assert float((1 - (drawn[1] - drawn[0])).mean()) == pytest.approx(0.05, abs=0.002)
