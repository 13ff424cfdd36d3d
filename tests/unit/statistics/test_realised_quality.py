"""Realised quality: scikit-learn's figures, honest intervals, paired comparisons."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics

from quarterdeck.statistics.quality import METRICS, bootstrap_interval, metric, paired_difference
from quarterdeck.statistics.resampling import WEIGHTED

Array = NDArray[Any]


def predictions(name: str, rng: np.random.Generator, rows: int, noise: float = 0.7) -> tuple[Array, Array]:
    """Truth and a prediction of the kind the metric needs, with many ties."""
    truth = (rng.random(rows) < 0.3).astype(np.float64)
    score = np.round(np.clip(truth * (1 - noise) + rng.random(rows) * noise, 0, 1), 2)
    if METRICS[name].needs == "label":
        return truth, (score > 0.4).astype(np.float64)
    if METRICS[name].needs == "number":
        return truth * 10 + rng.normal(size=rows), score * 10
    return truth, score


@pytest.mark.parametrize("name", METRICS)
def test_the_resampled_figure_is_scikit_learns_on_the_repeated_rows(name: str) -> None:
    rng = np.random.default_rng(0)
    for rows in (5, 60, 400):
        truth, given = predictions(name, rng, rows)
        truth[:2] = 0, 1
        if name == "log_loss":
            given[:2] = 1, 0  # certain and wrong: clipped, not infinite
        figure = WEIGHTED[name](truth, given)
        weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=8).astype(np.float64)
        for row, found in zip(weights, figure(weights), strict=True):
            drawn = np.repeat(np.arange(rows), row.astype(int))
            assert found == pytest.approx(metric(name, truth[drawn], given[drawn]), nan_ok=True, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_ranks_with_ties_are_scikit_learns(rows: list[tuple[bool, int]]) -> None:
    truth, score = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], float)
    once = np.ones((1, truth.size))
    for name, theirs in (
        ("roc_auc", metrics.roc_auc_score),
        ("average_precision", metrics.average_precision_score),
    ):
        found = float(WEIGHTED[name](truth, score)(once)[0])
        if 0 < truth.sum() < truth.size:
            assert found == pytest.approx(float(theirs(truth, score)))
        else:
            assert np.isnan(found)


def test_f1_follows_the_labels() -> None:
    truth, given = ["no", "yes", "yes", "no"], ["no", "yes", "no", "no"]
    assert metric("f1", truth, given) == pytest.approx(2 / 3)
    many = metrics.f1_score(["a", "b", "c", "a"], ["a", "b", "b", "c"], average="macro", zero_division=0)
    assert metric("f1", ["a", "b", "c", "a"], ["a", "b", "b", "c"]) == pytest.approx(float(many))
    assert metric("f1", [0, 0, 0], [0, 0, 0]) == 0.0
    assert metric("f1", [True, True, False], [1, 1, 0]) == 1.0


@pytest.mark.parametrize("name", ["f1", "accuracy"])
def test_named_classes_are_resampled(name: str) -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice(["a", "b", "c"], 400)
    given = np.where(rng.random(400) < 0.7, truth, "b")
    low, value, high = bootstrap_interval(name, truth, given)
    assert value == metric(name, truth, given)
    assert low < value < high


@pytest.mark.parametrize("name", METRICS)
def test_an_interval_holds_its_value_and_narrows_with_rows(name: str) -> None:
    rng = np.random.default_rng(2)
    few = bootstrap_interval(name, *predictions(name, rng, 150))
    many = bootstrap_interval(name, *predictions(name, rng, 2_400))
    assert few[0] < few[1] < few[2]
    assert 0.1 < (many[2] - many[0]) / (few[2] - few[0]) < 0.5


def test_intervals_cover_the_true_accuracy() -> None:
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 2, 300)
        low, _, high = bootstrap_interval("accuracy", truth, np.where(rng.random(300) < 0.8, truth, 1 - truth))
        covered += low <= 0.8 <= high
    assert 0.89 <= covered / 200 <= 0.99


def test_both_ends_lie_where_the_normal_approximation_puts_them() -> None:
    truth, given = np.zeros(2_000), np.repeat([0, 1], (1_600, 400))
    low, value, high = bootstrap_interval("accuracy", truth, given, resamples=4_000)
    reach = 1.96 * np.sqrt(0.8 * 0.2 / 2_000)
    assert value - low == pytest.approx(reach, rel=0.08)
    assert high - value == pytest.approx(reach, rel=0.08)


def test_a_wider_confidence_gives_a_wider_interval_and_a_seed_the_same() -> None:
    truth, score = predictions("roc_auc", np.random.default_rng(3), 500)
    narrow = bootstrap_interval("roc_auc", truth, score, confidence=0.5)
    wide = bootstrap_interval("roc_auc", truth, score, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[2] < wide[2]
    assert bootstrap_interval("roc_auc", truth, score, confidence=0.5) == narrow
    assert bootstrap_interval("roc_auc", truth, score, confidence=0.5, seed=1) != narrow


@pytest.mark.parametrize("name", ["log_loss", "roc_auc", "average_precision", "r2"])
def test_a_truth_of_one_class_gives_an_undefined_interval(name: str) -> None:
    for value in (0.0, 1.0):
        truth, given = np.full(50, value), np.linspace(0, 1, 50)
        assert np.isnan(metric(name, truth, given))
        assert np.isnan(bootstrap_interval(name, truth, given)).all()
        assert np.isnan(paired_difference(name, truth, given, given)).all()


@pytest.mark.parametrize("name", METRICS)
def test_no_rows_give_an_undefined_interval(name: str) -> None:
    assert np.isnan(bootstrap_interval(name, [], [])).all()


@pytest.mark.parametrize("name", METRICS)
def test_a_single_positive_row_still_gives_an_interval(name: str) -> None:
    truth = np.zeros(20)
    truth[0] = 1
    given = np.zeros(20) if METRICS[name].needs == "label" else np.linspace(1, 0, 20)
    assert np.isfinite(bootstrap_interval(name, truth, given)).all()


def test_a_better_version_is_told_from_an_equal_one() -> None:
    rng = np.random.default_rng(4)
    truth = (rng.random(1_500) < 0.3).astype(float)
    good = np.clip(truth * 0.5 + rng.random(1_500) * 0.5, 0, 1)
    bad = np.clip(truth * 0.1 + rng.random(1_500) * 0.9, 0, 1)
    low, difference, high = paired_difference("roc_auc", truth, good, bad)
    assert 0 < low < difference < high
    assert difference == metric("roc_auc", truth, good) - metric("roc_auc", truth, bad)
    # The sign is raw: a smaller loss is a difference below zero.
    assert paired_difference("log_loss", truth, good, bad)[2] < 0
    assert paired_difference("roc_auc", truth, good, good) == (0.0, 0.0, 0.0)


def test_pairing_narrows_the_interval_of_two_alike_versions() -> None:
    rng = np.random.default_rng(5)
    truth, score = predictions("roc_auc", rng, 800)
    low, _, high = paired_difference("roc_auc", truth, score, score + rng.normal(0, 0.01, 800))
    alone = bootstrap_interval("roc_auc", truth, score)
    assert high - low < 0.3 * (alone[2] - alone[0])


@pytest.mark.parametrize("name", METRICS)
def test_five_hundred_resamples_of_fifteen_hundred_rows_take_under_a_second(name: str) -> None:
    truth, given = predictions(name, np.random.default_rng(6), 1_500)
    metric(name, truth, given)  # scikit-learn's import is not what is timed
    start = time.process_time()
    bootstrap_interval(name, truth, given)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("name", "truth", "given", "message"),
    [
        ("auc", [0, 1], [0, 1], "No metric is called 'auc'"),
        ("mae", [0, 1], [0], "pair up"),
        ("mae", [0, np.nan], [0, 1], "finite"),
        ("roc_auc", [1, 2], [0.1, 0.2], "0 and 1"),
        ("log_loss", [0, 1], [0.5, 1.5], "probabilities"),
    ],
)
def test_input_that_does_not_fit_is_refused(name: str, truth: Any, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(name, truth, given)
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(name, truth, given)


def test_a_bootstrap_without_resamples_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one resample"):
        bootstrap_interval("mae", [1.0, 2.0], [1.0, 2.0], resamples=0)
