"""Adopting a model that was made elsewhere: what can be learnt from its file and a sample of its input."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.errors import ArtifactError, DataError, RefusedError, UsageError
from quarterdeck.registry.answers import Predictor
from quarterdeck.registry.assessment import NOTHING, Assessment, assess
from quarterdeck.registry.conversion import make_graph
from quarterdeck.registry.detection import detect
from quarterdeck.registry.environment import find_python, limits_for
from quarterdeck.registry.holdout import store_holdout
from quarterdeck.registry.hosted import HostedPredictor, ModelDownError, Plan
from quarterdeck.registry.inputs import as_inputs, missing_column
from quarterdeck.registry.inspection import example_rows, infer_signature
from quarterdeck.registry.learning import TRIED_ROWS, Learnt, Sample, learn, learn_hosted, unanswered
from quarterdeck.registry.packing import pack, unpacked
from quarterdeck.registry.predictor import EstimatorPredictor
from quarterdeck.registry.registration import Candidate, store_reference
from quarterdeck.registry.rehearsal import survive_reading
from quarterdeck.registry.version import HOSTED, PICKLED, Format, Task
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

NOT_HELD_OUT = "Quality on new data: the metrics are on the sample, which may hold rows that the model was trained on."


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a person says of a model that needs a process of its own."""

    python: Path | None = None
    """A virtual environment's folder, or an interpreter; None is Quarterdeck's own."""
    entry: str | None = None
    """`module:predict`, where the model is code."""
    trust_pickle: bool = False
    """The file may be unpickled, whatever that runs."""


def inspect_model(
    workspace: Workspace,
    name: str,
    path: Path | None,
    sample: pd.DataFrame,
    *,
    target: str | None = None,
    time: str | None = None,
    key: str | None = None,
    surroundings: Surroundings | None = None,
) -> Candidate:
    """Store the model file and gather what a version of the model `name` holds; without a path it is served elsewhere.

    `sample` holds rows of its input: they become the reference of monitors. With the `target` among them, the
    model is judged on them too. What cannot be learnt is listed in `unknown`. Outside any transaction.

    Raises:
        UsageError: no such file, or of a kind that is not loaded; a library or an environment is not there.
        DataError: the file is damaged or cannot answer, or the sample lacks what the model needs.
        RefusedError: it holds types that are not trusted, or is a pickle that is not.
    """
    for column in (target, time, key):
        if column is not None and column not in sample.columns:
            raise missing_column(column, sample.columns)
    if sample.empty:
        raise DataError("The sample has no rows. Give some rows of the model's input, a few hundred or more.")
    sample = sample.reset_index(drop=True)
    if path is None:
        return _external(workspace, name, sample, target, time, key)
    free = [str(column) for column in sample.columns if column not in (target, time, key)]
    given = surroundings or Surroundings()
    model_format = detect(path, given.entry)
    known = Sample(sample, target, free, path)
    if model_format in HOSTED:
        predictor, learnt, digest = _in_process(workspace, name, model_format, known, given)
    else:
        predictor, learnt, content = _here(model_format, known, given)
    with closing(predictor):
        learnt = replace(learnt, signature=replace(learnt.signature, time=time, key=key))
        assessment = _assessed(predictor, learnt, known)
        if model_format not in HOSTED:
            digest = workspace.artifacts.put(content)
        candidate = _candidate(workspace, name, model_format, learnt, sample, assessment, digest)
        if model_format in HOSTED:
            trusted = digest if model_format in PICKLED else None
            return replace(candidate, python=find_python(given.python), entry=given.entry, trusted=trusted)
        if not isinstance(predictor, EstimatorPredictor):
            return candidate
        graph, agreement = make_graph(workspace, name, predictor, None, sample)
        return replace(candidate, graph=graph, agreement=agreement)


