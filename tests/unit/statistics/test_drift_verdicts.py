"""The judgement of a frame: verdicts, calibration, power, and every odd column defined."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.statistics.drift import Column, ColumnScore, prepare, score_columns
from tests.unit.statistics.frames import categorical, mixed_frame, numeric


def score(reference: Column, current: Column, **options: Any) -> ColumnScore:
    (found,) = score_columns([reference], [current], **options)
    return found


NORMAL = np.random.default_rng(0).normal(size=2_000)


def test_unmoved_monitors_of_twenty_mixed_columns_stay_quiet() -> None:
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        scores = score_columns(mixed_frame(rng, 2_000, 20), mixed_frame(rng, 200, 20))
        alarms += any(found.verdict == "drifted" for found in scores)
    assert alarms <= 16


def test_a_shift_of_three_tenths_sigma_among_twenty_columns_is_found_at_200_rows() -> None:
    found = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        current = mixed_frame(rng, 200, 20)
        current[0] = numeric(rng.normal(0.3, 1, 200), current[0].name)
        scores = score_columns(mixed_frame(rng, 2_000, 20), current)
        found += scores[0].verdict == "drifted"
    assert found >= 36


def test_a_tiny_shift_in_many_rows_is_quiet_though_significant() -> None:
    rng = np.random.default_rng(1)
    found = score(numeric(rng.normal(size=50_000)), numeric(rng.normal(0.05, 1, 50_000)))
    assert found.q_value < 0.001
    assert found.verdict == "quiet"


def test_few_rows_are_inconclusive_unless_drifted() -> None:
    rng = np.random.default_rng(2)
    assert score(numeric(NORMAL), numeric(rng.normal(size=50))).verdict == "inconclusive"
    assert score(numeric(NORMAL), numeric(rng.normal(3, 1, 50))).verdict == "drifted"
    assert score(numeric(rng.normal(size=50)), numeric(NORMAL)).verdict == "inconclusive"
    assert score(numeric(NORMAL), numeric(rng.normal(size=50)), minimum_rows=50).verdict == "quiet"


def test_the_threshold_and_q_decide() -> None:
    current = numeric(np.random.default_rng(3).normal(0.3, 1, 500))
    assert score(numeric(NORMAL), current).verdict == "drifted"
    assert score(numeric(NORMAL), current, threshold=0.6).verdict == "quiet"
    assert score(numeric(NORMAL), current, q=1e-30).verdict == "quiet"


def test_a_zero_inflated_column_is_judged_by_permutation() -> None:
    rng = np.random.default_rng(4)
    reference = np.where(rng.random(2_000) < 0.5, 0.0, rng.lognormal(size=2_000))
    current = np.where(rng.random(500) < 0.3, 0.0, rng.lognormal(size=500))
    found = score(numeric(reference), numeric(current))
    assert found.verdict == "drifted"
    # 9,999 draws, none as far.
    assert found.p_value == pytest.approx(1e-4)


def test_new_categories_drift_and_are_counted_as_unseen() -> None:
    found = score(categorical(["a"] * 800 + ["b"] * 200), categorical(["a"] * 150 + ["c"] * 50 + [None] * 10))
    assert found.measure == "jensen_shannon"
    assert found.verdict == "drifted"
    assert found.unseen == 0.25
    assert found.n_current == 200
    assert found.missing_current == pytest.approx(10 / 210)


def test_a_rise_of_missing_rows_is_a_finding_of_its_own() -> None:
    rng = np.random.default_rng(5)
    values = np.where(rng.random(400) < 0.3, np.nan, rng.normal(size=400))
    found = score(numeric(NORMAL), numeric(values))
    assert found.verdict == "quiet"
    assert found.missing_verdict == "drifted"
    assert found.missing_effect == pytest.approx(np.isnan(values).mean())


def test_infinities_count_as_missing() -> None:
    found = score(numeric(NORMAL), numeric(np.append(NORMAL[:300], [np.inf] * 80 + [-np.inf] * 20)))
    assert found.n_current == 300
    assert found.missing_current == 0.25
    assert found.missing_verdict == "drifted"
    assert found.verdict == "quiet"


def test_an_outlier_of_a_milliard_in_the_reference_hides_no_drift() -> None:
    current = numeric(np.random.default_rng(6).normal(0.6, 1, 500))
    found = score(numeric(np.append(NORMAL[:300], 1e9)), numeric(np.append(current.values, 1e9)))
    assert found.verdict == "drifted"


def test_a_constant_reference_is_judged_by_the_share_that_moved() -> None:
    reference = numeric([0.1] * 1_000)
    still = score(reference, numeric([0.1] * 300))
    assert (still.measure, still.effect, still.p_value, still.verdict) == ("share_moved", 0.0, 1.0, "quiet")
    moved = score(reference, numeric([0.1] * 240 + [0.2] * 60))
    assert moved.effect == pytest.approx(0.2)
    assert moved.verdict == "drifted"


def test_a_column_absent_from_the_current_frame_is_all_missing() -> None:
    columns = [numeric(NORMAL, "amount"), categorical(["a", "b"] * 1_000, "channel")]
    scores = score_columns(columns, [numeric(NORMAL[:300], "amount")])
    assert [found.column for found in scores] == ["amount", "channel"]
    assert scores[1].missing_current == 1.0
    assert scores[1].n_current == 0
    assert scores[1].missing_verdict == "drifted"
    assert scores[1].verdict == "inconclusive"


def test_an_empty_window_is_inconclusive_throughout() -> None:
    columns = [numeric(NORMAL, "amount"), categorical(["a", "b"] * 1_000, "channel")]
    for current in ([], [numeric([], "amount"), categorical([], "channel")]):
        for found in score_columns(columns, current):
            assert (found.verdict, found.missing_verdict) == ("inconclusive", "inconclusive")
            assert (found.effect, found.p_value, found.missing_current) == (0.0, 1.0, 0.0)
    assert score_columns([], []) == []


def test_a_window_without_rows_has_no_missing_effect() -> None:
    found = score(numeric([1.0, np.nan] * 200), numeric([]))
    assert (found.missing_reference, found.missing_effect, found.missing_verdict) == (0.5, 0.0, "inconclusive")


def test_a_reference_without_values_is_inconclusive_but_its_return_is_a_finding() -> None:
    for reference, current in (
        (numeric([np.nan] * 500), numeric(NORMAL)),
        (categorical([None] * 500), categorical(["a"] * 500)),
    ):
        found = score(reference, current)
        assert (found.verdict, found.missing_verdict) == ("inconclusive", "drifted")


ODD = st.sampled_from([0.0, -0.0, 1.0, 1e9, -1e9, 1.7e308, -1.7e308, 5e-324, math.inf, -math.inf, math.nan])
NUMBERS = st.lists(ODD | st.floats(), max_size=30)
NAMES = st.lists(st.none() | st.sampled_from(["a", "b", "", "é"]) | st.text(max_size=3), max_size=30)


@settings(max_examples=60, deadline=None)
@given(NUMBERS, NUMBERS, NAMES, NAMES)
def test_any_column_gives_a_defined_score(
    before: list[float], after: list[float], old: list[str | None], new: list[str | None]
) -> None:
    scores = score_columns(
        [numeric(before, "amount"), categorical(old, "channel")],
        [numeric(after, "amount"), categorical(new, "channel")],
    )
    for found in scores:
        assert math.isfinite(found.effect)
        assert found.effect >= 0
        for share in (
            found.p_value,
            found.q_value,
            found.missing_q,
            found.unseen,
            found.missing_effect,
            found.missing_reference,
            found.missing_current,
        ):
            assert 0 <= share <= 1


def test_a_prepared_reference_gives_the_same_scores() -> None:
    rng = np.random.default_rng(7)
    reference, current = mixed_frame(rng, 500, 7), mixed_frame(rng, 200, 7)
    assert score_columns(prepare(reference), current) == score_columns(reference, current)


def test_a_columns_p_value_depends_on_its_name_not_on_its_place() -> None:
    rng = np.random.default_rng(8)
    reference, current = mixed_frame(rng, 500, 7), mixed_frame(rng, 100, 7)
    forward = {found.column: found for found in score_columns(reference, current)}
    shuffled = [dataclasses.replace(column, values=rng.permutation(column.values)) for column in current]
    backward = {found.column: found for found in score_columns(reference[::-1], shuffled[::-1])}
    assert {name: found.p_value for name, found in forward.items()} == {
        name: found.p_value for name, found in backward.items()
    }


def test_frames_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="'amount' is numeric in the reference but categorical"):
        score(numeric(NORMAL), categorical(["a"], "amount"))
    with pytest.raises(ValueError, match="same name"):
        score_columns([numeric(NORMAL), numeric(NORMAL)], [numeric(NORMAL)])
