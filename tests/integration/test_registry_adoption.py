"""Models that were made elsewhere."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from quarterdeck.errors import DataError, QuarterdeckError, RefusedError, UsageError
from quarterdeck.registry.adoption import inspect_model
from quarterdeck.registry.predictor import as_inputs, inputs_frame, load_predictor
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.version import Format, Task
from quarterdeck.workspace import Workspace
from tests.registry_models import plain_rows, table

NUMBERS = ["amount", "visits"]
TEXTS = ["channel"]
SAMPLE = table().dropna().reset_index(drop=True)
BOTH = [*NUMBERS, *TEXTS]


def mixed() -> Pipeline:
    columns = ColumnTransformer([("n", StandardScaler(), NUMBERS), ("t", OneHotEncoder(), TEXTS)])
    model = Pipeline([("columns", columns), ("classify", LogisticRegression(max_iter=1000))])
    return model.fit(SAMPLE[BOTH], SAMPLE["label"])


def onnx(model: Any, inputs: list[tuple[str, str, int]], *, zipmap: bool = True) -> bytes:
    """`model` as an ONNX graph with inputs of (name, kind, width)."""
    with warnings.catch_warnings():
        # skl2onnx and what it imports warn of their own dependencies.
        warnings.simplefilter("ignore")
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType, StringTensorType

        kinds = {"float": FloatTensorType, "text": StringTensorType}
        types = [(name, kinds[kind]([None, width])) for name, kind, width in inputs]
        options = None if zipmap else {id(model): {"zipmap": False}}
        return bytes(to_onnx(model, initial_types=types, options=options).SerializeToString())


def checked(workspace: Workspace, made: Candidate, sample: pd.DataFrame, expected: Any) -> None:
    """Register it, load it, and compare its answers for many rows and for one with `expected` probabilities."""
    with workspace.state.write("test") as tx:
        version = register(tx, workspace, made)
    predictor = load_predictor(workspace, version)
    many = predictor.predict(as_inputs(sample, made.signature))
    assert many.probabilities is not None
    np.testing.assert_allclose(many.probabilities, expected, atol=1e-5)
    for row, columns in enumerate(plain_rows(sample, range(5))):
        one = predictor.predict(inputs_frame(made.signature, columns))
        assert one.values[0] == many.values[row]


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("target", ["label", None])
def test_an_onnx_graph_with_an_input_for_each_column(
    workspace: Workspace, tmp_path: Path, zipmap: bool, target: str | None
) -> None:
    model = mixed()
    path = tmp_path / "model.onnx"
    # In another order than the sample's: names decide.
    path.write_bytes(
        onnx(model, [("channel", "text", 1), ("amount", "float", 1), ("visits", "float", 1)], zipmap=zipmap)
    )
    sample = SAMPLE[[*BOTH, "label"]] if target else SAMPLE[BOTH]
    made = inspect_model(workspace, "m", path, sample, target=target)
    assert (made.format, made.task) == (Format.ONNX, Task.CLASSIFICATION)
    assert made.signature.classes == ("no", "yes")
    assert bool(made.metrics) is (target is not None)
    assert any(sentence.startswith("Quality") for sentence in made.unknown)
    checked(workspace, made, sample, model.predict_proba(SAMPLE[BOTH]))


def test_an_onnx_graph_with_one_tensor_of_all_columns(workspace: Workspace, tmp_path: Path) -> None:
    model = LogisticRegression().fit(SAMPLE[NUMBERS].to_numpy(), SAMPLE["label"])
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx(model, [("X", "float", 2)]))
    sample = SAMPLE[[*NUMBERS, "label"]].assign(id="k")
    made = inspect_model(workspace, "m", path, sample, target="label", key="id")
    assert (made.signature.names, made.signature.key) == (("amount", "visits"), "id")
    checked(workspace, made, sample, model.predict_proba(SAMPLE[NUMBERS].to_numpy()))
    with pytest.raises(DataError, match="takes 2 columns, and the sample offers 3"):
        inspect_model(workspace, "m", path, sample, target="label")


def test_an_onnx_regressor_even_with_a_target_of_few_whole_numbers(workspace: Workspace, tmp_path: Path) -> None:
    model = LinearRegression().fit(SAMPLE[["amount"]].to_numpy(), SAMPLE["visits"])
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx(model, [("X", "float", 1)]))
    made = inspect_model(workspace, "m", path, SAMPLE[["amount", "visits"]], target="visits")
    assert made.task is Task.REGRESSION
    assert made.signature.classes is None
    assert "rmse" in made.metrics


def test_a_skops_file_takes_the_columns_it_was_fitted_on(workspace: Workspace, tmp_path: Path) -> None:
    model = mixed()
    path = tmp_path / "model.skops"
    skops.io.dump(model, path)
    made = inspect_model(workspace, "m", path, SAMPLE, target="label")
    assert (made.format, made.signature.names) == (Format.SKOPS, tuple(BOTH))
    assert made.artifact is not None
    assert made.sources == [f"source/{made.artifact[:12]}"]
    checked(workspace, made, SAMPLE, model.predict_proba(SAMPLE[BOTH]))
    with pytest.raises(DataError, match=r"lacks columns .* channel"):
        inspect_model(workspace, "m", path, SAMPLE.drop(columns="channel"), target="label")


def test_a_model_served_elsewhere_is_known_by_its_sample_alone(workspace: Workspace) -> None:
    made = inspect_model(workspace, "m", None, SAMPLE[[*BOTH, "label"]], target="label")
    assert (made.format, made.artifact, made.task, made.metrics) == (
        Format.EXTERNAL, None, Task.CLASSIFICATION, {},
    )  # fmt: skip
    with workspace.state.write("test") as tx:
        version = register(tx, workspace, made)
    with pytest.raises(UsageError, match="served elsewhere"):
        load_predictor(workspace, version)
    blind = inspect_model(workspace, "m", None, SAMPLE[BOTH])
    assert any("kind of its answers" in sentence for sentence in blind.unknown)


@pytest.mark.parametrize(
    ("name", "content", "error", "words"),
    [
        ("model.joblib", b"x", RefusedError, "add --trust-pickle"),
        ("model", pickle.dumps(print), RefusedError, "add --trust-pickle"),
        ("model.bin", b"x", UsageError, "no kind that can be adopted"),
        ("model.skops", b"x", DataError, "model.skops cannot be adopted: .*not a skops file"),
        ("model.onnx", b"x", DataError, "model.onnx cannot be adopted: .*not an ONNX model"),
        ("model.skops", skops.io.dumps(print), RefusedError, "does not trust: builtins.print"),
    ],
)
def test_what_cannot_be_adopted_says_why_and_leaves_nothing(
    workspace: Workspace, tmp_path: Path, name: str, content: bytes, error: type[QuarterdeckError], words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=words):
        inspect_model(workspace, "m", tmp_path / name, SAMPLE, target="label")
    assert not list(workspace.artifacts.root.rglob("*"))


def test_a_missing_file_column_or_row_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        inspect_model(workspace, "m", tmp_path / "no.onnx", SAMPLE)
    with pytest.raises(DataError, match="'truth' is missing"):
        inspect_model(workspace, "m", None, SAMPLE, target="truth")
    with pytest.raises(DataError, match="no rows"):
        inspect_model(workspace, "m", None, SAMPLE.head(0))
