"""Distances: exact, Evidently's where shared, and defined at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance as scipy_distance

from quarterdeck.statistics.distance import (
    finite_sorted,
    jensen_shannon,
    moved_counts,
    normed_wasserstein,
    pool,
    robust_sigma,
    share_moved,
    wasserstein,
)

samples = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=1, max_size=60)
category_counts = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20)


@given(samples, samples)
def test_wasserstein_equals_scipys(reference: list[float], current: list[float]) -> None:
    expected = float(stats.wasserstein_distance(reference, current))
    assert wasserstein(reference, current) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(samples, samples)
def test_wasserstein_is_symmetric_and_zero_for_the_same_sample(one: list[float], other: list[float]) -> None:
    assert wasserstein(one, other) == pytest.approx(wasserstein(other, one), rel=1e-9, abs=1e-9)
    assert wasserstein(one, one) == 0.0
    assert wasserstein(one, one + one) == pytest.approx(0.0, abs=1e-6)


@given(samples, st.floats(-100, 100))
def test_wasserstein_of_a_shifted_sample_is_the_shift(values: list[float], shift: float) -> None:
    moved = np.asarray(values) + shift
    assert wasserstein(values, moved) == pytest.approx(abs(shift), abs=1e-6)


@given(samples, samples)
def test_pooled_counts_account_for_every_row(reference: list[float], current: list[float]) -> None:
    pooled = pool(finite_sorted(reference), finite_sorted(current))
    assert np.repeat(pooled.values, pooled.reference).tolist() == sorted(reference)
    assert np.repeat(pooled.values, pooled.current).tolist() == sorted(current)
    assert (np.diff(pooled.values) > 0).all()


def test_only_finite_values_enter_a_distance() -> None:
    assert wasserstein([0.0, np.nan, np.inf], [1.0, -np.inf]) == 1.0


@pytest.mark.parametrize(("reference", "current"), [([], [1.0]), ([1.0], []), ([np.nan], [np.inf])])
def test_a_distance_without_values_is_refused(reference: list[float], current: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one finite value"):
        wasserstein(reference, current)


def test_robust_sigma_of_normal_values_is_nearly_the_standard_deviation() -> None:
    values = np.random.default_rng(0).normal(5, 3, 20_000)
    assert robust_sigma(values) == pytest.approx(3, rel=0.03)


def test_one_enormous_value_does_not_hide_a_shift() -> None:
    values = np.random.default_rng(0).normal(size=2_000)
    with_outlier = np.append(values, 1e9)
    assert robust_sigma(with_outlier) == pytest.approx(robust_sigma(values), rel=0.01)
    effect = normed_wasserstein(pool(np.sort(values), np.sort(values + 0.5)), robust_sigma(with_outlier))
    assert effect == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [7.0], [0.1] * 999, [0.0] * 999 + [5.0]])
def test_robust_sigma_is_exactly_zero_without_spread(values: list[float]) -> None:
    assert robust_sigma(values) == 0.0


def test_the_largest_floats_give_a_finite_effect() -> None:
    reference, current = finite_sorted([-1.7e308, 0.0, 1.7e308]), finite_sorted([1.7e308] * 3)
    assert math.isfinite(normed_wasserstein(pool(reference, current), robust_sigma(reference)))


def test_a_normed_distance_needs_a_positive_sigma() -> None:
    with pytest.raises(ValueError, match="positive sigma"):
        normed_wasserstein(pool(np.ones(3), np.zeros(3)), 0.0)


def test_moved_share_is_the_excess_over_the_reference() -> None:
    reference = finite_sorted([0.0] * 999 + [5.0])
    current = finite_sorted([0.0] * 70 + [1.0] * 30)
    assert moved_counts(reference, current) == (1, 30)
    assert share_moved(1, 1_000, 30, 100) == pytest.approx(0.299)
    assert share_moved(1, 1_000, 0, 100) == 0.0
    assert share_moved(0, 10, 10, 10) == 1.0


def test_moved_shares_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no median"):
        moved_counts(np.empty(0), np.ones(3))
    with pytest.raises(ValueError, match="at least one row"):
        share_moved(0, 10, 0, 0)


@given(category_counts)
def test_jensen_shannon_is_scipys_distance_in_nats(counts: list[tuple[int, int]]) -> None:
    reference, current = np.array(counts).T
    if not reference.sum() or not current.sum():
        with pytest.raises(ValueError, match="at least one row"):
            jensen_shannon(reference, current)
        return
    # Rounding may leave scipy's divergence of equal vectors a hair below zero: then it gives NaN.
    expected = np.nan_to_num(float(scipy_distance.jensenshannon(reference, current)))
    found = jensen_shannon(reference, current)
    assert found == pytest.approx(expected, abs=1e-7)
    assert 0 <= found <= math.sqrt(math.log(2)) + 1e-12


@pytest.mark.parametrize(("reference", "current"), [([1, 2], [1]), ([-1, 2], [1, 2]), ([[1]], [[1]])])
def test_counts_that_do_not_pair_are_refused(reference: list[int], current: list[int]) -> None:
    with pytest.raises(ValueError, match="counts must"):
        jensen_shannon(reference, current)


# Slow: importing evidently takes about 7 s. Its imports warn of their own deprecations.
@pytest.mark.filterwarnings("ignore")
def test_figures_agree_with_evidentlys_own_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    import pandas as pd
    from evidently.legacy.calculations.stattests.jensenshannon import _jensenshannon
    from evidently.legacy.calculations.stattests.wasserstein_distance_norm import _wasserstein_distance_norm
    from evidently.legacy.core import ColumnType

    rng = np.random.default_rng(0)
    before, after = rng.choice(list("abcd"), 500), rng.choice(list("bcde"), 300)
    theirs = _jensenshannon(pd.Series(before), pd.Series(after), ColumnType.Categorical, 0.1)[0]
    names = list("abcde")
    counts = [[int((rows == name).sum()) for name in names] for rows in (before, after)]
    assert jensen_shannon(*counts) == pytest.approx(theirs, abs=1e-9)

    old, new = rng.lognormal(size=500), rng.lognormal(0.2, size=300)
    theirs = _wasserstein_distance_norm(pd.Series(old), pd.Series(new), ColumnType.Numerical, 0.1)[0]
    assert wasserstein(old, new) / float(np.std(old)) == pytest.approx(theirs, rel=1e-9)
