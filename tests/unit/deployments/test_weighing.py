"""The rule of a backtest: which of keeping, rolling back and retraining the comparisons speak for."""

from __future__ import annotations

import numpy as np
import pytest

from quarterdeck.deployments.weighing import KEEP, RETRAIN, ROLL_BACK, Comparison, compare, weigh

BETTER, NO_GAIN, UNCLEAR = (0.05, 0.08, 0.11), (-0.01, 0.0, 0.01), (-0.04, 0.03, 0.10)


def one(of: str, against: str, figures: tuple[float, float, float], worth: float = 0.02, rows: int = 400) -> Comparison:
    return Comparison(of, against, "f1", *figures, worth, rows)


@pytest.mark.parametrize(
    ("figures", "side"),
    [
        (BETTER, "better"),
        (NO_GAIN, "no gain"),
        (UNCLEAR, "unclear"),
        ((-0.11, -0.08, -0.05), "no gain"),
        # Clearly above zero, and clearly too little to be worth it; clearly above zero, and perhaps worth it.
        ((0.002, 0.005, 0.008), "no gain"),
        ((0.001, 0.015, 0.029), "unclear"),
        ((0.0, 0.0, 0.0), "no gain"),
    ],
)
def test_a_gain_counts_when_it_is_certain_and_worth_it(figures: tuple[float, float, float], side: str) -> None:
    assert one(RETRAIN, KEEP, figures).side == side


@pytest.mark.parametrize(
    ("retrain", "back", "against_back", "verdict"),
    [
        (BETTER, NO_GAIN, BETTER, "retrain"),
        (BETTER, BETTER, BETTER, "retrain"),
        (BETTER, BETTER, UNCLEAR, "roll back"),
        (BETTER, BETTER, NO_GAIN, "roll back"),
        (UNCLEAR, BETTER, UNCLEAR, "roll back"),
        (NO_GAIN, BETTER, NO_GAIN, "roll back"),
        (NO_GAIN, NO_GAIN, NO_GAIN, "keep"),
        (NO_GAIN, NO_GAIN, BETTER, "keep"),
        # It beats keeping, and whether it beats going back nobody knows.
        (BETTER, UNCLEAR, UNCLEAR, "not enough evidence"),
        (UNCLEAR, NO_GAIN, BETTER, "not enough evidence"),
        (NO_GAIN, UNCLEAR, NO_GAIN, "not enough evidence"),
    ],
)
def test_retraining_has_to_beat_both(
    retrain: tuple[float, float, float],
    back: tuple[float, float, float],
    against_back: tuple[float, float, float],
    verdict: str,
) -> None:
    compared = [one(RETRAIN, KEEP, retrain), one(ROLL_BACK, KEEP, back), one(RETRAIN, ROLL_BACK, against_back)]
    assert weigh(compared, {}).verdict == verdict


@pytest.mark.parametrize(
    ("retrain", "verdict"), [(BETTER, "retrain"), (NO_GAIN, "keep"), (UNCLEAR, "not enough evidence")]
)
def test_where_there_is_nothing_to_go_back_to_keeping_is_all_there_is_to_beat(
    retrain: tuple[float, float, float], verdict: str
) -> None:
    assert weigh([one(RETRAIN, KEEP, retrain)], {}).verdict == verdict


def test_what_could_not_be_tried_is_never_held_for_beaten() -> None:
    without_back = weigh([one(RETRAIN, KEEP, BETTER)], {ROLL_BACK: "its environment is gone"})
    assert without_back.verdict == "not enough evidence"
    assert without_back.missing == ("rolling back could not be tried: its environment is gone",)
    without_retrain = weigh([one(ROLL_BACK, KEEP, NO_GAIN)], {RETRAIN: "it is stored as onnx"})
    assert without_retrain.verdict == "not enough evidence"
    assert weigh([one(ROLL_BACK, KEEP, BETTER)], {RETRAIN: "it is stored as onnx"}).verdict == "roll back"
    assert weigh([], {RETRAIN: "a", ROLL_BACK: "b"}).because == "nothing could be compared"


def test_it_is_said_how_many_rows_would_settle_it() -> None:
    unclear = one(RETRAIN, KEEP, UNCLEAR)
    # Half of the interval is 0.07 and the gain 0.03: (7/3)^2 times as many rows, and twice that to be sure.
    assert unclear.rows_needed == int(np.ceil(2 * 400 * (0.07 / 0.03) ** 2))
    assert weigh([unclear], {}).missing == ("about 4,356 labelled rows to tell retraining from keeping; there are 400",)
    assert one(RETRAIN, KEEP, (-0.1, 0.0, 0.1), worth=0.0).rows_needed is None


def test_errors_that_shrink_are_a_gain() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=500)
    scores = {KEEP: truth + rng.normal(size=500), RETRAIN: truth + 0.1 * rng.normal(size=500)}
    found = compare(RETRAIN, KEEP, "rmse", truth, scores, 0.02)
    assert found is not None
    assert 0.7 < found.low < found.gain < found.high < 1.1
    assert found.worth == pytest.approx(0.02, rel=0.1)
    assert compare(RETRAIN, KEEP, "r2", np.ones(500), scores, 0.02) is None
