"""What steps return comes back from the store as it was, or is refused with a way out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from quarterdeck.pipelines import outputs
from quarterdeck.pipelines.step import PipelineError
from quarterdeck.workspace import Workspace
from tests.stored import load


def test_a_table_keeps_types_index_and_gaps(workspace: Workspace) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"], "c": [0.5, np.nan, 2.0]}).loc[[0, 2]]
    stored = outputs.store(workspace, frame)
    assert stored.type == "parquet"
    pd.testing.assert_frame_equal(load(workspace, stored.digest, stored.type), frame)


def test_an_array_comes_back(workspace: Workspace) -> None:
    stored = outputs.store(workspace, np.arange(6.0).reshape(2, 3))
    assert stored.type == "npy"
    assert load(workspace, stored.digest, stored.type).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_an_estimator_comes_back_and_predicts(workspace: Workspace) -> None:
    stored = outputs.store(workspace, LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0]))
    assert stored.type == "skops"
    assert load(workspace, stored.digest, stored.type).predict([[2.0]]) == pytest.approx([5.0])


@pytest.mark.parametrize("value", [None, 3, 0.5, "text", [1, "a", None], {"a": [1.5]}, True])
def test_plain_values_come_back(workspace: Workspace, value: Any) -> None:
    stored = outputs.store(workspace, value)
    assert stored.type == "json"
    assert load(workspace, stored.digest, stored.type) == value


def test_numpy_scalars_and_nan_are_plain_values(workspace: Workspace) -> None:
    assert load(workspace, outputs.store(workspace, np.float64(0.5)).digest, "json") == 0.5
    assert math.isnan(load(workspace, outputs.store(workspace, math.nan).digest, "json"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "builtins.object"),
        ({1, 2}, "builtins.set"),
        (pd.Series([1]), "Series"),
        (np.array([object()]), "Python objects"),
        (pd.DataFrame({"a": [1, "x", object()]}), "Parquet"),
    ],
    ids=["object", "set", "series", "objects", "mixed table"],
)
def test_what_cannot_be_stored_is_refused_by_its_type(workspace: Workspace, value: Any, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        outputs.store(workspace, value)


def test_a_folder_is_stored_file_by_file(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "left" / "model").mkdir(parents=True)
    (tmp_path / "left" / "model" / "m.onnx").write_bytes(b"graph")
    stored = outputs.store_folder(workspace, tmp_path / "left")
    files = load(workspace, stored.digest, stored.type)
    assert workspace.artifacts.read(files["model/m.onnx"]) == b"graph"
