"""Whether probabilities come true as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from quarterdeck.statistics.reliability import reliability


@pytest.mark.parametrize("rows", [50, 300, 3_000])
def test_probabilities_that_are_right_are_called_calibrated_19_times_of_20(rows: int) -> None:
    rng = np.random.default_rng(rows)
    calibrated = 0
    for seed in range(100):
        said = rng.beta(1, 3, rows)
        found = reliability(rng.random(rows) < said, said, draws=200, seed=seed)
        assert found is not None
        calibrated += found.calibrated
    assert calibrated >= 87  # Fewer come once in a thousand times.


def test_a_model_that_is_too_sure_is_not_calibrated_and_the_curve_says_where() -> None:
    rng = np.random.default_rng(1)
    said = rng.beta(0.5, 0.5, 2_000)
    found = reliability(rng.random(2_000) < 0.5 + (said - 0.5) / 2, said)
    assert found is not None
    assert (len(found.bins), sum(one.rows for one in found.bins)) == (10, 2_000)
    assert not found.calibrated
    assert found.error > 3 * found.by_chance
    low, high = found.bins[0], found.bins[-1]
    assert low.came > low.said + 0.15
    assert high.came < high.said - 0.15


def test_the_error_is_the_weighted_mean_distance_of_the_bins() -> None:
    said = np.repeat([0.1, 0.9], 20)
    truth = np.r_[np.zeros(20), np.ones(10), np.zeros(10)]
    found = reliability(truth, said)
    assert found is not None
    assert [(one.rows, one.came) for one in found.bins] == [(20, 0.0), (20, 0.5)]
    assert found.error == pytest.approx((0.1 + 0.4) / 2)


def test_few_and_odd_rows_are_defined() -> None:
    assert reliability([], []) is None
    one = reliability([1], [0.7])
    assert one is not None
    assert one.error == pytest.approx(0.3)
    assert len(one.bins) == 1
    sure = reliability(np.ones(50), np.ones(50))
    assert sure is not None
    assert (sure.error, sure.by_chance, sure.calibrated) == (0.0, 0.0, True)
    with pytest.raises(ValueError, match="as many probabilities"):
        reliability([0, 1], [0.5])
    with pytest.raises(ValueError, match="truths of 0 and 1"):
        reliability([0, 2], [0.5, 0.5])
