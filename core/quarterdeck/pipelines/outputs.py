"""What steps return, in the artifact store: tables as Parquet, estimators as skops, arrays as npy, the rest as JSON."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.pipelines.step import PipelineError
from quarterdeck.registry import storage
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

PARQUET, SKOPS, NPY, JSON, FOLDER = "parquet", "skops", "npy", "json", "folder"


@dataclass(frozen=True, slots=True)
class Stored:
    digest: str
    type: str
    """`parquet`, `skops`, `npy`, `json`, or `folder`: a JSON document with the digest of each file."""


def store(workspace: Workspace, value: Any) -> Stored:
    """Store what a step returned.

    Raises:
        PipelineError: there is no safe way to store such a value; the message says what could be returned instead.
    """
    import numpy as np
    import pandas as pd
    from sklearn.base import BaseEstimator

    if isinstance(value, pd.DataFrame):
        return Stored(workspace.artifacts.put(_table_bytes(value)), PARQUET)
    if isinstance(value, BaseEstimator):
        return Stored(storage.store_estimator(workspace, value), SKOPS)
    if isinstance(value, np.ndarray):
        return Stored(workspace.artifacts.put(_array_bytes(value)), NPY)
    if isinstance(value, np.generic):
        value = value.item()
    try:
        text = json.dumps(value, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise PipelineError(
            f"it returned a {type(value).__module__}.{type(value).__qualname__}, which cannot be stored. Return a "
            "DataFrame, a scikit-learn estimator, a numpy array, or plain values (numbers, texts, lists, dictionaries)."
        ) from error
    return Stored(workspace.artifacts.put(text.encode()), JSON)


def store_folder(workspace: Workspace, folder: Path) -> Stored:
    """Store every file that a command left in `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digests = {str(path.relative_to(folder)): workspace.artifacts.put_file(path) for path in files}
    return Stored(workspace.artifacts.put(json.dumps(digests, sort_keys=True).encode()), FOLDER)


def as_plain(values: dict[str, Any]) -> dict[str, Any]:
    """Parameters as JSON keeps them: what is no plain value becomes its text."""
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def _table_bytes(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa

    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer, engine="pyarrow")
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise PipelineError(f"it returned a table that cannot be stored as Parquet: {error}") from error
    return buffer.getvalue()


def _array_bytes(array: Any) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    try:
        np.save(buffer, array, allow_pickle=False)
    except ValueError as error:
        raise PipelineError(
            "it returned an array of Python objects, which cannot be stored. Return an array of numbers or texts."
        ) from error
    return buffer.getvalue()
