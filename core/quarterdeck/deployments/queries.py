"""What panes and the command line read about deployments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.deployments.batch_output import standing_outputs
from quarterdeck.deployments.deployment import Deployment, ServedBy, find_deployment
from quarterdeck.deployments.observed import seen_intervals, seen_while_wanted, stretches_of
from quarterdeck.deployments.operation import Operation, OperationState
from quarterdeck.deployments.proof import GatewayWorker, Proof
from quarterdeck.deployments.proving import is_alive, live_workers
from quarterdeck.deployments.replay import Replay
from quarterdeck.deployments.revision import Revision, RevisionKind, find_revision
from quarterdeck.deployments.rows import (
    DeploymentRow,
    GatewayState,
    Interval,
    OperationRow,
    OutputRow,
    ProofRow,
    RevisionRow,
    State,
    WorkerRow,
)
from quarterdeck.deployments.sighting import recent
from quarterdeck.deployments.witnessing import contradictions
from quarterdeck.errors import NotFoundError
from quarterdeck.workspace import Workspace

__all__ = [
    "DeploymentRow",
    "GatewayState",
    "Interval",
    "OperationRow",
    "OutputRow",
    "ProofRow",
    "RevisionRow",
    "WorkerRow",
    "deployment_row",
    "deployments",
    "gateway_state",
    "intervals",
    "operation",
    "operation_row",
    "operations",
    "replay_outcome",
    "revisions",
]

_BY_WORKERS = (ServedBy.GATEWAY, ServedBy.PROCESS)


def deployment_row(workspace: Workspace, name: str) -> DeploymentRow:
    """One deployment.

    Raises:
        NotFoundError: there is none of that name, or it serves nothing yet.
    """
    with workspace.state.read() as tx:
        find_deployment(tx, name)
    for row in deployments(workspace):
        if row.name == name:
            return row
    raise NotFoundError(f"Deployment '{name}' serves nothing yet. Deploy a version first.")


def deployments(workspace: Workspace) -> list[DeploymentRow]:
    """Every deployment that serves something, by name."""
    with workspace.state.read() as tx:
        workers = len(live_workers(tx))
        desired = select(Deployment, Revision, Operation).where(
            Revision.deployment_id == Deployment.id,
            Revision.number == Deployment.desired_revision,
            Operation.deployment_id == Deployment.id,
            Operation.to_revision == Deployment.desired_revision,
        )
        return [
            _deployment_row(tx, workspace, deployment, revision, operation, workers)
            for deployment, revision, operation in tx.exec(desired.order_by(Deployment.name))
        ]


def _deployment_row(
    tx: Session, workspace: Workspace, deployment: Deployment, revision: Revision, operation: Operation, workers: int
) -> DeploymentRow:
    states: dict[OperationState, State] = {
        OperationState.VERIFIED: "verified",
        OperationState.FAILED: "failed",
        OperationState.UNPROVEN: "unproven",
    }
    seen = stretches_of(tx, deployment)
    contradicted = bool(contradictions(tx, deployment, seen))
    state = states.get(operation.state, "planned")
    if contradicted:
        state = "contradicted"
    elif revision.withheld is not None:
        state = "withheld"
    return DeploymentRow(
        name=deployment.name,
        model=deployment.model,
        served_by=deployment.served_by,
        desired_revision=revision.number,
        version=revision.version,
        state=state,
        protected=workspace.settings.deployment(deployment.name).protected,
        kind=revision.kind,
        changed_at=revision.created_at,
        changed_by=revision.actor,
        reason=revision.reason,
        workers=workers,
        operation=operation.id if operation.state is OperationState.PLANNED else None,
        seen=tuple(sorted({one.version for one in recent(seen)})),
        seen_at=max((one.last for one in seen), default=None),
        url=deployment.url,
    )


def revisions(workspace: Workspace, name: str) -> list[RevisionRow]:
    """The revisions of a deployment, newest first.

    Raises:
        NotFoundError: there is no such deployment.
    """
    with workspace.state.read() as tx:
        deployment = find_deployment(tx, name)
        seen = stretches_of(tx, deployment)
        query = select(Revision, Operation).where(
            Revision.deployment_id == deployment.id,
            Operation.deployment_id == Revision.deployment_id,
            Operation.to_revision == Revision.number,
        )
        return [
            RevisionRow(
                number=revision.number,
                version=revision.version,
                kind=revision.kind,
                goes_back_to=revision.goes_back_to,
                replaces=revision.replaces,
                reason=revision.reason,
                actor=revision.actor,
                created_at=revision.created_at,
                verified_at=revision.verified_at,
                replaced_at=revision.replaced_at,
                desired=revision.number == deployment.desired_revision,
                operation=operation.id or 0,
                state=operation.state,
                seen_from=seen_while_wanted(revision, seen)[0],
                seen_until=seen_while_wanted(revision, seen)[1],
            )
            for revision, operation in tx.exec(query.order_by(col(Revision.number).desc()))
        ]


def intervals(workspace: Workspace, name: str) -> list[Interval]:
    """The production intervals of a deployment, oldest first.

    A revision serves from its verification until the next one is verified: until then the one before goes on. Where
    it is served elsewhere, what was seen there counts; intervals of two versions may overlap.

    Raises:
        NotFoundError: there is no such deployment.
    """
    with workspace.state.read() as tx:
        deployment = find_deployment(tx, name)
        if deployment.served_by is ServedBy.EXTERNAL:
            return seen_intervals(tx, deployment)
    verified = sorted(
        ((row.verified_at, row) for row in revisions(workspace, name) if row.verified_at is not None),
        key=lambda pair: pair[0],
    )
    ends: list[datetime | None] = [start for start, _ in verified[1:]]
    return [
        Interval(revision=row.number, version=row.version, start=start, end=end)
        for (start, row), end in zip(verified, [*ends, None], strict=False)
    ]


def operation(workspace: Workspace, operation_id: int) -> OperationRow:
    """One operation, with what each gateway worker has shown.

    Raises:
        NotFoundError: there is none of that number.
    """
    with workspace.state.read() as tx:
        found = tx.get(Operation, operation_id)
        if found is None:
            raise NotFoundError(f"There is no operation {operation_id}. `quarterdeck status` lists those under way.")
        return operation_row(tx, found)


def operations(workspace: Workspace, open_only: bool = False, limit: int = 100) -> list[OperationRow]:
    """The newest operations, newest first; with `open_only` those that wait for proofs."""
    query = select(Operation).order_by(col(Operation.id).desc()).limit(limit)
    if open_only:
        query = query.where(Operation.state == OperationState.PLANNED)
    with workspace.state.read() as tx:
        return [operation_row(tx, found) for found in tx.exec(query)]


def operation_row(tx: Session, operation: Operation) -> OperationRow:
    """`operation` as a row, inside a transaction."""
    deployment = tx.get_one(Deployment, operation.deployment_id)
    before = operation.from_revision
    alive = live_workers(tx)
    return OperationRow(
        id=operation.id or 0,
        deployment=deployment.name,
        kind=operation.kind,
        from_revision=before,
        to_revision=operation.to_revision,
        from_version=None if before is None else find_revision(tx, operation.deployment_id, before).version,
        version=find_revision(tx, operation.deployment_id, operation.to_revision).version,
        state=operation.state,
        actor=operation.actor,
        reason=operation.reason,
        planned_at=operation.planned_at,
        routed_at=operation.routed_at,
        verified_at=operation.verified_at,
        error=operation.error,
        workers=len(alive),
        proofs=_proof_rows(tx, operation, alive) if deployment.served_by in _BY_WORKERS else (),
        served_by=deployment.served_by,
        outputs=_outputs_before(tx, deployment, operation),
    )


def _outputs_before(tx: Session, deployment: Deployment, operation: Operation) -> tuple[OutputRow, ...]:
    before = operation.from_revision
    if deployment.served_by is not ServedBy.BATCH or operation.kind is RevisionKind.DEPLOY or before is None:
        return ()
    return standing_outputs(tx, deployment, find_revision(tx, operation.deployment_id, before).version)


def replay_outcome(workspace: Workspace, replay: int) -> dict[str, Any] | None:
    """What a replay found; None while it is not finished."""
    with workspace.state.read() as tx:
        found = tx.get(Replay, replay)
        return None if found is None or found.finished_at is None else dict(found.outcome)


def _proof_rows(tx: Session, operation: Operation, alive: Sequence[GatewayWorker]) -> tuple[ProofRow, ...]:
    """The workers that have shown something, and those alive that have not, by slot."""
    query = select(GatewayWorker, Proof).where(
        Proof.worker_id == GatewayWorker.id,
        Proof.deployment_id == operation.deployment_id,
        Proof.revision == operation.to_revision,
    )
    living = {worker.id for worker in alive}
    shown: Iterable[tuple[GatewayWorker, Proof]] = tx.exec(query).all()
    rows = [_proof_row(worker, proof, worker.id in living) for worker, proof in shown]
    known = {row.worker for row in rows}
    rows += [_proof_row(worker, None, True) for worker in alive if worker.id not in known]
    return tuple(sorted(rows, key=lambda row: (row.slot, row.worker)))


def _proof_row(worker: GatewayWorker, proof: Proof | None, alive: bool) -> ProofRow:
    return ProofRow(
        worker=worker.id or 0,
        slot=worker.slot,
        alive=alive,
        routed_at=proof.routed_at if proof else None,
        served_at=proof.served_at if proof else None,
        request_id=proof.request_id if proof else None,
        probe=proof.probe if proof else False,
        error=proof.error if proof else None,
    )


def gateway_state(workspace: Workspace) -> GatewayState:
    """Which gateway workers there are, and whether they really run."""
    running = select(GatewayWorker).where(col(GatewayWorker.stopped_at).is_(None)).order_by(col(GatewayWorker.slot))
    with workspace.state.read() as tx:
        workers = [
            WorkerRow(
                id=worker.id or 0,
                slot=worker.slot,
                pid=worker.pid,
                host=worker.host,
                port=worker.port,
                started_at=worker.started_at,
                stopped_at=worker.stopped_at,
                alive=is_alive(worker),
            )
            for worker in tx.exec(running)
        ]
    alive = [worker for worker in workers if worker.alive]
    return GatewayState(
        workers=workers,
        alive=len(alive),
        host=alive[0].host if alive else None,
        port=alive[0].port if alive else None,
    )
