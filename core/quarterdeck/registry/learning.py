"""What a model's file and a sample of its input tell about it, format by format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import DataError
from quarterdeck.registry.answers import Predictor
from quarterdeck.registry.boosters import LightgbmBooster, LightgbmPredictor, XgboostBooster, XgboostPredictor
from quarterdeck.registry.hosted import HostedPredictor
from quarterdeck.registry.inputs import as_inputs
from quarterdeck.registry.inspection import infer_signature, package_versions, plain_classes
from quarterdeck.registry.onnx import OnnxGraph, OnnxPredictor, labels_in, mapped, probabilities_in
from quarterdeck.registry.predictor import EstimatorPredictor
from quarterdeck.registry.registration import classes_of, task_of
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.storage import read_estimator
from quarterdeck.registry.version import Format, Task

if TYPE_CHECKING:
    import pandas as pd

TRIED_ROWS = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows like those that the model gets, and what their columns are."""

    frame: pd.DataFrame
    target: str | None
    free: list[str]
    """Columns that are neither target, time nor key."""
    path: Path
    """The model's, for messages."""

    def columns(self, wanted: list[str], width: int | None) -> pd.DataFrame:
        """The columns that the model takes, in its order, and the target.

        Raises:
            DataError: some are not there, or they are not as many as the model takes.
        """
        absent = [name for name in wanted if name not in self.frame.columns]
        if absent:
            raise DataError(
                f"The sample lacks columns that {self.path} needs: {', '.join(absent)}. It has: "
                f"{', '.join(map(str, self.frame.columns))}."
            )
        if width is not None and width != len(wanted):
            raise DataError(
                f"{self.path} takes {width} columns, and the sample offers {len(wanted)}: {', '.join(wanted)}. Leave "
                "out the others, or name the target, the time and the key."
            )
        return self.frame[wanted if self.target is None or self.target in wanted else [*wanted, self.target]]


@dataclass(frozen=True, slots=True)
class Learnt:
    """What is known of a model."""

    signature: Signature
    task: Task
    unknown: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=package_versions)


def learn(model_format: Format, content: bytes, sample: Sample) -> tuple[Predictor, Learnt]:
    """The model in the bytes of a file that is loaded here, and what it tells.

    Raises:
        UsageError: the library that it needs is not installed.
        ArtifactError: they are damaged.
        RefusedError: they hold types that are not trusted.
        DataError: the sample lacks what the model needs.
    """
    if model_format is Format.SKOPS:
        return _skops(content, sample)
    if model_format is Format.ONNX:
        return _onnx(content, sample)
    booster = XgboostBooster(content) if model_format is Format.XGBOOST else LightgbmBooster(content)
    return _booster(booster, content, sample)


def learn_hosted(predictor: HostedPredictor, sample: Sample) -> Learnt:
    """What a model in a process of its own tells, and what it answers to the first rows.

    Raises:
        DataError: the sample lacks what it needs, or it cannot answer; in one line, why.
    """
    told = predictor.described
    frame = sample.columns(told["features"] or sample.free, told["width"])
    signature = infer_signature(frame, target=sample.target)
    predictor.take(signature, Task.REGRESSION)
    inputs = as_inputs(frame, signature)
    few = _answers(predictor, inputs.head(TRIED_ROWS), sample.path)
    unknown = [f"Loading it warned: {text}" for text in told["warnings"]]
    task = _task(told["task"], few, signature.classes)
    classes = None
    if task is Task.CLASSIFICATION:
        classes = _known_classes(few, signature, sample.path)
        if classes is None:
            found = {value for value in _answers(predictor, inputs, sample.path)["values"] if value is not None}
            classes = tuple(sorted(found, key=lambda value: (str(type(value)), value)))
            unknown.append("All of its classes: those that it answers on the sample are taken for all.")
    signature = replace(signature, classes=classes)
    predictor.take(signature, task)
    return Learnt(signature, task, unknown, told["packages"])


def _answers(predictor: HostedPredictor, frame: pd.DataFrame, path: Path) -> dict[str, Any]:
    try:
        return predictor.answered(frame)
    except Exception as error:  # a model's own code may raise anything
        raise unanswered(path, error) from error


def unanswered(path: Path, error: Exception) -> DataError:
    """The error for a model that fails on the first rows of the sample: better that it is told now than later."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DataError(f"{path} cannot answer the first rows of the sample: {reason.rstrip('.')}.")


def _task(told: str | None, answers: dict[str, Any], classes: tuple[Any, ...] | None) -> Task:
    if told is not None:
        return Task(told)
    values = answers["values"]
    if answers["probabilities"] is not None or answers["classes"] is not None:
        return Task.CLASSIFICATION
    if any(isinstance(value, str | bool) for value in values):
        return Task.CLASSIFICATION
    return Task.CLASSIFICATION if classes is not None and set(values) <= set(classes) else Task.REGRESSION


def _known_classes(answers: dict[str, Any], signature: Signature, path: Path) -> tuple[Any, ...] | None:
    """The classes in the order of the probabilities, as the model or else the sample's target names them."""
    import numpy as np

    named, shares = answers["classes"], answers["probabilities"]
    if named is not None:
        if any(isinstance(value, list) for value in named):
            raise DataError(f"{path} answers several targets at once. Serve one of them, by --entry module:predict.")
        return plain_classes(np.array(named, dtype=object))
    width = None if shares is None else len(shares[0])
    if signature.classes is not None and width in (None, len(signature.classes)):
        return signature.classes
    return None if width is None else tuple(range(width))


