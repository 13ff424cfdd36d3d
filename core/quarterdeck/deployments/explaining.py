"""Explaining one recorded prediction: the version that answered it is asked again, with other values."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from quarterdeck.deployments.inspection import Input, inspect
from quarterdeck.errors import UsageError
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Format, ModelVersion, Task, find_version
from quarterdeck.traffic.queries import PredictionRow, prediction
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from quarterdeck.registry.explanation import Explanation, Outcome

SAME = 1e-4
"""Answers that differ by less, for numbers relatively, are the same: a graph computes in float32."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One recorded prediction and its explanation."""

    deployment: str
    id: str
    model: str
    version: int
    received_at: datetime
    inputs: tuple[Input, ...]
    prediction: Any
    recorded: float
    """What was recorded of the outcome that is explained."""
    runtime: str
    """What computed the answers here."""
    explanation: Explanation
    definition: str
    """What an influence is."""
    source: str
    limits: str
    """What it is not."""
    differs: str | None
    """What to know where the model does not answer now as was recorded; None where it does."""


def explain(workspace: Workspace, deployment: str, id_: str, method: str = "permutation") -> Explained:
    """Explain the prediction of a deployment that has this id.

    Raises:
        NotFoundError: there is no such deployment or prediction.
        UsageError: its version cannot be asked here, or has no reference; no such method, or it is not installed.
        QuarterdeckError: the model cannot answer.
    """
    return explain_row(workspace, deployment, prediction(workspace, deployment, id_), method)


def explain_row(workspace: Workspace, deployment: str, row: PredictionRow, method: str = "permutation") -> Explained:
    """Explain a recorded prediction that was read already; else as `explain`. It takes seconds: keep it in a thread."""
    inspection = inspect(workspace, deployment, row)
    with workspace.state.read() as tx:
        version = find_version(tx, inspection.model, row.version)
    refuse_what_cannot_be_asked(version, inspection.model)
    from quarterdeck.registry.explanation import Method, explain, outcome_of
    from quarterdeck.registry.predictor import load_predictor

    if method not in set(Method):
        raise UsageError(f"There is no method '{method}'. Choose one of: {', '.join(Method)}.")
    signature = Signature.from_dict(version.signature)
    outcome = outcome_of(signature, version.task, row.prediction, row.probabilities)
    # One that runs in a process of its own gets another one for this, and only for this.
    with closing(load_predictor(workspace, version)) as predictor:
        found = explain(predictor, signature, outcome, row.inputs, _reference(workspace, version), Method(method))
    recorded = _recorded(outcome, row)
    return Explained(
        deployment=deployment,
        id=row.id,
        model=inspection.model,
        version=version.number,
        received_at=row.received_at,
        inputs=inspection.inputs,
        prediction=row.prediction,
        recorded=recorded,
        runtime=predictor.runtime,
        explanation=found,
        definition=found.method.definition,
        source=found.method.source,
        limits=found.method.limits,
        differs=_difference(version.task, recorded, found.answer),
    )


def refuse_what_cannot_be_asked(version: ModelVersion, model: str) -> None:
    """Refuse a version of `model` that cannot be asked, or has nothing to compare with.

    Raises:
        UsageError: why, in one line.
    """
    name = f"{model}@{version.number}"
    if version.format is Format.EXTERNAL or version.artifact is None:
        raise UsageError(f"{name} is served elsewhere: there is nothing stored here that could be asked again.")
    if version.reference is None:
        raise UsageError(f"{name} has no reference rows: there are no other values to put in place of the inputs.")


def _reference(workspace: Workspace, version: ModelVersion) -> pd.DataFrame:
    import pandas as pd

    assert version.reference is not None
    return pd.read_parquet(workspace.artifacts.path(version.reference))


def _recorded(outcome: Outcome, row: PredictionRow) -> float:
    if outcome.position is not None and row.probabilities is not None:
        return float(row.probabilities[outcome.position])
    return 1.0 if outcome.label is not None else float(row.prediction)


def _difference(task: Task, recorded: float, answer: float) -> str | None:
    bound = SAME * abs(recorded) if task is Task.REGRESSION else SAME
    if abs(answer - recorded) <= bound:
        return None
    return (
        f"The model answers {answer:.4g} to the recorded inputs, and {recorded:.4g} was recorded: not all that it was "
        "given is recorded, or it computes otherwise here. The influences are those of the answer now."
    )
