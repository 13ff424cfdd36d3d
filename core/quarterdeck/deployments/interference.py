"""What would undo a rollback behind one's back: policies, schedules and runs that deploy a new version."""

from __future__ import annotations

from sqlmodel import Session, col, select

from quarterdeck.deployments.deployment import Deployment
from quarterdeck.events import Event
from quarterdeck.registry.model import Model
from quarterdeck.registry.version import ModelVersion
from quarterdeck.workspace import Workspace

_ENDED = ("run.succeeded", "run.held", "run.failed", "run.cancelled", "run.lost")
RECENT_RUNS = 100


def what_would_undo(tx: Session, workspace: Workspace, deployment: Deployment) -> list[str]:
    """Sentences, one for each cause; none when only people change this deployment.

    Runs and pipelines are known here by their events: what makes versions lies in another room.
    """
    if workspace.settings.model(deployment.model).deploy != deployment.name:
        return []
    pipelines = _pipelines_of(tx, deployment.model)
    lines = [
        f"policy: a new version of {deployment.model} whose gate passes is deployed here at once; it is not stopped"
    ]
    for name, schedule in sorted(workspace.settings.schedules.items()):
        if schedule.pipeline in pipelines and not schedule.paused:
            when = schedule.cron or (f"every {schedule.every}" if schedule.every else f"on data {schedule.on_data}")
            lines.append(f"schedule {name} ({when}) runs {schedule.pipeline}, which makes such versions; it goes on")
    lines += [
        f"{run} ({pipeline}) is under way and may register such a version; it goes on"
        for run, pipeline in _runs_under_way(tx)
        if pipeline in pipelines
    ]
    return lines


def _pipelines_of(tx: Session, model: str) -> set[str]:
    """The pipelines whose runs have registered versions of a model."""
    made_by = select(ModelVersion.run_id).join(Model, col(Model.id) == col(ModelVersion.model_id))
    runs = [f"run/{run}" for run in tx.exec(made_by.where(Model.name == model).distinct()) if run is not None]
    queued = select(Event.data).where(Event.kind == "run.queued", col(Event.subject).in_(runs))
    return {str(data["pipeline"]) for data in tx.exec(queued)}


def _runs_under_way(tx: Session) -> list[tuple[str, str]]:
    newest = select(Event).where(Event.kind == "run.queued").order_by(col(Event.id).desc()).limit(RECENT_RUNS)
    queued = {event.subject: str(event.data["pipeline"]) for event in tx.exec(newest)}
    ended = select(Event.subject).where(col(Event.kind).in_(_ENDED), col(Event.subject).in_(list(queued)))
    over = set(tx.exec(ended))
    return [(run, pipeline) for run, pipeline in queued.items() if run not in over]
