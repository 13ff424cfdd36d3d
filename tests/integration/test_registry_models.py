"""Models through the registry: stored, called, judged, registered."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from quarterdeck import events
from quarterdeck.bootstrap import open_workspace
from quarterdeck.datasets.frames import read_frame
from quarterdeck.errors import ArtifactError, DataError, NotFoundError, RefusedError, UsageError
from quarterdeck.registry import queries
from quarterdeck.registry.assessment import assess
from quarterdeck.registry.predictor import EstimatorPredictor, as_inputs, inputs_frame, load_predictor
from quarterdeck.registry.registration import Candidate, make_candidate, register
from quarterdeck.registry.storage import load_estimator, store_estimator
from quarterdeck.registry.version import GateVerdict, ModelVersion, Task
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports
from tests.registry_models import FEATURES, classifier, forest, plain_rows, table

TABLE = table()
TRAINING = TABLE[[*FEATURES, "label"]]
HOLDOUT = table(300, seed=1)[[*FEATURES, "label"]]


def candidate(workspace: Workspace, model: Any = None, **changed: Any) -> Candidate:
    fitted = model or classifier().fit(TRAINING[FEATURES], TRAINING["label"])
    given: dict[str, Any] = {"target": "label", "sources": ["data/payments@1", "run/3"], **changed}
    return make_candidate(workspace, "fraud", fitted, TRAINING, HOLDOUT, **given)


def registered(workspace: Workspace, made: Candidate, **named: Any) -> ModelVersion:
    with workspace.state.write("test") as tx:
        return register(tx, workspace, made, **named)


@pytest.mark.parametrize(
    "last",
    [
        LogisticRegression(max_iter=1000),
        forest(),
        HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
        KNeighborsClassifier(),
        CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3), cv=3),
        FixedThresholdClassifier(LogisticRegression(max_iter=1000), threshold=0.9, response_method="predict_proba"),
    ],
    ids=lambda last: type(last).__name__,
)
def test_a_stored_model_answers_one_row_or_many_as_it_did_in_training(workspace: Workspace, last: Any) -> None:
    fitted = classifier(last)
    fitted.set_params(columns__sparse_threshold=0)
    fitted.fit(TRAINING[FEATURES], TRAINING["label"])
    version = registered(workspace, candidate(workspace, fitted))
    predictor = load_predictor(workspace, version)
    signature = candidate(workspace, fitted).signature
    many = predictor.predict(as_inputs(HOLDOUT, signature))
    # What the person's own call gives on the frame as it came, missing text included: no skew.
    assert many.values.tolist() == fitted.predict(HOLDOUT[FEATURES]).tolist()
    assert many.probabilities is not None
    np.testing.assert_array_equal(many.probabilities, fitted.predict_proba(HOLDOUT[FEATURES]))
    for row, columns in enumerate(plain_rows(HOLDOUT, range(40))):
        one = predictor.predict(inputs_frame(signature, columns))
        assert one.values.tolist() == [many.values[row]]
        assert one.probabilities is not None
        np.testing.assert_allclose(one.probabilities[0], many.probabilities[row], atol=1e-12)


def test_functions_and_partials_are_never_trusted(workspace: Workspace) -> None:
    for function in (pd.DataFrame.abs, functools.partial(np.clip, a_min=0, a_max=1)):
        model = make_pipeline(FunctionTransformer(function), LogisticRegression())
        model.fit(TRAINING[["amount"]].abs(), TRAINING["label"])
        with pytest.raises(RefusedError, match="does not trust"):
            store_estimator(workspace, model)
    # Nor when they come in the file of somebody else.
    digest = workspace.artifacts.put(skops.io.dumps(functools.partial(print, "owned")))
    with pytest.raises(RefusedError, match=r"functools\.partial"):
        load_estimator(workspace, digest)


def test_a_damaged_or_missing_model_says_so(workspace: Workspace) -> None:
    with pytest.raises(ArtifactError, match="not a skops file"):
        load_estimator(workspace, workspace.artifacts.put(b"nothing of the kind"))
    with pytest.raises(ArtifactError, match="missing"):
        load_estimator(workspace, "0" * 64)


def test_a_version_holds_all_that_is_known(workspace: Workspace) -> None:
    made = candidate(workspace, extra_metrics={"cost": 3, "broken": float("nan")}, time="paid_at", key="id")
    version = registered(workspace, made, actor="ann", run_id=None)
    row = queries.version(workspace, "fraud", 1)
    assert (version.number, row.gate, row.created_by) == (1, GateVerdict.NONE, "ann")
    assert row.sources == ["data/payments@1", "run/3"]
    assert row.metrics["roc_auc"] > 0.9
    assert row.metrics["cost"] == 3
    assert "broken" not in row.metrics
    assert sum(row.importances.values()) == pytest.approx(1)
    assert sorted(row.importances, key=row.importances.__getitem__)[-2:] in (
        ["channel", "amount"], ["amount", "channel"],
    )  # fmt: skip
    assert (row.signature["time"], row.signature["key"]) == ("paid_at", "id")
    assert made.reference is not None
    reference = read_frame(workspace, made.reference)
    assert list(reference.columns) == [*FEATURES, "label"]
    assert reference["channel"].isna().sum() == TRAINING["channel"].isna().sum()
    assert [column["name"] for column in version.profile] == list(reference.columns)
    assert row.environment["scikit-learn"]
    with workspace.state.read() as tx:
        event = events.after(tx, 0)[-1]
    assert (event.kind, event.subject, event.data["gate"]) == ("version.registered", "version/fraud@1", "none")
    assert queries.lineage(workspace, "version/fraud@1")[0] == ["data/payments@1", "run/3"]
    assert queries.lineage(workspace, "run/3")[1] == ["version/fraud@1"]
    with pytest.raises(NotFoundError, match="Nothing here is called 'version/fraud@7'"):
        queries.lineage(workspace, "version/fraud@7")


def test_numbers_count_up_and_a_failed_transaction_leaves_nothing(workspace: Workspace) -> None:
    made = candidate(workspace)
    registered(workspace, made)
    with pytest.raises(ZeroDivisionError), workspace.state.write("test") as tx:
        assert register(tx, workspace, made).number / 0
    assert registered(workspace, made).number == 2
    assert [row.number for row in queries.versions(workspace, "fraud")] == [2, 1]
    assert [(row.name, row.versions) for row in queries.models(workspace)] == [("fraud", 2)]
    with pytest.raises(NotFoundError, match="Known: 1, 2"):
        queries.version(workspace, "fraud", 3)


def test_the_gate_of_the_settings_judges(workspace: Workspace) -> None:
    workspace.settings_file.write_text("[models.fraud.gate]\nroc_auc = {min = 0.8}\n")
    strict = open_workspace(workspace.root, ports=fake_ports(), actor="tester")
    assert registered(strict, candidate(strict)).gate is GateVerdict.PASSED
    guess = DummyClassifier(strategy="prior").fit(TRAINING[FEATURES], TRAINING["label"])
    refused = registered(strict, candidate(strict, guess))
    assert refused.gate is GateVerdict.FAILED
    assert refused.gate_checks[0]["value"] == 0.5
    strict.close()


def test_what_is_no_fitted_estimator_is_refused(workspace: Workspace) -> None:
    for model, words in (("text", "no scikit-learn estimator"), (LogisticRegression(), "is not fitted"),
                         (StandardScaler().fit([[1.0]]), "neither a classifier nor a regressor")):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            candidate(workspace, model)


def test_a_frame_that_lacks_what_the_estimator_was_fitted_on_is_refused(workspace: Workspace) -> None:
    fitted = classifier().fit(TRAINING[FEATURES], TRAINING["label"])
    with pytest.raises(DataError, match="age"):
        make_candidate(workspace, "fraud", fitted, TRAINING.drop(columns="age"), None, target="label")
    array = LogisticRegression().fit(TRAINING[["amount", "visits"]].to_numpy(), TRAINING["label"])
    with pytest.raises(DataError, match="fitted on 2 columns"):
        make_candidate(workspace, "fraud", array, TRAINING, None, target="label")


def test_a_regressor_is_judged_by_its_errors(workspace: Workspace) -> None:
    frame = TABLE[["amount", "visits", "price"]]
    fitted = LinearRegression().fit(frame[["amount", "visits"]], frame["price"])
    made = make_candidate(workspace, "price", fitted, frame, frame, target="price")
    assert made.task is Task.REGRESSION
    assert set(made.metrics) == {"mae", "rmse", "r2"}
    assert made.importances["amount"] > 0.99
    values = load_predictor(workspace, registered(workspace, made)).predict(as_inputs(frame, made.signature))
    assert values.probabilities is None
    np.testing.assert_allclose(values.values, fitted.predict(frame[["amount", "visits"]]))


def test_three_classes_have_no_ranking_metric(workspace: Workspace) -> None:
    frame = TABLE.assign(level=pd.cut(TABLE["amount"], 3, labels=False))[["amount", "visits", "level"]]
    fitted = forest().fit(frame[["amount", "visits"]], frame["level"])
    made = make_candidate(workspace, "level", fitted, frame, frame, target="level")
    assert set(made.metrics) == {"accuracy", "f1", "log_loss"}
    assert made.signature.classes == (0, 1, 2)


def test_a_label_the_model_never_saw_is_an_error_not_a_score(workspace: Workspace) -> None:
    made = candidate(workspace)
    fitted = classifier().fit(TRAINING[FEATURES], TRAINING["label"])
    dotted = HOLDOUT.assign(label=HOLDOUT["label"] + ".")
    with pytest.raises(DataError, match=r"'label' holds '(yes|no)\."):
        assess(
            EstimatorPredictor(fitted, made.signature, Task.CLASSIFICATION), dotted, made.signature, Task.CLASSIFICATION
        )


def test_a_holdout_of_one_class_leaves_ranking_undefined(workspace: Workspace) -> None:
    fitted = classifier().fit(TRAINING[FEATURES], TRAINING["label"])
    made = candidate(workspace, fitted)
    one = HOLDOUT[HOLDOUT["label"] == "no"]
    assessment = assess(
        EstimatorPredictor(fitted, made.signature, Task.CLASSIFICATION), one, made.signature, Task.CLASSIFICATION
    )
    assert "roc_auc" not in assessment.metrics
    assert "accuracy" in assessment.metrics


def test_the_queries_import_no_heavy_library(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = (
        "import sys, quarterdeck.registry.queries, quarterdeck.registry.registration, quarterdeck.datasets.queries, "
        "quarterdeck.datasets.ingestion; sys.exit(any(name in sys.modules for name in ('pandas', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False).returncode == 0