def _here(model_format: Format, sample: Sample, given: Surroundings) -> tuple[Predictor, Learnt, bytes]:
    """A model that the gateway itself loads, what it tells, and its bytes."""
    if given.python is not None or given.trust_pickle:
        raise UsageError(
            f"{sample.path} ({model_format}) is loaded by the gateway itself: --python and --trust-pickle are for "
            "pickles, MLflow folders and code."
        )
    try:
        content = sample.path.read_bytes()
        survive_reading(model_format, sample.path)
        return *learn(model_format, content, sample), content
    except ArtifactError as error:
        raise DataError(f"{sample.path} cannot be adopted: {error}") from error
    except OSError as error:
        raise UsageError(f"{sample.path} cannot be read: {error.strerror}.") from error


def _in_process(
    workspace: Workspace, name: str, model_format: Format, sample: Sample, given: Surroundings
) -> tuple[Predictor, Learnt, str]:
    """A model in a process of its own, what it tells, and the digest of what was stored: that is what was loaded."""
    path, python = sample.path, find_python(given.python)
    if model_format in PICKLED and not given.trust_pickle:
        raise RefusedError(
            f"{path} holds a pickle: loading it runs whatever it contains, if in a process of its own. If you trust "
            "who made it, add --trust-pickle; the choice is bound to its bytes and written into the event log."
        )
    if model_format is Format.PICKLE:
        digest = workspace.artifacts.put_file(path)
        place = workspace.artifacts.path(digest)
    else:
        digest = pack(workspace, path)
        place = unpacked(workspace, digest)
    plan = Plan(path.name, python, place, model_format, given.entry)
    try:
        predictor = HostedPredictor(plan, limits_for(workspace, name))
    except ModelDownError as error:
        hint = "" if given.python else " If it was made in another environment, name that: --python VENV."
        raise DataError(f"{path} cannot be adopted: {error}{hint}") from error
    try:
        learnt = learn_hosted(predictor, sample)
    except BaseException:
        predictor.close()
        raise
    if given.python is None:
        learnt.unknown.append(f"Its environment: none was named, so it runs with the packages of {python}.")
    return predictor, learnt, digest


def _assessed(predictor: Predictor, learnt: Learnt, sample: Sample) -> Assessment:
    """How good it is on the sample, where that has the truth; what that does not tell is added to the unknown."""
    try:
        predictor.predict(as_inputs(sample.frame.head(TRIED_ROWS), learnt.signature))
    except (ValueError, TypeError, AttributeError, IndexError, KeyError, ModelDownError) as error:
        raise unanswered(sample.path, error) from error
    if sample.target is None:
        learnt.unknown.append("Quality: the sample has no target, so there is nothing for a gate to judge.")
        return NOTHING
    learnt.unknown.append(NOT_HELD_OUT)
    return assess(predictor, sample.frame, learnt.signature, learnt.task)


def _external(
    workspace: Workspace, name: str, sample: pd.DataFrame, target: str | None, time: str | None, key: str | None
) -> Candidate:
    signature = infer_signature(sample, target=target, time=time, key=key)
    unknown = ["The model itself: it is served elsewhere, so it cannot be run, judged or replayed here."]
    if target is None:
        unknown.append("The kind of its answers: the sample has no target, so they are taken for numbers.")
    task = Task.REGRESSION if signature.classes is None else Task.CLASSIFICATION
    learnt = Learnt(signature, task, unknown)
    return _candidate(workspace, name, Format.EXTERNAL, learnt, sample, NOTHING, None)


def _candidate(
    workspace: Workspace,
    name: str,
    model_format: Format,
    learnt: Learnt,
    sample: pd.DataFrame,
    assessment: Assessment,
    digest: str | None,
) -> Candidate:
    reference, profile = store_reference(workspace, sample, learnt.signature)
    stands_in = "Its training data: the sample stands in for it as the reference of monitors."
    return Candidate(
        model=name,
        format=model_format,
        task=learnt.task,
        artifact=digest,
        signature=learnt.signature,
        example=example_rows(sample[list(learnt.signature.names)]),
        reference=reference,
        holdout=None if assessment.holdout is None else store_holdout(workspace, assessment.holdout),
        profile=profile,
        metrics=assessment.metrics,
        importances=assessment.importances,
        environment=learnt.environment,
        unknown=[*learnt.unknown, stands_in],
        sources=[f"source/{digest[:12]}"] if digest else [],
    )
