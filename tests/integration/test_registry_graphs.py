"""Estimators that are served by a graph: only where both answer alike, row by row."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from quarterdeck import events
from quarterdeck.registry.graph import GraphPredictor
from quarterdeck.registry.inputs import as_inputs
from quarterdeck.registry.predictor import EstimatorPredictor, load_predictor
from quarterdeck.registry.registration import make_candidate, register
from quarterdeck.registry.version import ModelVersion
from quarterdeck.settings import Settings
from quarterdeck.settings.making import ModelSettings
from quarterdeck.workspace import Workspace

NUMBERS = ["amount", "age"]


def table(rows: int = 1500, *, seed: int = 0, text: bool = True) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"amount": rng.lognormal(3, 1, rows), "age": rng.uniform(18, 90, rows)})
    if text:
        frame["channel"] = pd.Series(rng.choice(["app", "shop", "web"], rows), dtype=object)
    frame["label"] = ((frame["amount"] > 25) ^ (rng.random(rows) < 0.1)).astype(int)
    return frame


def mixed(last: Any, **encoder: Any) -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(
        ColumnTransformer([("numbers", numbers, NUMBERS), ("channel", OneHotEncoder(**encoder), ["channel"])]), last
    )


def registered(workspace: Workspace, model: Any, training: pd.DataFrame, holdout: pd.DataFrame) -> ModelVersion:
    features = [name for name in training.columns if name != "label"]
    fitted = model.fit(training[features], training["label"])
    made = make_candidate(workspace, "fraud", fitted, training, holdout, target="label")
    with workspace.state.write("test") as tx:
        return register(tx, workspace, made)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), False),
        (RandomForestClassifier(20, min_samples_leaf=5, random_state=0), False),
        (HistGradientBoostingClassifier(max_iter=20), False),
        (HistGradientBoostingRegressor(max_iter=20), False),
        (Ridge(), False),
        (mixed(LogisticRegression(), handle_unknown="ignore"), True),
    ],
    ids=["logistic", "forest", "boosting", "boosting regressor", "ridge", "mixed"],
)
def test_a_graph_that_agrees_on_a_thousand_rows_serves_and_answers_as_the_estimator_does(
    workspace: Workspace, model: Any, text: bool
) -> None:
    training, holdout = table(text=text), table(1200, seed=1, text=text)
    version = registered(workspace, model, training, holdout)
    assert version.agreement["reason"] == ""
    assert (version.agreement["holdout_rows"], version.agreement["other_rows"]) == (1200, 0)
    predictor = load_predictor(workspace, version)
    assert isinstance(predictor, GraphPredictor)
    features = [name for name in training.columns if name != "label"]
    rows = table(300, seed=2, text=text)[features]
    rows.loc[::3, "age"] = np.nan if not isinstance(model, Ridge) and "logistic" not in str(model) else 40.0
    wanted = model.predict_proba(rows)[:, 1] if hasattr(model, "predict_proba") else model.predict(rows)
    columns = {name: [None if value != value else value for value in rows[name].tolist()] for name in features}
    one_by_one = [predictor.predict_columns({name: [column[n]] for name, column in columns.items()}) for n in range(60)]
    given = [one.values[0] if one.probabilities is None else one.probabilities[0, 1] for one in one_by_one]
    np.testing.assert_allclose(given, wanted[:60], rtol=1e-5, atol=1e-5)


def test_rows_in_which_the_graph_differs_are_left_to_the_estimator(workspace: Workspace) -> None:
    forest = RandomForestClassifier(20, min_samples_leaf=5, random_state=0)
    version = registered(workspace, forest, table(text=False), table(1200, seed=1, text=False))
    assert list(version.agreement["left_missing"]) == ["amount", "age"]
    predictor = load_predictor(workspace, version)
    frame = pd.DataFrame({"amount": [np.nan, 30.0], "age": [40.0, np.nan]})
    given = predictor.predict_columns({"amount": [None, 30.0], "age": [40.0, None]})
    assert given.probabilities is not None
    np.testing.assert_array_equal(given.probabilities, forest.predict_proba(frame))


def test_what_the_estimator_refuses_is_refused_with_the_graph_too(workspace: Workspace) -> None:
    version = registered(workspace, mixed(LogisticRegression(), handle_unknown="error"), table(), table(1200, seed=1))
    assert list(version.agreement["refuses_unseen"]) == ["channel"]
    predictor = load_predictor(workspace, version)
    with pytest.raises(ValueError, match="unknown categories"):
        predictor.predict_columns({"amount": [1.0], "age": [40.0], "channel": ["fax"]})


@pytest.mark.parametrize(
    ("model", "holdout", "why"),
    [
        (LogisticRegression(), 300, "rows are too few"),
        (SVC(), 1200, "no ONNX graph|decides them by itself"),
        (make_pipeline(DummyClassifier(strategy="stratified")), 1200, "no ONNX graph|differ by more"),
    ],
    ids=["few rows", "own labels", "chance"],
)
def test_the_estimator_serves_where_a_graph_is_not_known_to_agree(
    workspace: Workspace, model: Any, holdout: int, why: str
) -> None:
    training = table(400, text=False)
    version = registered(workspace, model, training, table(holdout, seed=1, text=False))
    assert version.graph is None
    assert re.search(why, version.agreement["reason"])
    assert isinstance(load_predictor(workspace, version), EstimatorPredictor)


def test_a_graph_is_made_only_where_the_settings_let_it(workspace: Workspace) -> None:
    off = dataclasses.replace(workspace, settings=Settings(models={"fraud": ModelSettings(convert=False)}))
    version = registered(off, LogisticRegression(), table(text=False), table(1200, seed=1, text=False))
    assert (version.graph, version.agreement["reason"]) == (None, "[models.fraud] says convert = false")


def test_a_graph_that_is_lost_leaves_the_estimator_to_serve(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    version = registered(workspace, LogisticRegression(), table(text=False), table(1200, seed=1, text=False))
    assert version.graph is not None
    workspace.artifacts.path(version.graph).unlink()
    predictor = load_predictor(workspace, version)
    assert isinstance(predictor, EstimatorPredictor)
    assert "its graph cannot be loaded" in caplog.text
    frame = as_inputs(table(5, seed=3, text=False), predictor.signature)
    assert len(predictor.predict(frame).values) == 5
    with workspace.state.read() as tx:
        assert events.verify(tx)
