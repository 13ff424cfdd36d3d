"""Calling a stored model, whatever format it is stored in. `inputs_frame` and `as_inputs` make the frame it takes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import ArtifactError, UsageError
from quarterdeck.registry.answers import Predictions, Predictor
from quarterdeck.registry.boosters import LightgbmPredictor, XgboostPredictor
from quarterdeck.registry.environment import limits_of, plan_of
from quarterdeck.registry.forest import hasten
from quarterdeck.registry.graph import GraphPredictor
from quarterdeck.registry.hosted import HostedPredictor
from quarterdeck.registry.inputs import as_inputs, inputs_frame
from quarterdeck.registry.onnx import OnnxPredictor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.storage import load_estimator
from quarterdeck.registry.version import HOSTED, Format, ModelVersion, Task
from quarterdeck.statistics.threads import stay_at_one_thread
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# Whose predict() is not the most probable class: a threshold of their own, or probabilities fitted apart.
_LABELS_OF_THEIR_OWN = frozenset({"SVC", "NuSVC", "FixedThresholdClassifier", "TunedThresholdClassifierCV"})
_BY_FORMAT: dict[Format, Callable[[bytes, Signature, Task], Predictor]] = {
    Format.ONNX: OnnxPredictor,
    Format.XGBOOST: XgboostPredictor,
    Format.LIGHTGBM: LightgbmPredictor,
}
log = logging.getLogger("quarterdeck.registry")

__all__ = ["Predictions", "Predictor", "as_inputs", "inputs_frame", "load_predictor"]


def load_predictor(workspace: Workspace, version: ModelVersion) -> Predictor:
    """Load a version's model. The thread that calls `predict` is held to one thread of computation from then on.

    Whoever loads it closes it: some have a process of their own.

    Raises:
        UsageError: nothing is stored here, since the model is served elsewhere; or its library is not installed.
        ArtifactError: the artifact is missing or damaged.
        RefusedError: the artifact holds types that Quarterdeck does not trust, or is a pickle that nobody trusted.
        ModelDownError: its own process cannot be started, or cannot load it.
    """
    if version.format is Format.EXTERNAL or version.artifact is None:
        raise UsageError(
            f"Version {version.number} is served elsewhere: nothing is stored here that could answer. "
            "Adopt the model's file to serve it from here."
        )
    signature = Signature.from_dict(version.signature)
    if version.format in HOSTED:
        hosted = HostedPredictor(plan_of(workspace, version), limits_of(workspace, version))
        try:
            hosted.take(signature, version.task)
        except BaseException:
            hosted.close()
            raise
        return hosted
    predictor = stored_predictor(workspace, version.format, version.artifact, signature, version.task)
    if not isinstance(predictor, EstimatorPredictor):
        return predictor
    graph = _load_graph(workspace, version, signature)
    return predictor if graph is None else GraphPredictor(graph, predictor, signature, version.agreement)


def stored_predictor(
    workspace: Workspace, model_format: Format, digest: str, signature: Signature, task: Task
) -> Predictor:
    """Load a model that needs no process of its own, which may have no version yet.

    Raises:
        UsageError, ArtifactError, RefusedError: as `load_predictor`.
    """
    if model_format is Format.SKOPS:
        estimator = load_estimator(workspace, digest)
        hasten(_last_step(estimator))
        return EstimatorPredictor(estimator, signature, task)
    return _BY_FORMAT[model_format](workspace.artifacts.read(digest), signature, task)


def _load_graph(workspace: Workspace, version: ModelVersion, signature: Signature) -> OnnxPredictor | None:
    if version.graph is None:
        return None
    try:
        content = workspace.artifacts.read(version.graph)
        return OnnxPredictor(content, signature, version.task, labels_from_probabilities=True)
    except ArtifactError as error:
        # The graph only answers faster: without it the estimator does.
        log.warning("version %s answers by its estimator, since its graph cannot be loaded: %s", version.number, error)
        return None


class EstimatorPredictor(Predictor):
    """A scikit-learn estimator."""

    runtime = "scikit-learn"

    def __init__(self, estimator: Any, signature: Signature, task: Task) -> None:
        probable = task is Task.CLASSIFICATION and hasattr(estimator, "predict_proba")
        self.estimator = estimator
        self.signature = signature
        self.task = task
        self._numbers = all(feature.kind == "numeric" for feature in signature.features)
        self._names: list[str] = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
        self._classes: NDArray[Any] | None = estimator.classes_ if probable else None
        last = _last_step(estimator)
        self.labels_from_probabilities = probable and type(last).__name__ not in _LABELS_OF_THEIR_OWN

    def predict(self, frame: pd.DataFrame) -> Predictions:
        # An estimator that was fitted on an array warns about names; one fitted on names wants them.
        return self._predict(frame if self._names else frame.to_numpy())

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> Predictions:
        if self._numbers and not self._names:
            return self._predict(_table(columns, self.signature.names))
        return self.predict(inputs_frame(self.signature, columns))

    def _predict(self, inputs: Any) -> Predictions:
        stay_at_one_thread()
        if self._classes is None:
            return Predictions(self.estimator.predict(inputs).reshape(-1), None)
        probabilities = self.estimator.predict_proba(inputs)
        if self.labels_from_probabilities:
            return Predictions(self._classes[probabilities.argmax(axis=1)], probabilities)
        return Predictions(self.estimator.predict(inputs), probabilities)


def _table(columns: Mapping[str, Sequence[Any]], names: Sequence[str]) -> NDArray[Any]:
    """Columns of numbers as (n, features), NaN where a value is missing: `inputs_frame` without the frame."""
    import numpy as np

    return np.array([columns[name] for name in names], dtype=np.float64).T.copy()


def _last_step(estimator: Any) -> Any:
    """What makes the answer: the end of a pipeline, the winner of a search."""
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        else:
            return estimator
