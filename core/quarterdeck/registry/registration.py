"""Registering: what is known about a new version is gathered first, then written in one short transaction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, select

from quarterdeck import lineage
from quarterdeck.errors import DataError, UsageError
from quarterdeck.registry.gate import judge
from quarterdeck.registry.model import Model
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Format, ModelVersion, Task, next_number
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

REFERENCE_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version that has no number yet. The fields are those of `ModelVersion`."""

    model: str
    format: Format
    task: Task
    artifact: str | None
    signature: Signature
    example: list[dict[str, Any]]
    reference: str | None
    profile: list[dict[str, Any]]
    metrics: dict[str, float]
    importances: dict[str, float]
    environment: dict[str, str]
    holdout: str | None = None
    graph: str | None = None
    agreement: dict[str, Any] = field(default_factory=dict)
    python: str | None = None
    entry: str | None = None
    trusted: str | None = None
    unknown: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    """What it was made from, as lineage references: `data/payments@1`, `run/3`."""


def register(
    tx: Session, workspace: Workspace, candidate: Candidate, *, actor: str | None = None, run_id: int | None = None
) -> ModelVersion:
    """Judge `candidate` by its model's gate and give it the model's next number, in the caller's transaction."""
    now = workspace.now()
    model = tx.exec(select(Model).where(Model.name == candidate.model)).first()
    if model is None:
        model = Model.model_validate({"name": candidate.model, "created_at": now})
        tx.add(model)
        tx.flush()
    verdict, checks = judge(workspace.settings.model(candidate.model).gate, candidate.metrics)
    assert model.id is not None
    version = ModelVersion(
        model_id=model.id,
        number=next_number(tx, model),
        format=candidate.format,
        task=candidate.task,
        artifact=candidate.artifact,
        graph=candidate.graph,
        agreement=candidate.agreement,
        python=candidate.python,
        entry=candidate.entry,
        trusted=candidate.trusted,
        signature=candidate.signature.as_dict(),
        example=candidate.example,
        reference=candidate.reference,
        holdout=candidate.holdout,
        profile=candidate.profile,
        metrics=candidate.metrics,
        importances=candidate.importances,
        gate=verdict,
        gate_checks=[asdict(check) for check in checks],
        run_id=run_id,
        environment=candidate.environment,
        unknown=candidate.unknown,
        created_by=actor or workspace.actor,
        created_at=now,
    )
    tx.add(version)
    tx.flush()
    subject = f"version/{candidate.model}@{version.number}"
    for source in candidate.sources:
        lineage.connect(tx, source, subject)
    if candidate.trusted is not None:
        data: dict[str, Any] = {"artifact": candidate.trusted, "version": subject, "python": candidate.python}
        workspace.record(tx, "artifact.trusted", f"artifact/{candidate.trusted[:12]}", data, actor=actor)
    data = {"gate": str(verdict), "metrics": candidate.metrics}
    workspace.record(tx, "version.registered", subject, data, actor=actor)
    return version


def make_candidate(
    workspace: Workspace,
    model: str,
    estimator: Any,
    training: pd.DataFrame,
    holdout: pd.DataFrame | None = None,
    *,
    target: str,
    time: str | None = None,
    key: str | None = None,
    exclude: Sequence[str] = (),
    extra_metrics: Mapping[str, float] | None = None,
    sources: Sequence[str] = (),
    seed: int = 0,
) -> Candidate:
    """Store a fitted scikit-learn estimator and gather what a version holds. Outside any transaction.

    The features are the columns that the estimator was fitted on, where it knows them; else all of `training` but
    target, time, key and `exclude`. `extra_metrics` win over those that are measured on `holdout`.

    Raises:
        UsageError: `estimator` is no fitted predictor.
        RefusedError: it cannot be stored safely.
        DataError: a frame does not fit it.
    """
    from quarterdeck.registry.assessment import NOTHING, assess
    from quarterdeck.registry.conversion import make_graph
    from quarterdeck.registry.holdout import store_holdout
    from quarterdeck.registry.inspection import example_rows, package_versions
    from quarterdeck.registry.predictor import EstimatorPredictor
    from quarterdeck.registry.storage import store_estimator

    task = task_of(estimator)
    frame, signature = _learnt_from(estimator, training, target=target, time=time, key=key, exclude=exclude)
    signature = replace(signature, classes=classes_of(estimator, task))
    digest = store_estimator(workspace, estimator)
    predictor = EstimatorPredictor(estimator, signature, task)
    graph, agreement = make_graph(workspace, model, predictor, holdout, frame, seed=seed)
    reference, profile = store_reference(workspace, frame, signature, seed=seed)
    assessment = NOTHING if holdout is None else assess(predictor, holdout, signature, task, seed=seed)
    extra = {name: float(value) for name, value in (extra_metrics or {}).items() if math.isfinite(value)}
    return Candidate(
        model=model,
        format=Format.SKOPS,
        task=task,
        artifact=digest,
        signature=signature,
        example=example_rows(frame[list(signature.names)]),
        reference=reference,
        holdout=None if assessment.holdout is None else store_holdout(workspace, assessment.holdout, seed=seed),
        profile=profile,
        metrics=assessment.metrics | extra,
        importances=assessment.importances,
        environment=package_versions(),
        graph=graph,
        agreement=agreement,
        unknown=["Quality: there was no holdout."] if holdout is None else [],
        sources=list(sources),
    )


