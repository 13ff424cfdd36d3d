"""What is observed: that gateway workers run and serve a revision. The last proof verifies an operation."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_
from sqlmodel import Session, col, select

from quarterdeck import processes
from quarterdeck.deployments.deployment import Deployment, find_deployment
from quarterdeck.deployments.operation import Operation, OperationState
from quarterdeck.deployments.proof import GatewayWorker, Proof
from quarterdeck.deployments.revision import Revision
from quarterdeck.monitoring.alerting import resolve_outages
from quarterdeck.workspace import Workspace

_PROVABLE = (OperationState.PLANNED, OperationState.FAILED)


def register_worker(workspace: Workspace, *, slot: int, host: str, port: int) -> int:
    """Write down that this process answers requests; return the worker's id.

    The worker that had the slot before is over: it is retired with it, and has died if it did not retire itself.
    """
    me = processes.here()
    now = workspace.now()
    with workspace.state.write("register worker") as tx:
        before = select(GatewayWorker).where(GatewayWorker.slot == slot, col(GatewayWorker.stopped_at).is_(None))
        for worker in tx.exec(before):
            if not is_alive(worker):
                worker.died_at = now - timedelta(seconds=processes.age(me))
            worker.stopped_at = now
        worker = GatewayWorker(
            slot=slot,
            pid=me.pid,
            process_started=me.started,
            boot_id=me.boot_id,
            host=host,
            port=port,
            started_at=now,
        )
        tx.add(worker)
        tx.flush()
        assert worker.id is not None
        workspace.record(
            tx, "gateway.started", f"gateway/{slot}", {"worker": worker.id, "pid": me.pid, "host": host, "port": port}
        )
        return worker.id


def retire_worker(workspace: Workspace, worker_id: int) -> None:
    """Write down that a worker has stopped. What waited only for its proof is settled."""
    with workspace.state.write("retire worker") as tx:
        worker = tx.get(GatewayWorker, worker_id)
        if worker is None or worker.stopped_at is not None:
            return
        worker.stopped_at = workspace.now()
        tx.flush()
        workspace.record(tx, "gateway.stopped", f"gateway/{worker.slot}", {"worker": worker_id, "pid": worker.pid})
        settle_all(tx, workspace)


def prove(
    workspace: Workspace,
    worker_id: int,
    deployment: str,
    revision: int,
    *,
    routed_at: datetime,
    served_at: datetime,
    request_id: str | None,
    probe: bool,
) -> None:
    """Write down that a worker has served a response of a revision: the first one since it routed it.

    Raises:
        NotFoundError: there is no such deployment.
    """
    with workspace.state.write("prove") as tx:
        found = find_deployment(tx, deployment)
        deployment_id = _id_of(found)
        proof = _proof(tx, worker_id, deployment_id, revision)
        if proof.served_at is None:
            proof.routed_at, proof.served_at = routed_at, served_at
            proof.request_id, proof.probe, proof.error = request_id, probe, None
            tx.add(proof)
            tx.flush()
        # A repeated proof too: whoever had not proved it may have died since the first one.
        settle(tx, workspace, deployment_id)


def report_failure(workspace: Workspace, worker_id: int, deployment: str, revision: int, error: str) -> None:
    """Write down that a worker cannot serve a revision, and why: the operation has failed.

    Raises:
        NotFoundError: there is no such deployment.
    """
    with workspace.state.write("report failure") as tx:
        found = find_deployment(tx, deployment)
        deployment_id = _id_of(found)
        proof = _proof(tx, worker_id, deployment_id, revision)
        if proof.served_at is not None:
            return
        proof.error = error
        tx.add(proof)
        operation = _operation(tx, deployment_id, revision)
        if operation is None or operation.state is not OperationState.PLANNED or revision != found.desired_revision:
            return
        operation.state, operation.error = OperationState.FAILED, error
        data = {"operation": operation.id, "revision": revision, "worker": worker_id, "error": error}
        workspace.record(tx, "deployment.failed", f"deployment/{deployment}", data)


def settle(tx: Session, workspace: Workspace, deployment_id: int) -> None:
    """Verify the operation toward the desired revision once every live worker has served a response of it.

    Nobody alive means nothing is proved. A failed operation is verified too when the workers that failed are gone
    or could serve after all: what counts is what every live worker proved.
    """
    deployment = tx.get(Deployment, deployment_id)
    if deployment is None or deployment.desired_revision is None:
        return
    desired = deployment.desired_revision
    change = tx.exec(
        select(Operation, Revision).where(
            Operation.deployment_id == deployment_id,
            Operation.to_revision == desired,
            Revision.deployment_id == Operation.deployment_id,
            Revision.number == Operation.to_revision,
        )
    ).first()
    if change is None or change[0].state not in _PROVABLE:
        return
    operation, revision = change
    if revision.withheld is not None:
        return
    proofs = _proofs_of_the_living(tx, deployment_id, desired)
    if not proofs or any(proof is None or proof.served_at is None for proof in proofs):
        return
    operation.routed_at = max(proof.routed_at for proof in proofs if proof is not None and proof.routed_at is not None)
    verify(tx, workspace, deployment, operation, revision, workers=len(proofs))


def verify(
    tx: Session,
    workspace: Workspace,
    deployment: Deployment,
    operation: Operation,
    revision: Revision,
    *,
    workers: int,
) -> None:
    """Write down, inside a transaction, that a revision serves: as many workers, a report or a score have shown it."""
    now = workspace.now()
    operation.verified_at, operation.state, operation.error = now, OperationState.VERIFIED, None
    revision.verified_at = now
    resolve_outages(tx, workspace, deployment.name, f"revision {revision.number} is verified")
    data = {
        "operation": operation.id,
        "revision": operation.to_revision,
        "version": revision.version,
        "milliseconds": round((now - operation.planned_at).total_seconds() * 1000, 1),
        "workers": workers,
    }
    workspace.record(tx, "deployment.verified", f"deployment/{deployment.name}", data)


def settle_all(tx: Session, workspace: Workspace) -> None:
    """Settle every deployment that has an operation under way."""
    waiting = select(Operation.deployment_id).where(col(Operation.state).in_(_PROVABLE)).distinct()
    for deployment_id in tx.exec(waiting).all():
        settle(tx, workspace, deployment_id)


def live_workers(tx: Session) -> list[GatewayWorker]:
    """The workers that have not stopped and whose process really runs, by slot."""
    running = select(GatewayWorker).where(col(GatewayWorker.stopped_at).is_(None)).order_by(col(GatewayWorker.slot))
    return [worker for worker in tx.exec(running) if is_alive(worker)]


def _proofs_of_the_living(tx: Session, deployment_id: int, revision: int) -> list[Proof | None]:
    """For each live worker its proof of that revision, None where it has written none."""
    mine = and_(
        col(Proof.worker_id) == col(GatewayWorker.id),
        col(Proof.deployment_id) == deployment_id,
        col(Proof.revision) == revision,
    )
    query = select(GatewayWorker, Proof).outerjoin(Proof, mine).where(col(GatewayWorker.stopped_at).is_(None))
    return [proof for worker, proof in tx.exec(query) if is_alive(worker)]


def is_alive(worker: GatewayWorker) -> bool:
    """Whether the worker has not stopped and its process runs."""
    identity = processes.ProcessIdentity(worker.pid, worker.process_started, worker.boot_id)
    return worker.stopped_at is None and processes.is_alive(identity)


def _proof(tx: Session, worker_id: int, deployment_id: int, revision: int) -> Proof:
    query = select(Proof).where(
        Proof.worker_id == worker_id, Proof.deployment_id == deployment_id, Proof.revision == revision
    )
    return tx.exec(query).first() or Proof(worker_id=worker_id, deployment_id=deployment_id, revision=revision)


def _operation(tx: Session, deployment_id: int, revision: int) -> Operation | None:
    query = select(Operation).where(Operation.deployment_id == deployment_id, Operation.to_revision == revision)
    return tx.exec(query).first()


def _id_of(deployment: Deployment) -> int:
    assert deployment.id is not None
    return deployment.id
