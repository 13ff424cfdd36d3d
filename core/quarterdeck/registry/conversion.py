"""A scikit-learn estimator as an ONNX graph, which answers a small request many times faster."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import QuarterdeckError
from quarterdeck.registry.agreement import Agreement, compare
from quarterdeck.registry.onnx import OnnxPredictor
from quarterdeck.registry.predictor import EstimatorPredictor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Task
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

JOINED = "inputs"
"""Name of the one tensor of a graph whose features are all numbers."""


class NotConvertibleError(QuarterdeckError):
    """There is no ONNX graph that answers as this estimator does."""


def make_graph(
    workspace: Workspace,
    model: str,
    estimator: EstimatorPredictor,
    holdout: pd.DataFrame | None,
    training: pd.DataFrame,
    *,
    seed: int = 0,
) -> tuple[str | None, dict[str, Any]]:
    """Convert an estimator and compare the two; the digest of a graph that agrees, and the Agreement as a dictionary.

    Raises:
        DataError: a frame lacks a feature, or a column does not fit it.
    """
    if not workspace.settings.model(model).convert:
        return None, asdict(Agreement(reason=f"[models.{model}] says convert = false"))
    signature, task = estimator.signature, estimator.task
    try:
        content = convert(estimator)
        graph = OnnxPredictor(content, signature, task, labels_from_probabilities=True)
    except QuarterdeckError as error:
        return None, asdict(Agreement(reason=str(error)))
    agreement = compare(estimator, graph, holdout, training, signature, task, seed=seed)
    return workspace.artifacts.put(content) if agreement.agrees else None, asdict(agreement)


def convert(predictor: EstimatorPredictor) -> bytes:
    """The bytes of an ONNX graph that answers probabilities, or numbers, as the estimator does.

    It takes one float32 tensor [rows, features] where all features are numbers and the estimator takes them as such,
    else one tensor [rows, 1] for each feature. Whether its answers agree is for `agreement` to find out.

    Raises:
        NotConvertibleError: skl2onnx has no converter for a part of it; the message names that.
    """
    signature, task = predictor.signature, predictor.task
    if task is Task.CLASSIFICATION and not predictor.labels_from_probabilities:
        raise NotConvertibleError("Its labels are not its most probable classes: it decides them by itself.")
    reason = "it has boolean features, which ONNX encoders do not take"
    for types in _input_types(signature):
        try:
            return _converted(predictor.estimator, types, task)
        except Exception as error:  # converters raise whatever they like
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    raise NotConvertibleError(f"It has no ONNX graph: {reason.rstrip('.')}.")


def _converted(estimator: Any, types: list[tuple[str, Any]], task: Task) -> bytes:
    with warnings.catch_warnings():
        # What its libraries warn of in their own dependencies is nothing that a person here could act on.
        warnings.simplefilter("ignore")
        from skl2onnx import to_onnx

        options = {"zipmap": False} if task is Task.CLASSIFICATION else None
        return bytes(to_onnx(estimator, initial_types=types, options=options).SerializeToString())


def _input_types(signature: Signature) -> list[list[tuple[str, Any]]]:
    """The inputs to try, in this order: as one tensor, and as one for each feature."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    kinds = {feature.type for feature in signature.features}
    if "boolean" in kinds:
        return []
    apart = [
        (name, StringTensorType([None, 1]) if feature.type == "text" else FloatTensorType([None, 1]))
        for name, feature in zip(signature.names, signature.features, strict=True)
    ]
    joined = [(JOINED, FloatTensorType([None, len(signature.features)]))]
    return [apart] if "text" in kinds else [joined, apart]
