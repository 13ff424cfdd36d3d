"""Where predictions got worse, and since when."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from quarterdeck.statistics.change import find_rise
from quarterdeck.statistics.slices import culprit, expected_slice_losses, log_losses, slice_losses

LEVELS = ("app", "web", "pos", "phone")
Floats = NDArray[np.float64]


def parts(levels: NDArray[np.str_]) -> dict[str, NDArray[np.bool_]]:
    return {level: levels == level for level in LEVELS}


def drawn(rng: np.random.Generator, n: int) -> tuple[Floats, NDArray[np.str_]]:
    return rng.exponential(0.1, n), rng.choice(LEVELS, n, p=[0.4, 0.3, 0.2, 0.1])


def test_the_loss_of_a_sure_and_wrong_answer_has_a_bound_and_an_unknown_class_got_nothing() -> None:
    shares = np.array([[1.0, 0.0], [0.25, 0.75], [0.5, 0.5]])
    found = log_losses(np.array([1, 1, -1]), shares)
    assert found == pytest.approx([-math.log(0.001), -math.log(0.75), -math.log(0.001)])


def test_the_slice_that_lost_stands_for_the_loss_over_all() -> None:
    rng = np.random.default_rng(1)
    (before, old), (after, new) = drawn(rng, 1_000), drawn(rng, 1_500)
    after[new == "phone"] *= 6
    found = slice_losses(before, after, parts(old), parts(new))
    named = culprit(found, level=0.05)
    assert named is not None
    assert named.slice == found[0].slice == "phone"
    assert named.carries > 0.8 > 0.15 > named.share
    assert named.growth == 1.0  # Of six times as much: it counts at most as if all was lost.
    assert [one.slice for one in found if one.q_value < 0.05] == ["phone"]


def test_a_loss_that_is_everywhere_names_no_slice() -> None:
    rng = np.random.default_rng(2)
    (before, old), (after, new) = drawn(rng, 1_000), drawn(rng, 1_500)
    found = slice_losses(before, after * 3, parts(old), parts(new))
    assert all(one.q_value < 0.05 for one in found)
    assert culprit(found, level=0.05) is None


def test_a_shift_of_the_mix_alone_is_no_growth_of_any_slice() -> None:
    rng = np.random.default_rng(3)
    (before, old), (after, new) = drawn(rng, 2_000), drawn(rng, 2_000)
    before[old == "phone"] *= 5
    after[new == "phone"] *= 5
    more = np.concatenate([np.flatnonzero(new == "phone")] * 5 + [np.flatnonzero(new != "phone")])
    found = slice_losses(before, after[more], parts(old), parts(new[more]))
    assert after[more].mean() > 1.5 * before.mean()
    assert not [one for one in found if one.q_value < 0.05]


@pytest.mark.parametrize("rows", [400, 9_000], ids=["drawn", "normal"])
def test_false_alarms_over_all_slices_stay_at_the_level(rows: int) -> None:
    simulations = 100
    alarms = 0
    for seed in range(simulations):
        rng = np.random.default_rng(seed)
        (before, old), (after, new) = drawn(rng, 600), drawn(rng, rows)
        found = slice_losses(before, after, parts(old), parts(new), seed=seed)
        alarms += any(one.q_value < 0.05 for one in found)
    # 5% and three standard deviations of so many simulations.
    assert alarms / simulations <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / simulations)


def test_slices_with_few_rows_and_empty_sides_are_left_out() -> None:
    rng = np.random.default_rng(4)
    (before, old), (after, new) = drawn(rng, 600), drawn(rng, 100)
    named = {one.slice for one in slice_losses(before, after, parts(old), parts(new))}
    assert named == {level for level in LEVELS if (new == level).sum() >= 30}
    nothing = np.empty(0)
    assert slice_losses(before, nothing, parts(old), {level: np.zeros(0, dtype=bool) for level in LEVELS}) == []


@pytest.mark.parametrize("factor", [2.0, 4.0])
def test_a_rise_of_errors_is_found_behind_the_row_at_which_it_began(factor: float) -> None:
    rng = np.random.default_rng(5)
    stream = rng.exponential(0.1, 3_000)
    stream[1_000:] *= factor
    found = find_rise(rng.exponential(0.1, 800), stream)
    assert found is not None
    assert 1_000 < found.place < 1_000 + 600 / factor
    assert found.after > 1.5 * found.before


def test_errors_that_are_higher_from_the_first_row_on_are_found_too() -> None:
    rng = np.random.default_rng(6)
    found = find_rise(rng.exponential(0.1, 800), rng.exponential(0.3, 1_000))
    assert found is not None
    assert found.place < 300


def test_a_change_for_the_better_and_no_change_are_none() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        reference = rng.exponential(0.1, 600)
        assert find_rise(reference, rng.exponential(0.1, 2_000)) is None
        assert find_rise(reference, rng.exponential(0.03, 2_000)) is None


@pytest.mark.parametrize("reference", [np.zeros(100), np.empty(0), np.full(100, 0.2)])
def test_references_without_spread_are_defined(reference: Floats) -> None:
    assert find_rise(reference, np.empty(0)) is None
    assert find_rise(reference, reference) is None


def test_expected_losses_that_did_not_grow_are_rarely_found_though_what_expects_them_is_unsure() -> None:
    rng, found = np.random.default_rng(5), 0
    for _ in range(200):
        (before, old), (after, new) = drawn(rng, 1_000), drawn(rng, 1_000)
        levels = rng.normal(1.0, 0.1, (20, 1))  # As a calibration that was learnt from few rows: wrong for both alike.
        rows = expected_slice_losses(levels * before, levels * after, parts(old), parts(new))
        found += any(row.q_value < 0.05 for row in rows)
    assert found <= 200 * 0.1


def test_expected_losses_that_grew_in_one_slice_are_found_there_unless_the_ways_to_expect_them_disagree() -> None:
    rng = np.random.default_rng(6)
    (before, old), (after, new) = drawn(rng, 1_000), drawn(rng, 1_000)
    after[new == "web"] *= 1.6
    ways = np.ones((20, 1))
    first = expected_slice_losses(ways * before, ways * after, parts(old), parts(new))[0]
    assert first.slice == "web"
    assert first.q_value < 0.001
    unsure = np.where(new == "web", rng.normal(1.0, 0.5, (20, 1)), 1.0)
    first = expected_slice_losses(ways * before, unsure * after, parts(old), parts(new))[0]
    assert first.q_value > 0.05
