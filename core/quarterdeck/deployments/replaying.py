"""What if another version had answered? Recorded traffic is put to it, and the two are compared on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlmodel import Session, col, select

from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.deployments.deployment import Deployment, find_deployment
from quarterdeck.deployments.fitness import why_not
from quarterdeck.deployments.replay import Replay
from quarterdeck.deployments.revision import find_revision
from quarterdeck.deployments.watching import followed_by, metric_of
from quarterdeck.errors import NotFoundError, QuarterdeckError, RefusedError, UsageError
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.truth import truth_and_score
from quarterdeck.registry.version import ModelVersion, Task, find_version
from quarterdeck.traffic.window import WindowRows, newest_window
from quarterdeck.values import plain
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    from quarterdeck.registry.predictor import Predictions

ROWS = 2_000
# Two answers of a regressor agree when they differ by at most this share of the spread of the recorded ones.
_CLOSE = 0.01


def request(workspace: Workspace, deployment: str, other_version: int, *, actor: str | None = None) -> int:
    """Ask for a replay of the recorded traffic through `other_version`; return its number.

    One that is already asked for and not finished is returned again.

    Raises:
        NotFoundError: there is no such deployment or version.
        UsageError: the version is the serving one.
        RefusedError: it cannot answer this traffic.
    """
    with workspace.change("replay") as tx:
        found = find_deployment(tx, deployment)
        assert found.id is not None
        find_version(tx, found.model, other_version)
        serving = find_revision(tx, found.id, found.desired_revision or 0).version
        if serving == other_version:
            raise UsageError(f"Version {serving} serves '{deployment}' already: there is nothing to compare it with.")
        reason = why_not(tx, workspace, found, other_version, serving=serving)
        if reason is not None:
            raise RefusedError(f"Version {other_version} cannot answer the traffic of '{deployment}': {reason}.")
        waiting = select(Replay.id).where(
            Replay.deployment_id == found.id,
            Replay.version == serving,
            Replay.other == other_version,
            col(Replay.finished_at).is_(None),
        )
        known = tx.exec(waiting).first()
        if known is not None:
            return known
        replay = Replay(
            deployment_id=found.id,
            version=serving,
            other=other_version,
            requested_by=actor or workspace.actor,
            requested_at=workspace.now(),
        )
        tx.add(replay)
        tx.flush()
        assert replay.id is not None
        data = {"replay": replay.id, "deployment": deployment, "version": serving, "other": other_version}
        workspace.record(tx, "replay.requested", f"replay/{replay.id}", data, actor=actor)
        return replay.id


def replay(workspace: Workspace, replay_id: int, *, fence: Callable[[Session], None] | None = None) -> None:
    """Make a replay that was asked for, in a job process; one that is finished is left alone.

    What goes wrong with the other version is the outcome, not an error of this job.

    Raises:
        NotFoundError: there is no such replay.
    """
    with workspace.state.read() as tx:
        asked = _find(tx, replay_id)
        if asked.finished_at is not None:
            return
        name, model = _names(tx, asked)
        serving, other = find_version(tx, model, asked.version), find_version(tx, model, asked.other)
    try:
        outcome = _outcome(workspace, name, serving, other)
    except QuarterdeckError as error:
        outcome = {"error": str(error)}
    with workspace.state.write("replay", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
        if fence is not None:
            fence(tx)
        asked = _find(tx, replay_id)
        asked.outcome, asked.finished_at = outcome, workspace.now()
        data = {"replay": replay_id, "deployment": name, "version": asked.version, "other": asked.other, **outcome}
        workspace.record(tx, "replay.finished", f"replay/{replay_id}", data)


def newest_outcome(tx: Session, deployment_id: int, version: int, other: int) -> dict[str, Any] | None:
    """The outcome of the newest finished replay of `other` against `version`."""
    query = select(Replay.outcome).where(
        Replay.deployment_id == deployment_id,
        Replay.version == version,
        Replay.other == other,
        col(Replay.finished_at).is_not(None),
    )
    outcome = tx.exec(query.order_by(col(Replay.finished_at).desc()).limit(1)).first()
    return None if outcome is None else dict(outcome)


def _find(tx: Session, replay_id: int) -> Replay:
    found = tx.get(Replay, replay_id)
    if found is None:
        raise NotFoundError(f"There is no replay {replay_id}. Ask for one from the plan of a rollback.")
    return found


def _names(tx: Session, asked: Replay) -> tuple[str, str]:
    deployment = tx.get_one(Deployment, asked.deployment_id)
    return deployment.name, deployment.model


def _outcome(workspace: Workspace, deployment: str, serving: ModelVersion, other: ModelVersion) -> dict[str, Any]:
    """The comparison as `Replay.outcome` keeps it. `difference` is the other's metric less the serving one's."""
    from quarterdeck.registry.predictor import inputs_frame, load_predictor

    rows = newest_window(workspace, deployment, serving.number, ROWS)
    if rows.n == 0:
        return {"error": f"no prediction of version {serving.number} is recorded yet"}
    signature = Signature.from_dict(other.signature)
    names = Signature.from_dict(serving.signature).names
    columns = {name: [row[i] for row in rows.inputs] for i, name in enumerate(names)}
    with closing(load_predictor(workspace, other)) as predictor:
        answers = predictor.predict(inputs_frame(signature, columns))
    values = answers.values.tolist()
    return {
        "rows": rows.n,
        "labelled": rows.labelled,
        "agreement": _agreement(serving.task, rows.predictions, values),
        **_quality(workspace, deployment, serving, other, rows, answers),
    }


def _agreement(task: Task, ours: list[Any], theirs: list[Any]) -> float:
    """The share of rows on which the two give the same answer."""
    pairs = list(zip(ours, theirs, strict=True))
    if task is Task.CLASSIFICATION:
        agreed = [plain(a) == plain(b) for a, b in pairs]
    else:
        close = _CLOSE * (max(ours) - min(ours))
        agreed = [abs(a - b) <= close for a, b in pairs]
    return sum(agreed) / len(pairs)


def _quality(
    workspace: Workspace,
    name: str,
    serving: ModelVersion,
    other: ModelVersion,
    rows: WindowRows,
    answers: Predictions,
) -> dict[str, Any]:
    """Both versions' metric on the labelled rows and the paired bootstrap of the difference; {} without labels."""
    from quarterdeck.statistics.quality import METRICS, metric, paired_difference

    if not rows.labelled:
        return {}
    signature = Signature.from_dict(serving.signature)
    chosen = metric_of(followed_by(workspace, name), serving)
    truth, ours = truth_and_score(signature, chosen, rows.labels, rows.predictions, rows.probabilities)
    probabilities = [None] * rows.n if answers.probabilities is None else answers.probabilities.tolist()
    theirs = truth_and_score(
        Signature.from_dict(other.signature), chosen, rows.labels, answers.values.tolist(), probabilities
    )[1]
    low, difference, high = paired_difference(chosen, truth, theirs, ours)
    return {
        "metric": chosen,
        "greater_is_better": METRICS[chosen].greater_is_better,
        "serving": _finite(metric(chosen, truth, ours)),
        "other": _finite(metric(chosen, truth, theirs)),
        "low": _finite(low),
        "difference": _finite(difference),
        "high": _finite(high),
    }


def _finite(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
