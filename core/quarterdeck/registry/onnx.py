"""Calling an ONNX graph by ONNX Runtime, whichever of the usual shapes its inputs and outputs have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import ArtifactError, DataError
from quarterdeck.registry.answers import Predictions, Predictor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

_NUMBERS = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(bool)": "bool",
}
TEXT = "tensor(string)"


class OnnxGraph:
    """A loaded graph: one input tensor for each feature, or one of all of them."""

    def __init__(self, content: bytes) -> None:
        """Load the bytes of an .onnx file, for one thread.

        Raises:
            ArtifactError: they are not an ONNX model, or one that this ONNX Runtime cannot run.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no base class of their own
            raise ArtifactError(
                f"This is not an ONNX model that can be loaded: {_first_line(error).rstrip('.')}. Export it again."
            ) from error
        inputs = self._session.get_inputs()
        self.inputs: list[tuple[str, str]] = [(node.name, node.type) for node in inputs]
        shape = inputs[0].shape if len(inputs) == 1 else []
        self.joined = len(shape) == 2 and shape[1] != 1
        """All features are columns of one tensor."""
        self.width: int | None = shape[1] if self.joined and isinstance(shape[1], int) else None
        """How many features that tensor has; None where the graph does not say."""
        self._wanted: list[str] | None = None
        for name, kind in self.inputs:
            if kind not in _NUMBERS and kind != TEXT:
                raise ArtifactError(f"Input '{name}' of the ONNX model is a {kind}: only plain tensors can be fed.")

    def leave_out_labels(self) -> None:
        """Ask it for no more outputs than those of floats, if there are any."""
        floats = [node.name for node in self._session.get_outputs() if _NUMBERS.get(node.type, "")[:3] == "flo"]
        self._wanted = floats or None

    def columns(self, known: Sequence[str]) -> list[str]:
        """For each input, the one of the `known` columns that feeds it: the same name, but for what ONNX forbids.

        Raises:
            DataError: an input finds none; the message names it.
        """
        if len(self.inputs) == len(known) == 1:
            return list(known)
        by_name = {re.sub(r"\W", "_", column): column for column in known} | {column: column for column in known}
        for name, _ in self.inputs:
            if name not in by_name:
                raise DataError(
                    f"The ONNX model wants an input '{name}', and there is no such column. There are: "
                    f"{', '.join(known)}."
                )
        return [by_name[name] for name, _ in self.inputs]

    def run(self, values: NDArray[Any], positions: Sequence[int]) -> list[Any]:
        """The graph's raw outputs for `values` (n, features), where `positions` says which column feeds which input.

        Raises:
            DataError: it cannot take these values.
        """
        if self.joined:
            name, kind = self.inputs[0]
            feed = {name: _tensor(values, kind)}
        else:
            feed = {
                name: _tensor(values[:, position : position + 1], kind)
                for (name, kind), position in zip(self.inputs, positions, strict=True)
            }
        return self._run(feed)

    def run_columns(self, columns: Sequence[Sequence[Any]], positions: Sequence[int]) -> list[Any]:
        """As `run`, for one sequence of plain values for each feature, None where missing: without a frame between.

        Raises:
            DataError: it cannot take these values.
        """
        import numpy as np

        if self.joined:
            name, kind = self.inputs[0]
            table = np.array(columns, dtype=np.float64).T
            return self._run({name: _tensor(table, kind)})
        feed = {}
        for (name, kind), position in zip(self.inputs, positions, strict=True):
            column = np.array(columns[position], dtype=object if kind == TEXT else np.float64)
            feed[name] = _tensor(column.reshape(-1, 1), kind)
        return self._run(feed)

    def _run(self, feed: dict[str, NDArray[Any]]) -> list[Any]:
        import numpy as np

        try:
            answers: list[Any] = self._session.run(self._wanted, feed)
        except Exception as error:  # as above
            raise DataError(f"The ONNX model cannot take these inputs: {_first_line(error)}") from error
        if any(
            isinstance(answer, np.ndarray) and answer.dtype.kind == "f" and np.count_nonzero(np.isnan(answer))
            for answer in answers
        ):
            # A graph without an imputer lets a missing value through, and its answer would be a guess.
            raise DataError("The ONNX model has no answer to these inputs (NaN): most likely a missing value.")
        return answers