def _booster(booster: XgboostBooster | LightgbmBooster, content: bytes, sample: Sample) -> tuple[Predictor, Learnt]:
    frame = sample.columns(booster.names or sample.free, booster.width)
    signature = infer_signature(frame, target=sample.target)
    kind = XgboostPredictor if isinstance(booster, XgboostBooster) else LightgbmPredictor
    if booster.classes is None:
        signature = replace(signature, classes=None)
        return kind(content, signature, Task.REGRESSION), Learnt(signature, Task.REGRESSION)
    unknown = []
    named = signature.classes
    if named is None or len(named) != booster.classes:
        named = tuple(range(booster.classes))
        unknown.append(f"The names of its classes: a booster only numbers them, so they are 0 to {len(named) - 1}.")
    elif named != tuple(range(len(named))):
        unknown.append(
            f"Which class is which: a booster only numbers them, so the target's values are taken in their order: "
            f"{', '.join(map(str, named))}."
        )
    signature = replace(signature, classes=named)
    return kind(content, signature, Task.CLASSIFICATION), Learnt(signature, Task.CLASSIFICATION, unknown)


def _skops(content: bytes, sample: Sample) -> tuple[Predictor, Learnt]:
    estimator, warnings = read_estimator(content, str(sample.path))
    task = task_of(estimator)
    names = getattr(estimator, "feature_names_in_", None)
    # One that was fitted on an array knows only how many columns there were: the sample's own stand in.
    wanted = sample.free if names is None else [str(name) for name in names]
    frame = sample.columns(wanted, getattr(estimator, "n_features_in_", None))
    signature = replace(infer_signature(frame, target=sample.target), classes=classes_of(estimator, task))
    unknown = [f"Loading it warned: {text}" for text in warnings]
    return EstimatorPredictor(estimator, signature, task), Learnt(signature, task, unknown)


def _onnx(content: bytes, sample: Sample) -> tuple[Predictor, Learnt]:
    graph = OnnxGraph(content)
    # A graph may also take the time or the key, by name; a nameless single input is fed by the single free column.
    named = sample.free if len(sample.free) == 1 else [str(name) for name in sample.frame.columns]
    wanted = sample.free if graph.joined else graph.columns(named)
    frame = sample.columns(wanted, graph.width)
    signature = infer_signature(frame, target=sample.target)
    answers = graph.run(as_inputs(frame, signature).to_numpy(), range(len(wanted)))
    if not _classifies(answers, signature.classes):
        signature = replace(signature, classes=None)
        return OnnxPredictor(content, signature, Task.REGRESSION), Learnt(signature, Task.REGRESSION)
    classes, unknown = _onnx_classes(sample.path, answers, signature)
    signature = replace(signature, classes=classes)
    return OnnxPredictor(content, signature, Task.CLASSIFICATION), Learnt(signature, Task.CLASSIFICATION, unknown)


def _classifies(answers: Sequence[Any], classes: tuple[Any, ...] | None) -> bool:
    """Whether raw ONNX outputs are a classifier's: labels, maps, several scores a row, or one where two are known."""
    if labels_in(answers) is not None or any(mapped(answer) for answer in answers):
        return True
    scores = answers[0]
    if scores.size > len(scores):
        return True
    return classes is not None and len(classes) == 2 and bool(scores.min() >= 0 and scores.max() <= 1)


def _onnx_classes(path: Path, answers: Sequence[Any], signature: Signature) -> tuple[tuple[Any, ...], list[str]]:
    """A graph's classes in the order of its probabilities: from its maps, else the target, else the labels answered."""
    labels, scores = labels_in(answers), probabilities_in(answers, None)
    answered = [] if labels is None else sorted(set(labels.tolist()))
    named = next((tuple(answer[0]) for answer in answers if mapped(answer)), signature.classes)
    width = len(named or answered) if scores is None else scores.shape[1]
    unknown: list[str] = []
    if named is None and len(answered) == width:
        named = tuple(answered)
    elif named is None:
        named = tuple(range(width))
        unknown.append("The names of its classes: neither the graph nor the sample has them, so they are 0, 1, ...")
    if width != len(named):
        raise DataError(
            f"{path} answers {width} probabilities, and '{signature.target}' has {len(named)} values in the sample. "
            "Give a sample in which every class occurs."
        )
    strange = [label for label in answered if label not in named]
    if strange:
        raise DataError(
            f"{path} answers {strange[0]!r}, and '{signature.target}' holds {', '.join(map(repr, named))}. "
            "Give a sample whose target is written as the model writes it."
        )
    return named, unknown
