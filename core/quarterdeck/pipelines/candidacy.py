"""From the outputs of a run to the candidate for a model version."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from quarterdeck.pipelines.commands import CommandOutput
from quarterdeck.pipelines.pipeline import Pipeline, Registration
from quarterdeck.pipelines.step import PipelineError
from quarterdeck.registry.predictor import stored_predictor
from quarterdeck.registry.registration import Candidate
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Roles:
    """Which columns of the training rows are no features."""

    target: str
    time: str | None
    key: str | None
    exclude: tuple[str, ...]


def make_run_candidate(
    workspace: Workspace,
    pipeline: Pipeline,
    values: Mapping[str, Any],
    metrics: Mapping[str, float],
    *,
    sources: Sequence[str],
    seed: int,
) -> Candidate:
    """Store and assess what `pipeline` registers.

    Args:
        values: what its steps returned and its datasets hold, by name.
        metrics: what the steps logged; gates may bound them too.

    Raises:
        PipelineError: an output is not what the registration says, or no target column is known.
    """
    registration = pipeline.registers
    assert registration is not None
    estimator = values[registration.estimator]
    training = _table(pipeline, values, registration.training)
    holdout = _table(pipeline, values, registration.holdout)
    if isinstance(estimator, CommandOutput):
        if training is None:
            training = estimator.table("training")
        if holdout is None:
            holdout = estimator.table("holdout")
        sample = training if training is not None else holdout
    else:
        sample = training
    if sample is None:
        raise PipelineError(
            f"step {registration.estimator}: its command left neither training.parquet nor holdout.parquet in "
            "$QUARTERDECK_OUT, so what the model takes cannot be learnt. Leave one of them, or name one in register()."
        )
    roles = _roles(workspace, pipeline, registration, [str(column) for column in sample.columns])
    if isinstance(estimator, CommandOutput):
        return _from_file(workspace, registration, estimator, training, holdout, roles, metrics, sources, seed)
    return _from_estimator(workspace, registration, estimator, sample, holdout, roles, metrics, sources, seed)


def _from_estimator(
    workspace: Workspace,
    registration: Registration,
    estimator: Any,
    training: pd.DataFrame,
    holdout: pd.DataFrame | None,
    roles: Roles,
    metrics: Mapping[str, float],
    sources: Sequence[str],
    seed: int,
) -> Candidate:
    from quarterdeck.registry.registration import make_candidate

    return make_candidate(
        workspace,
        registration.model,
        estimator,
        training,
        holdout,
        target=roles.target,
        time=roles.time,
        key=roles.key,
        exclude=roles.exclude,
        extra_metrics=metrics,
        sources=sources,
        seed=seed,
    )


def _table(pipeline: Pipeline, values: Mapping[str, Any], name: str | None) -> pd.DataFrame | None:
    import pandas as pd

    if name is None:
        return None
    value = values[name]
    if not isinstance(value, pd.DataFrame):
        step = pipeline.step(name)
        place = f" ({step.place})" if step is not None else ""
        raise PipelineError(
            f"step {name}{place} returned a {type(value).__name__}; to register with it, it must return a DataFrame."
        )
    return value


def _roles(workspace: Workspace, pipeline: Pipeline, registration: Registration, columns: Sequence[str]) -> Roles:
    """What the settings of the datasets say that the pipeline reads, where the registration says nothing."""
    settings = [workspace.settings.dataset(name) for name in pipeline.datasets()]
    targets = [each.target for each in settings if each.target in columns]
    target = registration.target or next((name for name in targets if name is not None), None)
    if target is None:
        read = ", ".join(pipeline.datasets()) or "no dataset"
        raise PipelineError(
            f"Which column does model '{registration.model}' predict? No dataset of pipeline '{pipeline.name}' "
            f"({pipeline.place}) names a target among {', '.join(columns)} (it reads {read}). Set "
            f'`target` under [datasets.NAME] in quarterdeck.toml, or write register(..., target="COLUMN").'
        )
    apart = [name for each in settings for name in (*each.exclude, each.weight) if name is not None]
    return Roles(
        target=target,
        time=next((each.time for each in settings if each.time is not None), None),
        key=next((each.key for each in settings if each.key is not None), None),
        exclude=tuple(dict.fromkeys(apart)),
    )


def _from_file(
    workspace: Workspace,
    registration: Registration,
    output: CommandOutput,
    training: pd.DataFrame | None,
    holdout: pd.DataFrame | None,
    roles: Roles,
    metrics: Mapping[str, float],
    sources: Sequence[str],
    seed: int,
) -> Candidate:
    """A model that a command left as a file, assessed on its holdout as one of our own would be."""
    from quarterdeck.registry.adoption import inspect_model
    from quarterdeck.registry.assessment import NOTHING, assess
    from quarterdeck.registry.detection import detect
    from quarterdeck.registry.holdout import store_holdout
    from quarterdeck.registry.version import HOSTED

    sample = training if training is not None else holdout
    assert sample is not None
    apart = [name for name in (roles.time, roles.key, *roles.exclude) if name in sample.columns]
    target = roles.target if roles.target in sample.columns else None
    path = output.model()
    if detect(path, None) in HOSTED:
        raise PipelineError(
            f"its command left {path.name}, which is a pickle: a run registers what can be loaded without running it. "
            "Save it by skops, as ONNX, or in XGBoost's or LightGBM's own format; or bring it by `quarterdeck adopt`."
        )
    candidate = inspect_model(workspace, registration.model, path, sample.drop(columns=apart), target=target)
    signature = replace(candidate.signature, target=roles.target, time=roles.time, key=roles.key)
    # What inspection says about quality and training rows is about a sample of which nothing is known. Here it is
    # known what the rows are; and figures on training rows must not get past a gate.
    unknown = [text for text in candidate.unknown if not text.startswith(("Quality", "Its training data"))]
    if training is None:
        unknown.append("Its training data: the holdout stands in for it as the reference of monitors.")
    if holdout is None:
        assessment = NOTHING
        unknown.append("Quality: there was no holdout.")
    else:
        assert candidate.artifact is not None
        parts = (candidate.format, candidate.artifact, candidate.signature, candidate.task)
        assessment = assess(stored_predictor(workspace, *parts), holdout, signature, candidate.task, seed=seed)
    held = None if assessment.holdout is None else store_holdout(workspace, assessment.holdout, seed=seed)
    logged = {name: value for name, value in metrics.items() if math.isfinite(value)}
    return replace(
        candidate,
        signature=signature,
        holdout=held,
        metrics={**assessment.metrics, **logged},
        importances=assessment.importances,
        unknown=unknown,
        sources=list(sources),
    )
