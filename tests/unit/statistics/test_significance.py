"""Null distributions: against scipy's, against simulation, and defined at the edges."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quarterdeck.statistics.distance import Pooled, pool
from quarterdeck.statistics.permutation import anderson_darling_permuted, jensen_shannon_permuted
from quarterdeck.statistics.significance import (
    anderson_darling,
    anderson_darling_of_counts,
    anderson_darling_p,
    anderson_darling_sigma,
    benjamini_hochberg,
    moved_p,
    two_shares_p,
)


def fisher(table: list[list[int]], alternative: Literal["two-sided", "greater"] = "two-sided") -> float:
    return float(stats.fisher_exact(np.array(table), alternative=alternative)[1])


def pooled(reference: np.ndarray, current: np.ndarray) -> Pooled:
    return pool(np.sort(reference), np.sort(current))


@given(st.lists(st.integers(0, 9), min_size=3, max_size=40), st.lists(st.integers(0, 9), min_size=3, max_size=40))
def test_the_statistic_and_its_standard_error_are_scipys(reference: list[int], current: list[int]) -> None:
    one, other = np.array(reference, dtype=float), np.array(current, dtype=float)
    if np.unique(np.concatenate((one, other))).size == 1:
        assert anderson_darling(pooled(one, other)) == 0.0
        return
    method = stats.PermutationMethod(n_resamples=1)
    theirs = stats.anderson_ksamp([one, other], variant="midrank", method=method).statistic
    ours = anderson_darling(pooled(one, other))
    # scipy returns the standardised statistic.
    assert (ours - 1) / anderson_darling_sigma(one.size, other.size) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize(
    ("statistic", "p_value"), [(1.248, 0.25), (1.933, 0.10), (2.492, 0.05), (3.070, 0.025), (3.857, 0.01)]
)
def test_large_samples_give_the_published_critical_values(statistic: float, p_value: float) -> None:
    # Anderson and Darling 1954; D'Agostino and Stephens 1986, table 4.2.
    assert anderson_darling_p(statistic, 100_000, 100_000) == pytest.approx(p_value, rel=0.03)


def test_the_tail_of_small_samples_is_that_of_all_splits() -> None:
    splits = np.zeros((math.comb(16, 8), 16))
    for row, chosen in zip(splits, combinations(range(16), 8), strict=True):
        row[list(chosen)] = 1
    statistics = anderson_darling_of_counts(np.ones(16), splits)
    p_values = np.array([anderson_darling_p(value, 8, 8) for value in statistics])
    # Without the finite-sample variance the shares are 0.016 and 0.0065.
    assert np.mean(p_values <= 0.02) == pytest.approx(0.02, rel=0.12)
    assert np.mean(p_values <= 0.01) == pytest.approx(0.01, rel=0.12)


def test_the_tail_falls_without_a_floor() -> None:
    p_values = [anderson_darling_p(value, 2_000, 200) for value in (0.0, 0.3, 1, 5, 10, 50, 400)]
    assert all(later < earlier for earlier, later in pairwise(p_values))
    assert p_values[0] == 1.0
    assert 0 <= p_values[-1] < 1e-100


@pytest.mark.parametrize(("n_reference", "n_current"), [(2_000, 5), (2_000, 200), (15, 15)])
def test_tabulated_p_values_are_uniform_without_ties(n_reference: int, n_current: int) -> None:
    rng = np.random.default_rng(1)
    total = np.ones(n_reference + n_current, dtype=np.int64)
    splits = rng.multivariate_hypergeometric(total, n_current, size=4_000, method="count")
    statistics = anderson_darling_of_counts(total, splits)
    p_values = np.array([anderson_darling_p(value, n_reference, n_current) for value in statistics])
    for level in (0.5, 0.1, 0.01):
        share = float((p_values <= level).mean())
        assert share == pytest.approx(level, abs=4 * np.sqrt(level / 4_000))


def test_fewer_than_four_rows_prove_nothing() -> None:
    assert anderson_darling_p(anderson_darling(pooled(np.zeros(1), np.ones(2))), 1, 2) == 1.0


def test_a_statistic_of_an_empty_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="both samples"):
        anderson_darling(pooled(np.ones(3), np.empty(0)))


def test_permutation_agrees_with_the_table_where_nothing_ties() -> None:
    rng = np.random.default_rng(2)
    # 1,100 distinct values, joined into 200 groups.
    table = pooled(rng.normal(size=800), rng.normal(0.12, size=300))
    expected = anderson_darling_p(anderson_darling(table), 800, 300)
    assert 0.001 < expected < 0.02
    assert anderson_darling_permuted(table, rng) == pytest.approx(expected, rel=0.3)


def test_permutation_p_values_are_uniform_under_heavy_ties() -> None:
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(300):
        values = np.where(rng.random(1_000) < 0.5, 0.0, rng.lognormal(size=1_000))
        p_values.append(anderson_darling_permuted(pooled(values[:850], values[850:]), rng, 199))
    for level in (0.5, 0.1, 0.05):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=3.5 * np.sqrt(level / 300))


def test_the_test_of_a_two_valued_column_is_fishers() -> None:
    # With two values the statistic is a function of one count: its permutation test orders tables as Fisher's.
    reference, current = np.repeat([0.0, 1.0], (180, 20)), np.repeat([0.0, 1.0], (30, 20))
    expected = fisher([[180, 20], [30, 20]])
    found = anderson_darling_permuted(pooled(reference, current), np.random.default_rng(0))
    assert found <= 0.001
    assert expected <= 0.001
    mild = np.repeat([0.0, 1.0], (41, 9))
    expected = fisher([[180, 20], [41, 9]])
    found = anderson_darling_permuted(pooled(reference, mild), np.random.default_rng(0))
    assert found == pytest.approx(expected, rel=0.4)


def test_permuted_jensen_shannon_is_uniform_for_rare_categories() -> None:
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(300):
        rows = rng.zipf(1.5, 600) % 200
        before, after = np.bincount(rows[:500], minlength=200), np.bincount(rows[500:], minlength=200)
        used = before + after > 0
        p_values.append(jensen_shannon_permuted(before[used], after[used], rng, 199))
    for level in (0.5, 0.1, 0.05):
        assert np.mean(np.array(p_values) <= level) == pytest.approx(level, abs=3.5 * np.sqrt(level / 300))


def test_a_moved_category_is_significant_and_the_same_one_is_not() -> None:
    before, rng = np.array([900, 90, 10]), np.random.default_rng(0)
    assert jensen_shannon_permuted(before, np.array([120, 70, 10]), rng) == pytest.approx(1e-4)
    assert jensen_shannon_permuted(before, np.array([180, 18, 2]), rng) > 0.5
    assert jensen_shannon_permuted(np.array([5]), np.array([5]), rng) == 1.0


def test_which_side_is_smaller_does_not_matter_to_a_permutation() -> None:
    small, large = np.array([30, 15, 5]), np.array([900, 250, 50])
    one = jensen_shannon_permuted(large, small, np.random.default_rng(0))
    other = jensen_shannon_permuted(small, large, np.random.default_rng(0))
    assert one == pytest.approx(other, rel=0.3)


def test_thousands_of_categories_are_permuted_with_fewer_draws() -> None:
    rng = np.random.default_rng(5)
    before = np.bincount(rng.integers(0, 8_000, 20_000), minlength=8_000)
    after = np.bincount(rng.integers(0, 4_000, 20_000), minlength=8_000)
    used = before + after > 0
    draws = 4_000_000 // int(used.sum())
    assert 500 <= draws < 600
    assert jensen_shannon_permuted(before[used], after[used], rng) == pytest.approx(1 / (draws + 1))


def test_a_permutation_without_current_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="both samples"):
        jensen_shannon_permuted(np.array([3]), np.array([0]), np.random.default_rng(0))


def test_moved_rows_are_tested_by_fishers_exact_test_upward() -> None:
    expected = fisher([[3, 97], [1, 999]], "greater")
    assert moved_p(1, 1_000, 3, 100) == pytest.approx(expected)
    assert moved_p(0, 1_000, 0, 100) == 1.0
    assert moved_p(0, 0, 0, 100) == 1.0
    assert moved_p(0, 1_000, 100, 100) < 1e-100


def test_missing_shares_are_tested_exactly_when_few_and_by_g_when_many() -> None:
    assert two_shares_p(2, 1_000, 3, 100) == pytest.approx(fisher([[2, 998], [3, 97]]))
    table = [[200, 1_800], [150, 850]]
    expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").pvalue
    assert two_shares_p(200, 2_000, 150, 1_000) == pytest.approx(float(expected))
    assert two_shares_p(200, 2_000, 100, 1_000) == pytest.approx(1.0)


@pytest.mark.parametrize("table", [(0, 0, 5, 10), (0, 10, 0, 0), (0, 10, 0, 10), (10, 10, 5, 5)])
def test_shares_that_cannot_differ_have_p_one(table: tuple[int, int, int, int]) -> None:
    assert two_shares_p(*table) == 1.0


@given(st.lists(st.floats(0, 1), max_size=30))
def test_q_values_are_scipys_in_the_order_given(p_values: list[float]) -> None:
    expected: Any = stats.false_discovery_control(p_values) if p_values else []
    assert benjamini_hochberg(p_values).tolist() == pytest.approx(list(expected))


@pytest.mark.parametrize("bad", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        benjamini_hochberg([0.5, bad])
