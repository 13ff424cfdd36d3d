"""A hastened forest answers as scikit-learn's own methods do, to the last bit, and refuses what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)

from quarterdeck.registry.forest import MOST_ROWS, hasten

ROWS = 300
rng = np.random.default_rng(5)
INPUTS = rng.normal(size=(ROWS, 4))
INPUTS[::17, 1] = np.nan
CLASSES = np.array(["a", "b", "c"], dtype=object)[rng.integers(0, 3, size=ROWS)]
FORESTS = [
    (RandomForestClassifier(30, random_state=0), CLASSES, "predict_proba"),
    (ExtraTreesClassifier(30, random_state=0), CLASSES, "predict_proba"),
    (RandomForestRegressor(30, random_state=0), INPUTS[:, 0], "predict"),
    (ExtraTreesRegressor(30, random_state=0), INPUTS[:, 0], "predict"),
]


@pytest.mark.parametrize(("model", "target", "method"), FORESTS, ids=lambda given: type(given).__name__)
@pytest.mark.parametrize("rows", [1, ROWS])
def test_the_answers_are_the_same_to_the_last_bit(model: Any, target: Any, method: str, rows: int) -> None:
    model.fit(INPUTS, target)
    expected = getattr(model, method)(INPUTS[:rows]), model.predict(INPUTS[:rows])
    hasten(model)
    answers = getattr(model, method)(INPUTS[:rows]), model.predict(INPUTS[:rows])
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(answers, expected, strict=True))
    assert all(ours.shape == theirs.shape for ours, theirs in zip(answers, expected, strict=True))


def test_a_row_that_does_not_fit_is_refused_as_before() -> None:
    model = RandomForestClassifier(5, random_state=0).fit(INPUTS, CLASSES)
    hasten(model)
    with pytest.raises(ValueError, match="4 features"):
        model.predict_proba(INPUTS[:, :3])


def test_many_rows_are_left_to_its_own_method(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(INPUTS, CLASSES)
    asked: list[int] = []

    def own(self: Any, inputs: Any) -> Any:
        asked.append(len(inputs))
        return np.zeros((len(inputs), 3))

    monkeypatch.setattr(RandomForestClassifier, "predict_proba", own)
    hasten(model)
    model.predict_proba(np.zeros((MOST_ROWS, 4)))
    model.predict_proba(np.zeros((MOST_ROWS + 1, 4)))
    assert asked == [MOST_ROWS + 1]


@pytest.mark.parametrize(
    "model",
    [
        HistGradientBoostingClassifier(max_iter=5).fit(INPUTS, CLASSES),
        RandomForestRegressor(3).fit(INPUTS, np.column_stack([INPUTS[:, 0], INPUTS[:, 2]])),
    ],
    ids=["no forest", "two outputs"],
)
def test_what_is_no_forest_of_one_output_is_left_as_it_is(model: Any) -> None:
    before = dict(vars(model))
    hasten(model)
    assert vars(model).keys() == before.keys()
