"""XGBoost and LightGBM boosters answer as their own libraries do."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quarterdeck.errors import ArtifactError, DataError, UsageError
from quarterdeck.registry import boosters
from quarterdeck.registry.adoption import inspect_model
from quarterdeck.registry.predictor import as_inputs, load_predictor
from quarterdeck.registry.registration import register
from quarterdeck.registry.version import Format, Task
from quarterdeck.workspace import Workspace

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what they warn of in their own dependencies
    import lightgbm
    import xgboost

RNG = np.random.default_rng(3)
FRAME = pd.DataFrame({"amount": RNG.normal(size=400), "age": RNG.normal(40, 9, 400)})
FRAME.loc[::7, "age"] = np.nan
TWO = np.where(FRAME["amount"] > 0, 1, 0)
THREE = np.digitize(FRAME["amount"], [-0.5, 0.5])
CHANNEL = pd.Series(RNG.choice(["app", "shop", "web"], 400), dtype=object)


def adopted(workspace: Workspace, path: Path, content: bytes, sample: pd.DataFrame, target: str | None) -> Any:
    """The registered version of a booster in a file whose name says nothing."""
    path.write_bytes(content)
    candidate = inspect_model(workspace, "m", path, sample, target=target)
    with workspace.state.write("test") as tx:
        return register(tx, workspace, candidate)


def agrees(workspace: Workspace, version: Any, sample: pd.DataFrame, expected: Any) -> None:
    """Both ways of asking give `expected`: (n, classes) probabilities, or numbers."""
    predictor = load_predictor(workspace, version)
    signature = predictor._signature  # type: ignore[attr-defined]
    inputs = as_inputs(sample, signature)
    columns = {name: [None if v != v else v for v in inputs[name].tolist()] for name in signature.names}
    for found in (predictor.predict(inputs), predictor.predict_columns(columns)):
        if version.task is Task.REGRESSION:
            np.testing.assert_allclose(found.values, expected, rtol=1e-6)
            continue
        assert found.probabilities is not None
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-6)
        classes = np.array(signature.classes)
        assert (found.values == classes[np.asarray(expected).argmax(axis=1)]).all()


@pytest.mark.parametrize(
    ("objective", "kind"),
    [("binary:logistic", "json"), ("binary:logitraw", "ubj"), ("multi:softprob", "ubj"), ("multi:softmax", "json")],
)
def test_an_xgboost_classifier_answers_probabilities(
    workspace: Workspace, tmp_path: Path, objective: str, kind: str
) -> None:
    several = objective.startswith("multi")
    truth = THREE if several else TWO
    parameters = {"objective": objective, "nthread": 1, **({"num_class": 3} if several else {})}
    data = xgboost.DMatrix(FRAME, truth)
    booster = xgboost.train(parameters, data, 6)
    sample = FRAME.assign(label=truth)
    version = adopted(workspace, tmp_path / "model", bytes(booster.save_raw(kind)), sample, "label")
    assert (version.format, version.task) == (Format.XGBOOST, Task.CLASSIFICATION)
    assert version.metrics["accuracy"] > 0.9
    margin = booster.predict(data, output_margin=True)
    if several:
        powers = np.exp(margin - margin.max(axis=1, keepdims=True))
        expected = powers / powers.sum(axis=1, keepdims=True)
    else:
        positive = 1 / (1 + np.exp(-margin))
        expected = np.column_stack([1 - positive, positive])
    agrees(workspace, version, sample, expected)


def test_an_xgboost_regressor_answers_as_after_its_early_stopping(workspace: Workspace, tmp_path: Path) -> None:
    truth = FRAME["amount"] * 3 + 1
    model = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=2, n_jobs=1)
    model.fit(FRAME[:200], truth[:200], eval_set=[(FRAME[200:], truth[200:])], verbose=False)
    content = bytes(model.get_booster().save_raw("json"))
    version = adopted(workspace, tmp_path / "model", content, FRAME.assign(cost=truth), "cost")
    assert version.task is Task.REGRESSION
    agrees(workspace, version, FRAME, model.predict(FRAME))


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.95])
def test_a_file_that_ends_early_is_told_of_and_ends_nobody_who_reads_it(
    workspace: Workspace, tmp_path: Path, share: float
) -> None:
    truth = np.where(FRAME["amount"] > 0, "yes", "no")
    # LightGBM reads beyond the end of such a text, and ends the process that does.
    whole = lightgbm.LGBMClassifier(n_estimators=40, n_jobs=1, verbose=-1).fit(FRAME, truth).booster_.model_to_string()
    with pytest.raises(DataError, match=r"model cannot be adopted: (It is damaged|This is not a LightGBM model)"):
        adopted(workspace, tmp_path / "model", whole[: int(share * len(whole))].encode(), FRAME, None)


def test_a_lightgbm_classifier_takes_categories_missing_values_and_strangers(
    workspace: Workspace, tmp_path: Path
) -> None:
    frame = FRAME.assign(channel=pd.Categorical(CHANNEL))
    truth = np.where((FRAME["amount"] > 0) ^ (CHANNEL == "web"), "yes", "no")
    model = lightgbm.LGBMClassifier(n_estimators=8, n_jobs=1, verbose=-1).fit(frame, truth)
    plain = FRAME.assign(channel=CHANNEL)
    content = model.booster_.model_to_string().encode()
    version = adopted(workspace, tmp_path / "model", content, plain.assign(label=truth), "label")
    assert version.metrics["accuracy"] > 0.9
    assert any("numbers them" in text and "no, yes" in text for text in version.unknown)
    strange = plain.assign(channel=pd.Series(["app", np.nan, "ship", *CHANNEL[3:]], dtype=object))
    known = pd.Categorical(strange["channel"].where(strange["channel"] != "ship"), categories=["app", "shop", "web"])
    agrees(workspace, version, strange, model.predict_proba(frame.assign(channel=known)))


def test_a_nameless_lightgbm_booster_takes_the_sample_s_columns_and_numbers_its_classes(
    workspace: Workspace, tmp_path: Path
) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=4, n_jobs=1, verbose=-1).fit(FRAME.to_numpy(), THREE)
    version = adopted(workspace, tmp_path / "model", model.booster_.model_to_string().encode(), FRAME, None)
    assert tuple(version.signature["classes"]) == (0, 1, 2)
    assert any("0 to 2" in text for text in version.unknown)
    agrees(workspace, version, FRAME, model.booster_.predict(FRAME.to_numpy()))


def test_what_cannot_be_served_says_why(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(FRAME, TWO), 2)
    content = bytes(booster.save_raw("json"))
    with pytest.raises(DataError, match=r"lacks columns .*: age"):
        adopted(workspace, tmp_path / "model", content, FRAME[["amount"]], None)
    with pytest.raises(DataError, match=r"cannot be adopted: .* not an XGBoost model"):
        adopted(workspace, tmp_path / "model", content[:200], FRAME, None)
    with pytest.raises(DataError, match=r"cannot be adopted: .* not a LightGBM model"):
        adopted(workspace, tmp_path / "model", b"tree\nversion=v4\n", FRAME, None)
    frame = FRAME.assign(channel=pd.Categorical(CHANNEL))
    data = xgboost.DMatrix(frame, TWO, enable_categorical=True)
    with pytest.raises(ArtifactError, match="--entry"):
        boosters.XgboostBooster(bytes(xgboost.train({"nthread": 1}, data, 2).save_raw("json")))
    monkeypatch.setattr(boosters, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"quarterdeck\[xgboost\]"):
        adopted(workspace, tmp_path / "model", content, FRAME, None)
