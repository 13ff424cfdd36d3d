"""Pickles, MLflow folders and functions: adopted by what their own process says of them."""

from __future__ import annotations

import pickle
import subprocess
from contextlib import closing
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quarterdeck.deployments.explaining import explain
from quarterdeck.deployments.rollout import deploy
from quarterdeck.errors import ArtifactError, DataError, RefusedError, UsageError
from quarterdeck.registry.adoption import Surroundings, inspect_model
from quarterdeck.registry.predictor import as_inputs, load_predictor
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.version import Format, ModelVersion, Task
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.environments import environment
from tests.registry_models import plain_rows, table

SAMPLE = table().dropna().reset_index(drop=True)
NUMBERS, BOTH = ["amount", "visits"], ["amount", "visits", "channel"]
TRUSTED = Surroundings(trust_pickle=True)
CODE = """
from __future__ import annotations
classes = ["no", "yes"]

def predict(rows):
    return ["yes" if row["amount"] > 10 else "no" for row in rows]

def predict_proba(rows):
    return [[0.25, 0.75] if row["amount"] > 10 else [0.75, 0.25] for row in rows]

def count(rows):
    return [row["visits"] * 2 for row in rows]

def fails(rows):
    raise RuntimeError("there are no weights\\nat all")
"""
PYFUNC = """
import sys, warnings
warnings.simplefilter("ignore")
import mlflow.pyfunc, pandas
from mlflow.models import infer_signature

class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        assert model_input["visits"].dtype == "int64", model_input.dtypes
        return model_input["visits"] * 2 + model_input["amount"]

inputs = pandas.DataFrame({"amount": [1.5], "visits": [2]})
signature = infer_signature(inputs, pandas.Series([1.5]))
mlflow.pyfunc.save_model(sys.argv[1], python_model=Twice(), signature=signature, pip_requirements=["mlflow"])
"""


def mixed() -> Pipeline:
    columns = ColumnTransformer([("n", StandardScaler(), NUMBERS), ("t", OneHotEncoder(), ["channel"])])
    model = Pipeline([("columns", columns), ("classify", LogisticRegression(max_iter=1000))])
    return model.fit(SAMPLE[BOTH], SAMPLE["label"])


def registered(workspace: Workspace, candidate: Candidate) -> ModelVersion:
    with workspace.state.write("test") as tx:
        return register(tx, workspace, candidate)


def code(folder: Path) -> Path:
    (folder / "code").mkdir()
    (folder / "code" / "model.py").write_text(CODE)
    return folder / "code"


def test_a_pickle_of_this_environment_answers_as_the_model_in_it(workspace: Workspace, tmp_path: Path) -> None:
    model, path = mixed(), tmp_path / "model.bin"
    path.write_bytes(pickle.dumps(model))
    made = inspect_model(workspace, "m", path, SAMPLE, target="label", surroundings=TRUSTED)
    assert (made.format, made.task, made.signature.names) == (Format.PICKLE, Task.CLASSIFICATION, tuple(BOTH))
    assert (made.signature.classes, made.trusted) == (("no", "yes"), made.artifact)
    assert made.metrics
    assert any(text.startswith("Its environment: none was named") for text in made.unknown)
    version = registered(workspace, made)
    with closing(load_predictor(workspace, version)) as predictor:
        many = predictor.predict(as_inputs(SAMPLE, made.signature))
        np.testing.assert_allclose(many.probabilities, model.predict_proba(SAMPLE[BOTH]), atol=1e-12)  # type: ignore[arg-type]
        for row, columns in enumerate(plain_rows(SAMPLE, range(3))):
            assert predictor.predict_columns(columns).values.tolist() == [many.values[row]]


