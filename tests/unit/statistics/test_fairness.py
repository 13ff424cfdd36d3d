"""How differently groups are treated."""

from __future__ import annotations

import numpy as np
import pytest

from quarterdeck.statistics.fairness import disparity

SELECTED = np.repeat([True, False, True, False], [60, 40, 20, 80])
TRUTH = np.tile([True, False], 100)
GROUPS = {"a": np.arange(200) < 100, "b": np.arange(200) >= 100, "few": np.arange(200) < 10}


def test_demographic_parity_is_the_difference_of_the_shares_that_were_selected() -> None:
    found = disparity("demographic_parity_difference", SELECTED, GROUPS)
    assert found is not None
    assert (found.rate, found.most, found.least) == ("selected", "a", "b")
    assert found.rates == {"a": 0.6, "b": 0.2}  # A group of ten rows is left out.
    assert found.difference == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - 1.96 * np.sqrt(0.6 * 0.4 / 100 + 0.2 * 0.8 / 100))
    assert found.p_value < 1e-6


def test_equal_opportunity_looks_at_the_true_rows_and_equalized_odds_at_the_worse_of_both() -> None:
    selected = SELECTED.copy()
    selected[100:] = TRUTH[100:]
    opportunity = disparity("equal_opportunity_difference", selected, GROUPS, TRUTH)
    odds = disparity("equalized_odds_difference", selected, GROUPS, TRUTH)
    assert opportunity is not None
    assert odds is not None
    assert (opportunity.rate, opportunity.most, round(opportunity.difference, 2)) == ("found", "b", 0.4)
    assert (odds.rate, odds.most, round(odds.difference, 2)) == ("falsely selected", "a", 0.6)


def test_groups_of_one_rate_differ_by_chance_alone() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(200):
        group = rng.integers(0, 6, 1_200)
        found = disparity(
            "demographic_parity_difference", rng.random(1_200) < 0.3, {str(one): group == one for one in range(6)}
        )
        assert found is not None
        alarms += found.p_value < 0.05
    assert alarms <= 18


def test_one_group_has_nothing_to_be_compared_with_and_truth_is_needed() -> None:
    assert disparity("demographic_parity_difference", SELECTED, {"all": np.ones(200, dtype=bool)}) is None
    assert disparity("demographic_parity_difference", SELECTED, {}) is None
    with pytest.raises(ValueError, match="needs the truth"):
        disparity("equal_opportunity_difference", SELECTED, GROUPS)
