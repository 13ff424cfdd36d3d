"""Adopting a model that was made elsewhere: what can be learnt from its file and a sample of its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import ArtifactError, DataError, UsageError
from quarterdeck.registry.assessment import Assessment, assess
from quarterdeck.registry.conversion import make_graph
from quarterdeck.registry.inputs import as_inputs, missing_column
from quarterdeck.registry.inspection import example_rows, infer_signature, package_versions
from quarterdeck.registry.onnx import OnnxGraph, OnnxPredictor, labels_in, mapped, probabilities_in
from quarterdeck.registry.predictor import EstimatorPredictor, Predictor
from quarterdeck.registry.registration import Candidate, classes_of, store_reference, task_of
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.storage import read_estimator
from quarterdeck.registry.version import Format, Task
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

TRIED_ROWS = 10
PICKLED = (".joblib", ".pkl", ".pickle")
NOT_HELD_OUT = "Quality on new data: the metrics are on the sample, which may hold rows that the model was trained on."


def inspect_model(
    workspace: Workspace,
    name: str,
    path: Path | None,
    sample: pd.DataFrame,
    *,
    target: str | None = None,
    time: str | None = None,
    key: str | None = None,
) -> Candidate:
    """Store the model file and gather what a version of the model `name` holds; without a path it is served elsewhere.

    `sample` holds rows of its input: they become the reference of monitors. With the `target` among them, the
    model is judged on them too. What cannot be learnt is listed in `unknown`. Outside any transaction.

    Raises:
        UsageError: no such file, or of a kind that is not loaded.
        DataError: the file is damaged, or the sample lacks what the model needs.
        RefusedError: it holds types that are not trusted.
    """
    for column in (target, time, key):
        if column is not None and column not in sample.columns:
            raise missing_column(column, sample.columns)
    if sample.empty:
        raise DataError("The sample has no rows. Give some rows of the model's input, a few hundred or more.")
    sample = sample.reset_index(drop=True)
    if path is None:
        return _external(workspace, name, sample, target, time, key)
    content = _content(path)
    free = [str(column) for column in sample.columns if column not in (target, time, key)]
    model_format, read = (Format.SKOPS, _skops) if path.suffix.lower() == ".skops" else (Format.ONNX, _onnx)
    try:
        predictor, signature, task, unknown = read(path, content, sample, free, target)
    except ArtifactError as error:
        raise DataError(f"{path} cannot be adopted: {error}") from error
    signature = replace(signature, time=time, key=key)
    _try(predictor, as_inputs(sample.head(TRIED_ROWS), signature), path)
    if target is None:
        assessment = Assessment({}, {})
        unknown.append("Quality: the sample has no target, so there is nothing for a gate to judge.")
    else:
        assessment = assess(predictor, sample, signature, task)
        unknown.append(NOT_HELD_OUT)
    digest = workspace.artifacts.put(content)
    candidate = _candidate(workspace, name, model_format, task, digest, signature, sample, assessment, unknown)
    if not isinstance(predictor, EstimatorPredictor):
        return candidate
    graph, agreement = make_graph(workspace, name, predictor, None, sample)
    return replace(candidate, graph=graph, agreement=agreement)


def _external(
    workspace: Workspace, name: str, sample: pd.DataFrame, target: str | None, time: str | None, key: str | None
) -> Candidate:
    signature = infer_signature(sample, target=target, time=time, key=key)
    unknown = ["The model itself: it is served elsewhere, so it cannot be run, judged or replayed here."]
    if target is None:
        unknown.append("The kind of its answers: the sample has no target, so they are taken for numbers.")
    task = Task.REGRESSION if signature.classes is None else Task.CLASSIFICATION
    nothing = Assessment({}, {})
    return _candidate(workspace, name, Format.EXTERNAL, task, None, signature, sample, nothing, unknown)


def _candidate(
    workspace: Workspace,
    name: str,
    model_format: Format,
    task: Task,
    digest: str | None,
    signature: Signature,
    sample: pd.DataFrame,
    assessment: Assessment,
    unknown: list[str],
) -> Candidate:
    reference, profile = store_reference(workspace, sample, signature)
    return Candidate(
        model=name,
        format=model_format,
        task=task,
        artifact=digest,
        signature=signature,
        example=example_rows(sample[list(signature.names)]),
        reference=reference,
        profile=profile,
        metrics=assessment.metrics,
        importances=assessment.importances,
        environment=package_versions(),
        unknown=[*unknown, "Its training data: the sample stands in for it as the reference of monitors."],
        sources=[f"source/{digest[:12]}"] if digest else [],
    )


def _content(path: Path) -> bytes:
    if path.is_dir():
        raise UsageError(f"{path} is a directory. Name a .skops or .onnx file.")
    if not path.exists():
        raise UsageError(f"{path} does not exist. Check the path.")
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        raise UsageError(
            f"{path} is a pickle: loading it runs whatever it contains, so it may be loaded only in a process of its "
            "own, and that is not supported yet. Convert it where you trust it: skops.io.dump(model, 'model.skops')."
        )
    if suffix not in (".skops", ".onnx"):
        raise UsageError(f"{path} is of no kind that can be adopted: a .skops or .onnx file is. Export it as one.")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error


def _skops(
    path: Path, content: bytes, sample: pd.DataFrame, free: list[str], target: str | None
) -> tuple[Predictor, Signature, Task, list[str]]:
    estimator, warnings = read_estimator(content, str(path))
    task = task_of(estimator)
    names = getattr(estimator, "feature_names_in_", None)
    # One that was fitted on an array knows only how many columns there were: the sample's own stand in.
    wanted = free if names is None else [str(name) for name in names]
    frame = _chosen(path, sample, wanted, getattr(estimator, "n_features_in_", len(wanted)), target)
    signature = replace(infer_signature(frame, target=target), classes=classes_of(estimator, task))
    return (
        EstimatorPredictor(estimator, signature, task),
        signature,
        task,
        [f"Loading it warned: {text}" for text in warnings],
    )


def _onnx(
    path: Path, content: bytes, sample: pd.DataFrame, free: list[str], target: str | None
) -> tuple[Predictor, Signature, Task, list[str]]:
    graph = OnnxGraph(content)
    # A graph may also take the time or the key, by name; a nameless single input is fed by the single free column.
    named = free if len(free) == 1 else [str(name) for name in sample.columns]
    wanted = free if graph.joined else graph.columns(named)
    frame = _chosen(path, sample, wanted, graph.width or len(wanted), target)
    signature = infer_signature(frame, target=target)
    answers = graph.run(as_inputs(frame, signature).to_numpy(), range(len(wanted)))
    if not _classifies(answers, signature.classes):
        signature = replace(signature, classes=None)
        return OnnxPredictor(content, signature, Task.REGRESSION), signature, Task.REGRESSION, []
    classes, unknown = _onnx_classes(path, answers, signature)
    signature = replace(signature, classes=classes)
    return OnnxPredictor(content, signature, Task.CLASSIFICATION), signature, Task.CLASSIFICATION, unknown


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


def _chosen(path: Path, sample: pd.DataFrame, wanted: list[str], width: int, target: str | None) -> pd.DataFrame:
    """The columns of the sample that the model takes, in its order, and the target."""
    absent = [name for name in wanted if name not in sample.columns]
    if absent:
        raise DataError(
            f"The sample lacks columns that {path} needs: {', '.join(absent)}. It has: "
            f"{', '.join(map(str, sample.columns))}."
        )
    if width != len(wanted):
        raise DataError(
            f"{path} takes {width} columns, and the sample offers {len(wanted)}: {', '.join(wanted)}. Leave out the "
            "others, or name the target, the time and the key."
        )
    return sample[wanted if target is None or target in wanted else [*wanted, target]]


def _try(predictor: Predictor, few: pd.DataFrame, path: Path) -> None:
    """Ask for a first answer: better that it fails now than in the gateway."""
    try:
        predictor.predict(few)
    except (ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path} cannot answer the first rows of the sample: {reason}.") from error