def test_a_trusted_pickle_is_trusted_by_its_bytes_alone(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(LinearRegression().fit(SAMPLE[NUMBERS].to_numpy(), SAMPLE["price"]), path)
    version = registered(workspace, inspect_model(workspace, "m", path, SAMPLE[NUMBERS], surroundings=TRUSTED))
    assert version.task is Task.REGRESSION
    other = workspace.artifacts.put(pickle.dumps(print))
    with pytest.raises(RefusedError, match="a pickle that nobody trusted"):
        load_predictor(workspace, version.model_copy(update={"artifact": other}))
    place = workspace.artifacts.path(version.artifact or "")
    place.chmod(0o600)
    place.write_bytes(pickle.dumps(print))
    with pytest.raises(ArtifactError, match="damaged"):
        load_predictor(workspace, version)


def test_loading_a_pickle_happens_elsewhere_and_says_in_one_line_what_failed(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"cos\n_exit\n(I3\ntR.")
    with pytest.raises(DataError, match=r"model.pkl cannot be adopted: .* ended with status 3.*--python VENV"):
        inspect_model(workspace, "m", path, SAMPLE, target="label", surroundings=TRUSTED)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(DataError, match=r"TypeError: it holds a dict, which has no predict\(\)"):
        inspect_model(workspace, "m", path, SAMPLE, target="label", surroundings=TRUSTED)
    path.write_bytes(pickle.dumps(mixed()))
    with pytest.raises(DataError, match=r"lacks columns .*: channel"):
        inspect_model(workspace, "m", path, SAMPLE[NUMBERS], surroundings=TRUSTED)
    strange = SAMPLE.assign(channel="a ship")
    with pytest.raises(DataError, match=r"cannot answer the first rows of the sample: .*a ship[^\n]*\.$"):
        inspect_model(workspace, "m", path, strange, target="label", surroundings=TRUSTED)


def test_an_mlflow_folder_is_read_without_mlflow_where_it_holds_a_pickled_estimator(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "tracked"
    folder.mkdir()
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n  sklearn:\n    code: null\n"
        "    pickled_model: model.pkl\n    serialization_format: cloudpickle\nmlflow_version: 3.4.0\n"
    )
    (folder / "model.pkl").write_bytes(pickle.dumps(mixed()))
    with pytest.raises(RefusedError, match="add --trust-pickle"):
        inspect_model(workspace, "m", folder, SAMPLE, target="label")
    made = inspect_model(workspace, "m", folder, SAMPLE, target="label", surroundings=TRUSTED)
    assert (made.format, made.signature.classes) == (Format.MLFLOW, ("no", "yes"))
    with closing(load_predictor(workspace, registered(workspace, made))) as predictor:
        few = SAMPLE.head(5)
        shares = predictor.predict(as_inputs(few, made.signature)).probabilities
        np.testing.assert_allclose(shares, mixed().predict_proba(few[BOTH]), atol=1e-12)  # type: ignore[arg-type]


def test_any_other_mlflow_model_is_asked_by_mlflow_with_the_types_of_its_schema(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder, python = tmp_path / "tracked", environment("mlflow")
    subprocess.run([python, "-c", PYFUNC, folder], check=True, timeout=120, cwd=tmp_path)
    given = Surroundings(python, None, True)
    made = inspect_model(workspace, "m", folder, SAMPLE[["visits", "amount", "price"]], surroundings=given)
    assert (made.task, made.signature.names) == (Task.REGRESSION, ("amount", "visits"))
    assert made.environment["scikit-learn"] == "1.5.2"
    with closing(load_predictor(workspace, registered(workspace, made))) as predictor:
        assert predictor.predict_columns({"amount": [0.5], "visits": [3]}).values.tolist() == [6.5]


def test_functions_are_classifiers_or_regressors_by_what_they_answer(workspace: Workspace, tmp_path: Path) -> None:
    folder, python = code(tmp_path), environment("empty").parent.parent
    sample = SAMPLE[[*BOTH, "label"]]
    made = inspect_model(
        workspace, "m", folder, sample, target="label", surroundings=Surroundings(python, "model:predict")
    )
    assert (made.format, made.task, made.trusted) == (Format.ENTRY, Task.CLASSIFICATION, None)
    assert (made.python, made.entry) == (str(python / "bin" / "python"), "model:predict")
    assert set(made.environment) == {"python"}
    with closing(load_predictor(workspace, registered(workspace, made))) as predictor:
        found = predictor.predict_columns({"amount": [11.0], "visits": [1], "channel": ["app"]})
        assert found.values.tolist() == ["yes"]
        assert found.probabilities is not None
        assert found.probabilities.tolist() == [[0.25, 0.75]]
    numbers = inspect_model(workspace, "n", folder, SAMPLE[NUMBERS], surroundings=Surroundings(python, "model:count"))
    assert (numbers.task, numbers.signature.classes) == (Task.REGRESSION, None)
    with pytest.raises(DataError, match=r"first rows of the sample: there are no weights\.$"):
        inspect_model(workspace, "n", folder, SAMPLE[NUMBERS], surroundings=Surroundings(python, "model:fails"))


def test_an_environment_that_is_none_and_one_for_a_file_that_needs_none_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(mixed()))
    with pytest.raises(UsageError, match="is no Python environment"):
        inspect_model(workspace, "m", path, SAMPLE, surroundings=Surroundings(tmp_path, None, True))
    booster = tmp_path / "model.txt"
    booster.write_text("tree\n")
    with pytest.raises(UsageError, match="is loaded by the gateway itself"):
        inspect_model(workspace, "m", booster, SAMPLE, surroundings=TRUSTED)


def test_the_same_code_is_the_same_artifact(workspace: Workspace, tmp_path: Path) -> None:
    given = Surroundings(environment("empty"), "model:count")
    frame = pd.DataFrame(SAMPLE[NUMBERS])
    first = inspect_model(workspace, "m", code(tmp_path), frame, surroundings=given)
    (tmp_path / "again").mkdir()
    assert inspect_model(workspace, "m", code(tmp_path / "again"), frame, surroundings=given).artifact == first.artifact


@pytest.mark.parametrize("answer", ["weird", None])
def test_an_answer_outside_the_classes_that_the_code_names_is_an_error(
    workspace: Workspace, tmp_path: Path, answer: str | None
) -> None:
    odd = f"[{answer!r} if row['amount'] < 0 else 'yes' for row in rows]"
    (tmp_path / "model.py").write_text(f"classes = ['no', 'yes']\n\ndef predict(rows):\n    return {odd}\n")
    given = Surroundings(environment("empty"), "model:predict")
    made = inspect_model(workspace, "m", tmp_path, SAMPLE[BOTH], surroundings=given)
    with closing(load_predictor(workspace, registered(workspace, made))) as predictor:
        said = predictor.predict_columns({"amount": [1.0], "visits": [2], "channel": ["app"]})
        assert said.values.tolist() == ["yes"]
        with pytest.raises(ValueError, match=rf"'{answer}', which is none of its classes \(no, yes\)"):
            predictor.predict_columns({"amount": [-1.0], "visits": [2], "channel": ["app"]})


@pytest.mark.parametrize("answer", ["float('nan')", "float('inf')"])
def test_a_regression_model_that_answers_no_number_is_an_error(
    workspace: Workspace, tmp_path: Path, answer: str
) -> None:
    odd = f"[{answer} if row['amount'] < 0 else row['amount'] for row in rows]"
    (tmp_path / "model.py").write_text(f"def predict(rows):\n    return {odd}\n")
    given = Surroundings(environment("empty"), "model:predict")
    sample = SAMPLE[NUMBERS].assign(amount=SAMPLE["amount"].abs())
    made = inspect_model(workspace, "m", tmp_path, sample, surroundings=given)
    assert made.task is Task.REGRESSION
    with closing(load_predictor(workspace, registered(workspace, made))) as predictor:
        assert predictor.predict_columns({"amount": [1.5], "visits": [2]}).values.tolist() == [1.5]
        with pytest.raises(ValueError, match="it answered with what is no number"):
            predictor.predict_columns({"amount": [-1.0], "visits": [2]})


def test_a_prediction_of_a_model_in_its_own_process_is_explained_by_that_process(
    workspace: Workspace, tmp_path: Path
) -> None:
    given = Surroundings(environment("empty"), "model:count")
    version = registered(workspace, inspect_model(workspace, "m", code(tmp_path), SAMPLE[NUMBERS], surroundings=given))
    deploy(workspace, "count", model="m", version=version.number)
    recorded = {"deployment": "count", "id": "p1", "version": 1, "revision": 1, "inputs": [3.0, 4], "prediction": 8.0}
    record(workspace, [recorded | {"probabilities": None, "received_at": workspace.now()}])
    found = explain(workspace, "count", "p1")
    assert (found.runtime, found.differs, found.explanation.answer) == ("process", None, 8.0)
    assert [one.feature for one in found.explanation.influences if one.influence] == ["visits"]
