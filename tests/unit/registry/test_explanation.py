"""What moved one answer: against formulas that can be written down, for every kind of model and of input."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quarterdeck.errors import DataError, QuarterdeckError, UsageError
from quarterdeck.registry.answers import Predictions, Predictor
from quarterdeck.registry.explanation import Explanation, Method, Outcome, explain, outcome_of
from quarterdeck.registry.predictor import EstimatorPredictor
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import Task
from tests.registry_models import FEATURES, classifier, table

NUMBERS = Signature(tuple(Feature(name, "number", nullable=True) for name in ("a", "b", "c")), target="y", classes=None)
WEIGHTS = np.array([2.0, -3.0, 0.0])
NUMBER = Outcome("predicted number")


class Linear(Predictor):
    """2a - 3b + 0c, and 7 a b beside it where that is wanted."""

    runtime = "here"

    def __init__(self, product: float = 0.0) -> None:
        self.product = product

    def predict(self, frame: pd.DataFrame) -> Predictions:
        values = frame.to_numpy(dtype=float)
        return Predictions(values @ WEIGHTS + self.product * values[:, 0] * values[:, 1], None)

    def predict_columns(self, columns: Any) -> Predictions:
        raise NotImplementedError


def reference(rows: int = 400, seed: int = 1) -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(seed).normal(1, 2, (rows, 3)), columns=["a", "b", "c"])


def by_name(found: Explanation) -> dict[str, float]:
    return {told.feature: told.influence for told in found.influences}


def test_of_a_linear_model_it_is_the_weight_times_the_distance_from_the_mean() -> None:
    rows = reference(80)
    found = explain(Linear(), NUMBERS, NUMBER, [4.0, 1.0, 9.0], rows)
    expected = WEIGHTS * (np.array([4.0, 1.0, 9.0]) - rows.mean().to_numpy())
    assert by_name(found) == pytest.approx(dict(zip("abc", expected, strict=True)))
    assert found.answer == pytest.approx(5.0)
    assert found.average == pytest.approx(float((rows.to_numpy() @ WEIGHTS).mean()))
    assert [told.feature for told in found.influences] == sorted(
        "abc", key=lambda name: -abs(expected["abc".index(name)])
    )
    assert {told.error for told in found.influences} == {0.0}


def test_only_one_input_is_moved_at_a_time_and_the_others_stay_as_they_are() -> None:
    rows = reference(80)
    found = by_name(explain(Linear(product=7.0), NUMBERS, NUMBER, [4.0, 2.0, 0.0], rows))
    assert found["a"] == pytest.approx((2 + 7 * 2) * (4 - rows["a"].mean()))
    assert found["b"] == pytest.approx((-3 + 7 * 4) * (2 - rows["b"].mean()))


def test_a_hundred_rows_are_drawn_the_same_every_time_and_the_error_says_how_far_the_draw_may_be_off() -> None:
    rows = reference(5000)
    first, again = (explain(Linear(), NUMBERS, NUMBER, [4.0, 1.0, 9.0], rows) for _ in range(2))
    assert first == again
    assert first.rows == 100
    told = {one.feature: one for one in first.influences}
    assert told["a"].error == pytest.approx(2 * 2 / np.sqrt(100) * np.sqrt(1 - 100 / 5000), rel=0.25)
    whole = 2 * (4.0 - rows["a"].mean())
    assert abs(told["a"].influence - whole) < 4 * (told["a"].error or 0)
    assert told["c"].error == 0


def test_of_a_classifier_it_is_the_probability_of_the_class_that_was_predicted() -> None:
    frame = table(600)
    predictor = trained(frame)
    outcome = outcome_of(predictor.signature, Task.CLASSIFICATION, "no", [0.9, 0.1])
    assert outcome == Outcome("probability of no", position=0)
    row = [60.0, None, 3, "web", True]
    found = explain(predictor, predictor.signature, outcome, row, frame[FEATURES])
    other = outcome_of(predictor.signature, Task.CLASSIFICATION, "yes", [0.9, 0.1])
    mirrored = explain(predictor, predictor.signature, other, row, frame[FEATURES])
    assert by_name(found) == pytest.approx({name: -value for name, value in by_name(mirrored).items()})
    # Amount speaks for yes, and that it is not the app for no.
    assert by_name(found)["amount"] < -0.1
    assert by_name(found)["channel"] > 0.1


def test_without_probabilities_it_is_how_often_the_class_is_answered() -> None:
    class Labels(Linear):
        def predict(self, frame: pd.DataFrame) -> Predictions:
            return Predictions(np.where(frame["a"].to_numpy() > 1, 1, 0), None)

    signature = Signature(NUMBERS.features, "y", classes=(0, 1))
    outcome = outcome_of(signature, Task.CLASSIFICATION, 1.0, None)
    rows = reference(200)
    found = explain(Labels(), signature, outcome, [5.0, 0.0, 0.0], rows, rows=200)
    assert outcome.name == "share of answers 1"
    assert found.answer == 1.0
    assert by_name(found) == {"a": pytest.approx(float((rows["a"] <= 1).mean())), "b": 0.0, "c": 0.0}


def test_what_the_model_cannot_answer_is_one_line() -> None:
    class Broken(Linear):
        def predict(self, frame: pd.DataFrame) -> Predictions:
            raise ValueError("Input contains NaN.\nmany more lines")

    with pytest.raises(QuarterdeckError, match=r"^The model cannot answer again: ValueError: Input contains NaN\.$"):
        explain(Broken(), NUMBERS, NUMBER, [None, 1.0, 1.0], reference())
    with pytest.raises(DataError, match="'c'"):
        explain(Linear(), NUMBERS, NUMBER, [1.0, 1.0, 1.0], reference()[["a", "b"]])


def test_a_single_reference_row_is_enough() -> None:
    found = explain(Linear(), NUMBERS, NUMBER, [1.0, 1.0, 1.0], pd.DataFrame({"a": [0.0], "b": [0.0], "c": [0.0]}))
    assert by_name(found) == {"a": 2.0, "b": -3.0, "c": 0.0}


@pytest.mark.parametrize("method", list(Method))
def test_a_method_says_what_it_is_where_it_is_from_and_what_it_is_not(method: Method) -> None:
    assert "interventional" in method.definition.lower()
    assert "20" in method.source
    assert "not about causes" in method.limits


@pytest.mark.parametrize("product", [0.0, 7.0])
def test_shapley_values_add_up_to_the_answer_less_its_average(product: float) -> None:
    rows = reference(60)
    found = explain(Linear(product), NUMBERS, NUMBER, [4.0, 2.0, 9.0], rows, Method.SHAP)
    assert sum(by_name(found).values()) == pytest.approx(found.answer - found.average)
    assert {told.error for told in found.influences} == {None}
    if not product:
        expected = WEIGHTS * (np.array([4.0, 2.0, 9.0]) - rows.mean().to_numpy())
        assert by_name(found) == pytest.approx(dict(zip("abc", expected, strict=True)))


def test_shapley_values_take_text_and_missing_values_as_they_are() -> None:
    frame = table(300)
    predictor = trained(frame)
    outcome = outcome_of(predictor.signature, Task.CLASSIFICATION, "yes", [0.1, 0.9])
    found = explain(predictor, predictor.signature, outcome, [80.0, None, 3, None, True], frame[FEATURES], Method.SHAP)
    assert sum(by_name(found).values()) == pytest.approx(found.answer - found.average, abs=1e-6)
    assert by_name(found)["amount"] > 0.1


def test_shap_where_it_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(UsageError, match=r"pip install 'quarterdeck\[shap\]'"):
        explain(Linear(), NUMBERS, NUMBER, [1.0, 1.0, 1.0], reference(), Method.SHAP)


def trained(frame: pd.DataFrame) -> EstimatorPredictor:
    from quarterdeck.registry.inspection import infer_signature
    from quarterdeck.registry.registration import classes_of

    estimator = classifier().fit(frame[FEATURES], frame["label"])
    features = infer_signature(frame[[*FEATURES, "label"]], target="label").features
    signature = Signature(features, "label", classes_of(estimator, Task.CLASSIFICATION))
    return EstimatorPredictor(estimator, signature, Task.CLASSIFICATION)
