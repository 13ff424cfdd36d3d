"""Backtests with real estimators on seeded traffic: what they find, and what they refuse to say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sqlmodel import Session

from quarterdeck import events
from quarterdeck.deployments.backtest import Backtest
from quarterdeck.deployments.backtesting import backtest, make_backtest, request
from quarterdeck.deployments.rollout import deploy
from quarterdeck.errors import FencedError, NotFoundError
from quarterdeck.registry.version import Format, ModelVersion
from quarterdeck.settings.serving import DeploymentSettings
from quarterdeck.workspace import Workspace
from tests.backtested import START, answer, changed, first, noise, outcome, rows, serve, settled


@pytest.fixture
def ready(workspace: Workspace) -> Workspace:
    return settled(workspace)


def candidates(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["candidates"]}


def test_after_the_concept_changed_retraining_wins_against_keeping_and_going_back(ready: Workspace) -> None:
    serve(ready, rows(800, seed=1))
    version = serve(ready, rows(900, seed=2))
    answer(ready, version, rows(1500, seed=3, concept=changed))
    found = outcome(ready)
    assert found.verdict == "retrain"
    by_name = candidates(found.outcome)
    assert by_name["retrain"]["value"] > 0.85 > 0.6 > by_name["keep"]["value"]
    assert (by_name["keep"]["version"], by_name["roll back"]["version"]) == (2, 1)
    sides = {(one["of"], one["against"]): one["side"] for one in found.outcome["comparisons"]}
    assert sides["retrain", "keep"] == sides["retrain", "roll back"] == "better" != sides["roll back", "keep"]
    # The old rows say the contrary: without them it learns better, and rows before the compared ones tell that.
    assert (found.outcome["trained_on"], found.outcome["rows"]) == ("recent rows alone", 500)
    with ready.state.read() as tx:
        kinds = [event.kind for event in events.after(tx, 0)]
        events.verify(tx)
    assert kinds[-2:] == ["backtest.requested", "backtest.finished"]


def test_where_nothing_changed_retraining_is_not_worth_it(ready: Workspace) -> None:
    version = serve(ready, rows(3000, seed=1))
    answer(ready, version, rows(6000, seed=2), step=timedelta(seconds=10))
    found = outcome(ready)
    assert found.verdict == "keep"
    assert found.outcome["because"].startswith("not worth it: retraining gains ")
    assert candidates(found.outcome)["roll back"]["why_not"] == "there is no last known-good version"


def test_a_version_that_learnt_nothing_is_rolled_back(ready: Workspace) -> None:
    serve(ready, rows(3000, seed=1))
    # Its own estimator cannot do better either: it has one tree of one level on a column that says nothing.
    version = serve(ready, rows(900, seed=2, concept=noise), RandomForestClassifier(1, max_depth=1, random_state=0))
    answer(ready, version, rows(1500, seed=3))
    found = outcome(ready)
    assert found.verdict == "roll back"
    assert "rolling back gains +0." in found.outcome["because"]


def test_few_labels_are_no_evidence_and_it_is_said_how_many_there_are(ready: Workspace) -> None:
    version = serve(ready, rows(800, seed=1))
    answer(ready, version, rows(500, seed=3, concept=changed), labelled=60)
    found = outcome(ready)
    assert found.verdict == "not enough evidence"
    assert found.outcome["missing"] == ["180 labelled predictions of version 1 to compare on; there are 60"]


def test_an_interval_that_settles_nothing_is_no_evidence_either(ready: Workspace) -> None:
    version = serve(ready, rows(400, seed=1, concept=noise))
    answer(ready, version, rows(600, seed=3, concept=noise))
    found = outcome(ready)
    assert found.verdict == "not enough evidence"
    assert "labelled rows to tell retraining from keeping; there are 200" in found.outcome["missing"][0]


def test_what_was_not_labelled_in_time_is_not_learnt_from(ready: Workspace) -> None:
    version = serve(ready, rows(800, seed=1))
    # Labels are ten hours behind the traffic: 600 rows of a minute each.
    answer(ready, version, rows(2100, seed=3, concept=changed), labelled=1500)
    found = outcome(ready)
    assert found.outcome["labels_behind_seconds"] == 600 * 60
    assert found.outcome["rows"] == 500
    assert found.outcome["recent_rows"] == 1000 - 600
    assert found.outcome["label_coverage"] == 1.0


def test_the_compared_rows_are_only_the_serving_version_s_and_older_ones_teach(ready: Workspace) -> None:
    earlier = serve(ready, rows(800, seed=1))
    answer(ready, earlier, rows(900, seed=4, concept=changed))
    version = serve(ready, rows(800, seed=2))
    answer(ready, version, rows(200, seed=5, concept=changed), since=START + timedelta(days=2))
    found = outcome(ready)
    assert (found.outcome["rows"], found.outcome["recent_rows"]) == (180, 920)
    assert found.verdict == "retrain"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"format": Format.ONNX}, "version 1 is stored as onnx, and only a scikit-learn estimator"),
        ({"format": Format.EXTERNAL, "artifact": None}, "version 1 is served elsewhere"),
        ({"reference": None}, "10 of the rows to learn from"),
    ],
)
def test_what_cannot_be_trained_anew_is_said_and_is_no_verdict(
    ready: Workspace, fields: dict[str, Any], why: str
) -> None:
    version = serve(ready, rows(800, seed=1))
    frame = rows(1500, seed=3, concept=changed)
    if "reference" in fields:
        # Among the rows before the compared ones fraud is as good as absent.
        frame.loc[: 1000 - 1, "fraud"] = [1] * 9 + [0] * 991
        why = "9 of the rows to learn from are of class 1, not 10"
    answer(ready, version, frame)
    with ready.state.write("test") as tx:
        row = tx.get_one(ModelVersion, 1)
        for name, value in fields.items():
            setattr(row, name, value)
    found = outcome(ready)
    assert found.verdict == "not enough evidence"
    (missing,) = found.outcome["missing"]
    assert missing.startswith(f"retraining could not be tried: {why}")


def test_columns_that_are_not_recorded_leave_nothing_to_compare_by(ready: Workspace) -> None:
    version = serve(ready, rows(800, seed=1))
    answer(ready, version, rows(600, seed=3))
    hidden = ready.settings.model_copy(update={"deployments": {"fraud": DeploymentSettings(omit=("age",))}})
    found = outcome(replace(ready, settings=hidden))
    assert found.verdict == "not enough evidence"
    assert found.outcome["missing"] == ["the values of age, which `omit` under [deployments] keeps from being recorded"]


def test_a_metric_that_is_undefined_on_the_compared_rows_is_no_evidence(ready: Workspace) -> None:
    version = serve(ready, rows(800, seed=1))
    answer(ready, version, rows(600, seed=3).assign(fraud=0))
    found = outcome(ready)
    assert found.verdict == "not enough evidence"
    assert "roc_auc is undefined" in found.outcome["missing"][0]


def test_labels_that_no_metric_takes_are_told_and_end_nothing(workspace: Workspace) -> None:
    ready = settled(workspace, metric="mae")
    version = serve(ready, rows(400, seed=1))
    answer(ready, version, rows(600, seed=3).assign(fraud="maybe"))
    found = outcome(ready)
    assert found.verdict is None
    assert "maybe" in found.outcome["error"]


def test_the_same_backtest_says_the_same_twice(ready: Workspace) -> None:
    version = serve(ready, rows(400, seed=1), RandomForestClassifier(5))
    answer(ready, version, rows(700, seed=3, concept=changed))
    assert outcome(ready).outcome == outcome(ready).outcome


def test_a_backtest_is_made_once_and_a_fenced_attempt_writes_nothing(ready: Workspace) -> None:
    def given_up(tx: Session) -> None:
        raise FencedError

    version = serve(ready, rows(400, seed=1))
    answer(ready, version, rows(600, seed=3))
    number = request(ready, "fraud")
    assert request(ready, "fraud") == number
    with pytest.raises(FencedError):
        make_backtest(ready, number, fence=given_up)
    assert backtest(ready, number).finished_at is None
    make_backtest(ready, number)
    make_backtest(ready, number)
    with ready.state.read() as tx:
        assert [event.kind for event in events.after(tx, 0)].count("backtest.finished") == 1
        assert tx.get_one(Backtest, number).requested_by == "tester"
    assert request(ready, "fraud") == number + 1


def test_what_does_not_exist_is_not_backtested(ready: Workspace) -> None:
    with pytest.raises(NotFoundError, match="no deployment 'fraud'"):
        request(ready, "fraud")
    with pytest.raises(NotFoundError, match="no backtest 7"):
        backtest(ready, 7)


def test_a_regression_is_compared_by_its_errors(workspace: Workspace) -> None:
    from sklearn.linear_model import Ridge

    from quarterdeck.registry.registration import make_candidate, register
    from quarterdeck.traffic.labelling import add_labels
    from quarterdeck.traffic.recording import record

    ready = settled(workspace, metric="rmse")
    training = rows(600, seed=1).drop(columns="fraud")
    training["cost"] = 3 * training["amount"] + 1
    fitted = Ridge().fit(training[["amount", "age", "visits"]], training["cost"])
    candidate = make_candidate(ready, "fraud", fitted, training, target="cost")
    with ready.state.write("test") as tx:
        register(tx, ready, candidate)
    deploy(ready, "fraud", model="fraud", version=1)
    frame: pd.DataFrame = rows(900, seed=3)[["amount", "age", "visits"]]
    answers = fitted.predict(frame)
    values = frame.to_numpy().tolist()
    record(
        ready,
        [
            {
                "deployment": "fraud",
                "id": str(i),
                "received_at": ready.now(),
                "event_time": START + timedelta(minutes=i),
                "version": 1,
                "inputs": values[i],
                "prediction": float(answers[i]),
            }
            for i in range(len(frame))
        ],
    )
    truth = (5 * frame["amount"] + first(frame) * 0.0).tolist()
    add_labels(ready, "fraud", [{"reference": str(i), "value": value} for i, value in enumerate(truth)])
    found = outcome(ready)
    assert found.verdict == "retrain"
    by_name = candidates(found.outcome)
    assert by_name["retrain"]["value"] < 0.1 < by_name["keep"]["value"]
    assert found.outcome["comparisons"][0]["gain"] > 0