class OnnxPredictor(Predictor):
    """A graph that answers as the signature says."""

    runtime = "onnxruntime"

    def __init__(
        self, content: bytes, signature: Signature, task: Task, *, labels_from_probabilities: bool = False
    ) -> None:
        """`labels_from_probabilities`: the most probable class is the label, whatever labels the graph has."""
        self._graph = OnnxGraph(content)
        self._names = signature.names
        self._labels_from_probabilities = labels_from_probabilities
        if labels_from_probabilities:
            self._graph.leave_out_labels()
        self._classes = signature.classes if task is Task.CLASSIFICATION else None
        self._class_values: NDArray[Any] | None = None if self._classes is None else _array_of(self._classes)
        self._classification = task is Task.CLASSIFICATION
        matched = [] if self._graph.joined else self._graph.columns(signature.names)
        self._positions = [signature.names.index(column) for column in matched]

    def predict(self, frame: pd.DataFrame) -> Predictions:
        return self._read(self._graph.run(frame.to_numpy(), self._positions))

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> Predictions:
        return self._read(self._graph.run_columns([columns[name] for name in self._names], self._positions))

    def _read(self, answers: list[Any]) -> Predictions:
        import numpy as np

        if not self._classification:
            return Predictions(np.asarray(answers[0], dtype=np.float64).reshape(-1), None)
        probabilities = probabilities_in(answers, self._classes)
        labels = None if self._labels_from_probabilities else labels_in(answers)
        if labels is None:
            if probabilities is None or self._class_values is None:
                raise ArtifactError("The ONNX model answers neither labels nor a probability for each known class.")
            labels = self._class_values[probabilities.argmax(axis=1)]
        return Predictions(labels, probabilities)


def labels_in(answers: Sequence[Any]) -> NDArray[Any] | None:
    """The (n,) labels among a classifier's outputs: the one that holds whole numbers, booleans or text."""
    import numpy as np

    for answer in answers:
        if isinstance(answer, np.ndarray) and answer.dtype.kind in "iubOU":
            return answer.reshape(-1)
    return None


def probabilities_in(answers: Sequence[Any], classes: Sequence[Any] | None) -> NDArray[np.float64] | None:
    """The (n, classes) probabilities among a classifier's outputs, as a tensor or as a map for each row."""
    import numpy as np

    for answer in answers:
        if mapped(answer):
            order = list(answer[0]) if classes is None else classes
            return np.array([[row[label] for label in order] for row in answer], dtype=np.float64)
        if isinstance(answer, np.ndarray) and answer.dtype.kind == "f":
            table = answer.reshape(len(answer), -1).astype(np.float64)
            if table.shape[1] == 1 and (classes is None or len(classes) == 2):
                return np.hstack([1.0 - table, table])
            return table if classes is None or table.shape[1] == len(classes) else None
    return None


def mapped(answer: Any) -> bool:
    """Whether an output is a list of maps from label to probability (skl2onnx's ZipMap)."""
    return isinstance(answer, list) and bool(answer) and isinstance(answer[0], dict)


def _tensor(values: NDArray[Any], kind: str) -> NDArray[Any]:
    """`values` as the type that an input wants; a missing text is the empty one, as skl2onnx has it."""
    import numpy as np

    if kind != TEXT:
        # By way of float64, since NaN among objects has no whole number; a graph of integers has none missing.
        numbers = np.ascontiguousarray(values, dtype=np.float64)
        if _NUMBERS[kind][:3] not in ("flo",) and np.isnan(numbers).any():
            raise DataError(f"The ONNX model takes {_NUMBERS[kind]} here, which has no missing value.")
        return numbers.astype(_NUMBERS[kind])
    texts = ["" if value is None or value != value else str(value) for value in values.flat]
    return np.array(texts, dtype=object).reshape(values.shape)


def _array_of(values: Sequence[Any]) -> NDArray[Any]:
    import numpy as np

    return np.array(values)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