def _learnt_from(
    estimator: Any, training: pd.DataFrame, *, target: str, time: str | None, key: str | None, exclude: Sequence[str]
) -> tuple[pd.DataFrame, Signature]:
    """The columns of `training` that a version has to do with, and its signature but for the classes."""
    from quarterdeck.registry.inspection import infer_signature

    fitted_on = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    apart = [name for name in (time, key) if name in training.columns and name not in fitted_on]
    frame = _relevant(estimator, training, {target, *apart}, exclude)
    signature = infer_signature(frame.drop(columns=apart), target=target)
    # The event time and the key are inputs of a request even where the training frame has left them out.
    return frame, replace(signature, time=time, key=key)


def task_of(estimator: Any) -> Task:
    """What kind of answer a fitted estimator gives.

    Raises:
        UsageError: it is neither a classifier nor a regressor, or not fitted.
    """
    from sklearn.base import is_classifier, is_regressor
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    name = type(estimator).__name__
    try:
        check_is_fitted(estimator)
        if is_classifier(estimator):
            return Task.CLASSIFICATION
        if is_regressor(estimator):
            return Task.REGRESSION
    except NotFittedError as error:  # an AttributeError too, so it comes first
        raise UsageError(f"The {name} is not fitted. Call its fit() before you return it.") from error
    except (TypeError, AttributeError) as error:
        raise UsageError(f"A {name} is no scikit-learn estimator. Return a fitted classifier or regressor.") from error
    raise UsageError(f"A {name} is neither a classifier nor a regressor: it makes no predictions to serve.")


def classes_of(estimator: Any, task: Task) -> tuple[str | int | bool, ...] | None:
    """A fitted classifier's classes as plain values, in the order of its probabilities; None for a regressor."""
    from quarterdeck.registry.inspection import plain_classes

    return plain_classes(estimator.classes_) if task is Task.CLASSIFICATION else None


def store_reference(
    workspace: Workspace, frame: pd.DataFrame, signature: Signature, *, seed: int = 0
) -> tuple[str, list[dict[str, Any]]]:
    """Store at most 50,000 rows of features and target as Parquet; returns the digest and the columns' profiles."""
    from quarterdeck.datasets.frames import store_frame
    from quarterdeck.datasets.profile import profile_frame
    from quarterdeck.registry.inputs import as_inputs

    sample = frame.sample(REFERENCE_ROWS, random_state=seed).sort_index() if len(frame) > REFERENCE_ROWS else frame
    reference = as_inputs(sample, signature)
    if signature.target is not None and signature.target in sample.columns:
        reference[signature.target] = sample[signature.target]
    return store_frame(workspace, reference), profile_frame(reference)


def _relevant(estimator: Any, training: pd.DataFrame, others: set[str | None], exclude: Sequence[str]) -> pd.DataFrame:
    """`training` with the features that the estimator was fitted on, and the `others`."""
    known = getattr(estimator, "feature_names_in_", None)
    if known is not None:
        absent = [str(name) for name in known if name not in training.columns]
        if absent:
            raise DataError(
                f"The training frame lacks what the estimator was fitted on: {', '.join(absent)}. "
                "Register the frame that it was fitted on."
            )
        features = [str(name) for name in known]
    else:
        features = [str(name) for name in training.columns if name not in others and name not in exclude]
    expected = getattr(estimator, "n_features_in_", len(features))
    if expected != len(features):
        raise DataError(
            f"The estimator was fitted on {expected} columns, and the training frame offers {len(features)}: "
            f"{', '.join(features)}. Exclude the rest in the dataset's settings, or fit on a named frame."
        )
    return training[[*features, *(name for name in training.columns if name in others and name not in features)]]
