"""The arithmetic of error budgets: against worked examples, and what holds for all numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from docs.generate import DOCS
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.monitoring import wording
from quarterdeck.monitoring.budget import Budget, Burn, Pace, burn, burn_rate, exhausted_after
from quarterdeck.monitoring.objectives import Kind, Objective
from quarterdeck.settings.objectives import STANDARD, BurnRate, ObjectiveSettings
from quarterdeck.traffic.outcomes import Outcomes

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
QUICK = STANDARD[0]


def test_a_budget_of_a_million_requests() -> None:
    budget = Budget(0.999, Outcomes(good=999_400, bad=600))
    assert budget.measured == pytest.approx(0.9994)
    assert budget.allowed == pytest.approx(1_000)
    assert budget.left == pytest.approx(400)
    assert budget.left_share == pytest.approx(0.4)


def test_an_overspent_budget_is_negative_and_one_without_events_unknown() -> None:
    assert Budget(0.99, Outcomes(good=950, bad=50)).left_share == pytest.approx(-4)
    nothing = Budget(0.99, Outcomes())
    assert (nothing.measured, nothing.left_share, nothing.left) == (None, None, 0)


@pytest.mark.parametrize(
    ("rule", "share"), list(zip(STANDARD, (0.02, 0.05, 0.10), strict=True)), ids=lambda value: str(value)
)
def test_the_standard_rates_spend_the_shares_of_a_budget_of_30_days_that_the_workbook_has(
    rule: BurnRate, share: float
) -> None:
    assert rule.rate * (rule.long / (30 * DAY)) == pytest.approx(share)
    # And all of them look back by a twelfth of the long window.
    assert rule.long / rule.short == 12


def test_a_burn_rate_is_the_share_of_errors_over_the_share_that_is_allowed() -> None:
    assert burn_rate(0.999, Outcomes(good=9_856, bad=144)) == pytest.approx(14.4)
    assert burn_rate(0.999, Outcomes(bad=10)) == pytest.approx(1_000)
    assert burn_rate(0.999, Outcomes(good=10)) == 0
    assert burn_rate(0.999, Outcomes()) is None


def test_what_is_left_lasts_the_period_at_the_pace_of_one_and_a_fraction_of_it_at_a_faster_one() -> None:
    whole = Budget(0.999, Outcomes(good=1000))
    assert exhausted_after(whole, 1, 30 * DAY) == 30 * DAY
    assert exhausted_after(whole, 14.4, 30 * DAY) == timedelta(hours=50)
    assert exhausted_after(Budget(0.999, Outcomes(good=999_400, bad=600)), 1_000, 30 * DAY) == timedelta(minutes=17.28)
    assert exhausted_after(Budget(0.99, Outcomes(bad=1)), 5, 30 * DAY) == timedelta(0)
    assert exhausted_after(whole, 0, 30 * DAY) is None
    assert exhausted_after(whole, None, 30 * DAY) is None


def over(short: Outcomes, long: Outcomes) -> Callable[[timedelta], Outcomes]:
    return lambda length: short if length == QUICK.short else long


ERRORS, NONE, NOTHING = Outcomes(good=50, bad=50), Outcomes(good=100), Outcomes()


@pytest.mark.parametrize(
    ("short", "long", "pace"),
    [
        (ERRORS, ERRORS, Pace.BURNING),
        (NONE, ERRORS, Pace.CLEAN),
        (ERRORS, NONE, Pace.CLEAN),
        (NOTHING, ERRORS, Pace.UNKNOWN),
        (NOTHING, NONE, Pace.CLEAN),
        (NOTHING, NOTHING, Pace.UNKNOWN),
    ],
)
def test_it_burns_only_in_both_windows_and_no_data_is_never_clean(short: Outcomes, long: Outcomes, pace: Pace) -> None:
    for whole in (False, True):
        assert burn(QUICK, 0.999, over(short, long), whole=whole).pace is pace


def test_the_long_window_is_not_read_where_the_short_one_says_enough() -> None:
    read = []

    def looked(length: timedelta) -> Outcomes:
        read.append(length)
        return NONE

    burn(QUICK, 0.999, looked)
    assert read == [QUICK.short]
    burn(QUICK, 0.999, looked, whole=True)
    assert read == [QUICK.short, QUICK.short, QUICK.long]


def test_a_rate_that_is_met_exactly_burns() -> None:
    exactly = Outcomes(good=9_856, bad=144)
    assert burn(QUICK, 0.999, over(exactly, exactly)).pace is Pace.BURNING
    one_less = Outcomes(good=9_857, bad=143)
    assert burn(QUICK, 0.999, over(exactly, one_less)).pace is Pace.CLEAN


def test_a_few_errors_burn_and_open_nothing() -> None:
    few = burn(QUICK, 0.999, over(Outcomes(good=4, bad=1), Outcomes(good=4, bad=1)))
    assert few.pace is Pace.BURNING
    assert few.long == pytest.approx(200)
    assert not few.opens(10)
    assert few.opens(1)


@given(good=st.integers(0, 10**9), bad=st.integers(0, 10**9), target=st.floats(0.5, 0.99999))
def test_a_budget_is_kept_exactly_when_the_objective_is(good: int, bad: int, target: float) -> None:
    budget = Budget(target, Outcomes(good, bad))
    rate = burn_rate(target, Outcomes(good, bad))
    if budget.measured is None or budget.left_share is None:
        assert rate is None
        return
    assert rate is not None
    # Over the whole period the burn rate is what of the budget is spent.
    assert budget.left_share == pytest.approx(1 - rate, abs=1e-6 * max(1, rate))
    if abs(budget.measured - target) > 1e-9:
        assert (budget.left > 0) == (budget.measured > target)


@given(good=st.integers(0, 10**7), bad=st.integers(0, 10**7), target=st.sampled_from([0.9, 0.95, 0.99, 0.999, 0.9995]))
def test_what_misses_its_target_never_looks_as_if_it_held(good: int, bad: int, target: float) -> None:
    budget = Budget(target, Outcomes(good, bad))
    if budget.measured is not None and budget.measured < target - 1e-9:
        assert float(wording.measured(budget).rstrip("%")) < 100 * target


def test_words_of_budgets() -> None:
    assert [wording.target(share) for share in (0.999, 0.95, 0.9995)] == ["99.9%", "95%", "99.95%"]
    assert wording.measured(Budget(0.999, Outcomes(9_990, 11))) == "99.89%"
    assert wording.measured(Budget(0.95, Outcomes(10, 0))) == "100.0%"
    assert wording.remaining(Budget(0.99, Outcomes(950, 50)), "requests") == "overspent by 40 requests"
    assert wording.remaining(Budget(0.95, Outcomes(29, 1)), "windows") == "33%, 0.5 windows"
    assert wording.left(Budget(0.99, Outcomes(950, 50))) == "the budget is spent 5 times over"
    lengths = [timedelta(seconds=20), timedelta(minutes=26), timedelta(hours=15), timedelta(days=3.1)]
    assert [wording.roughly(length) for length in lengths] == ["1m", "26m", "15h", "3d"]
    assert [wording.times(rate) for rate in (None, 0, 0.314, 14.4, 1000)] == ["no data", "0x", "0.31x", "14x", "1,000x"]


def test_a_burn_that_was_read_in_part_opens_nothing() -> None:
    assert not Burn(QUICK, short=0.0, long=None, errors=0).opens(1)


def test_the_line_of_an_alert_is_that_of_the_example_in_the_docs() -> None:
    objective = Objective("d", Kind.AVAILABILITY, 0.999, ObjectiveSettings(availability=0.999))
    hour, five_minutes = Outcomes(9_723, 277), Outcomes(556, 277)
    found = burn(QUICK, 0.999, over(five_minutes, hour))
    assert found.opens(objective.minimum_errors)
    budget = Budget(0.999, Outcomes(999_400, 600))
    told = wording.summary(objective, budget, found, hour, datetime(2026, 1, 5, 12, 4))
    assert told == (
        "availability burns its budget at 28x over 1h and 333x over 5m, since 2026-01-05 12:04 UTC: "
        "97.23% of requests over 1h, 99.9% wanted; 40% of the budget is left, spent in 52m at this pace"
    )
    page = (DOCS / "slo.md").read_text(encoding="utf-8")
    assert told in " ".join(page.split())
