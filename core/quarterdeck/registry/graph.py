"""A converted graph that serves in its estimator's place, and leaves to it the rows that only it answers rightly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quarterdeck.registry.answers import Predictions, Predictor
from quarterdeck.registry.onnx import OnnxPredictor
from quarterdeck.registry.signature import Signature

if TYPE_CHECKING:
    import pandas as pd

    from quarterdeck.registry.predictor import EstimatorPredictor


class GraphPredictor(Predictor):
    """Answers by the graph, but for requests with a value in which it and its estimator are known to differ."""

    runtime = "onnxruntime"

    def __init__(
        self, graph: OnnxPredictor, estimator: EstimatorPredictor, signature: Signature, agreement: Mapping[str, Any]
    ) -> None:
        """`agreement`: a `registry.agreement.Agreement` as a dictionary."""
        self._graph = graph
        self._estimator = estimator
        self._missing = (*agreement["refuses_missing"], *agreement["left_missing"])
        unseen = {*agreement["refuses_unseen"], *agreement["left_unseen"]}
        self._unseen = {
            feature.name: {None, *(feature.categories or ())}
            for feature in signature.features
            if feature.name in unseen
        }

    def predict(self, frame: pd.DataFrame) -> Predictions:
        for name in self._missing:
            if frame[name].isna().any():
                return self._estimator.predict(frame)
        for name, known in self._unseen.items():
            if not frame[name].dropna().isin(known).all():
                return self._estimator.predict(frame)
        return self._graph.predict(frame)

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> Predictions:
        for name in self._missing:
            if None in columns[name]:
                return self._estimator.predict_columns(columns)
        for name, known in self._unseen.items():
            if not known.issuperset(columns[name]):
                return self._estimator.predict_columns(columns)
        return self._graph.predict_columns(columns)
