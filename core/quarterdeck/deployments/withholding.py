"""A revision that takes the gateway along is withheld: the last known-good one answers, and somebody is paged."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from quarterdeck.deployments.deployment import IN_GATEWAY, Deployment
from quarterdeck.deployments.operation import Operation, OperationState
from quarterdeck.deployments.proof import GatewayWorker, Proof
from quarterdeck.deployments.revision import Revision
from quarterdeck.monitoring.alerting import open_outage
from quarterdeck.workspace import Workspace

DEATHS = 2
SOON = timedelta(seconds=60)


def withhold_deadly(workspace: Workspace, slot: int) -> str | None:
    """Withhold the desired revision that the gateway worker of `slot` died of; return the deployment's name.

    That is one after whose change of route the worker died twice, each time within 60 s; of several the newest, and
    if the dying goes on, the next one then. One that any worker has served for longer than that is not what they died
    of. A worker asks this when it starts, before it loads anything. The next revision is a new try.
    """
    with workspace.state.read() as tx:
        if _deadly(tx, slot, workspace.now()) is None:
            return None
    with workspace.state.write("withhold") as tx:
        found = _deadly(tx, slot, workspace.now())
        if found is None:
            return None
        _withhold(tx, workspace, *found)
        return found[0].name


def _deadly(tx: Session, slot: int, now: datetime) -> tuple[Deployment, Revision] | None:
    desired = select(Deployment, Revision).where(
        col(Deployment.served_by).in_(IN_GATEWAY),
        Revision.deployment_id == Deployment.id,
        Revision.number == Deployment.desired_revision,
        col(Revision.withheld).is_(None),
    )
    newest = select(GatewayWorker).where(GatewayWorker.slot == slot, col(GatewayWorker.stopped_at).is_not(None))
    before = tx.exec(newest.order_by(col(GatewayWorker.id).desc()).limit(DEATHS)).all()
    for deployment, revision in tx.exec(desired.order_by(col(Revision.created_at).desc())):
        died = len(before) == DEATHS and all(_died_of(tx, worker, revision) for worker in before)
        if died and not _has_lived(tx, revision, now):
            return deployment, revision
    return None


def _has_lived(tx: Session, revision: Revision, now: datetime) -> bool:
    """Whether a worker served the revision for longer than those live that die of one."""
    query = select(Proof.routed_at, GatewayWorker.died_at, GatewayWorker.stopped_at).where(
        Proof.deployment_id == revision.deployment_id,
        Proof.revision == revision.number,
        Proof.worker_id == GatewayWorker.id,
        col(Proof.served_at).is_not(None),
    )
    return any(
        routed is not None and (died or stopped or now) - routed > SOON for routed, died, stopped in tx.exec(query)
    )


def _died_of(tx: Session, worker: GatewayWorker, revision: Revision) -> bool:
    """Whether the worker died soon after the revision was asked for, or after this worker had routed to it."""
    if worker.died_at is None or worker.died_at < revision.created_at:
        return False
    proof = tx.exec(
        select(Proof).where(
            Proof.worker_id == worker.id,
            Proof.deployment_id == revision.deployment_id,
            Proof.revision == revision.number,
        )
    ).first()
    routed_at = revision.created_at if proof is None or proof.routed_at is None else proof.routed_at
    return worker.died_at - routed_at <= SOON


def _withhold(tx: Session, workspace: Workspace, deployment: Deployment, revision: Revision) -> None:
    seconds = SOON.total_seconds()
    why = f"the gateway worker died {DEATHS} times within {seconds:g} s of serving version {revision.version}"
    revision.withheld = why
    operation = tx.exec(
        select(Operation).where(Operation.deployment_id == deployment.id, Operation.to_revision == revision.number)
    ).first()
    if operation is not None and operation.state in (OperationState.PLANNED, OperationState.VERIFIED):
        operation.state, operation.error = OperationState.FAILED, why
    tx.flush()
    data = {"revision": revision.number, "version": revision.version, "why": why}
    workspace.record(tx, "deployment.withheld", f"deployment/{deployment.name}", data)
    again = f"`quarterdeck deploy {deployment.name} --version {revision.version}` tries it once more"
    summary = f"{why}; it is withheld: roll back, or deploy another version; {again}"
    open_outage(tx, workspace, deployment.name, revision.version, summary)
