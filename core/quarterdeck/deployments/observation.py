"""What gateway workers are seen to serve, beside what people want them to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from quarterdeck.deployments.deployment import Deployment, find_deployment
from quarterdeck.deployments.proof import Proof
from quarterdeck.deployments.proving import live_workers
from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ObservedRow:
    """One living gateway worker and one deployment."""

    slot: int
    pid: int
    revision: int | None
    """That of the newest response which it took for a proof; None where it has proved nothing yet."""
    since: datetime | None
    """When it served that response."""
    error: str | None
    """Why it cannot serve the desired revision."""


def observed_revisions(workspace: Workspace, name: str) -> list[ObservedRow]:
    """Which revision of a deployment each living gateway worker serves, by slot.

    Raises:
        NotFoundError: there is no such deployment.
    """
    with workspace.state.read() as tx:
        deployment = find_deployment(tx, name)
        rows = []
        for worker in live_workers(tx):
            served, error = _newest(tx, deployment, worker.id)
            rows.append(
                ObservedRow(
                    slot=worker.slot,
                    pid=worker.pid,
                    revision=served.revision if served else None,
                    since=served.served_at if served else None,
                    error=error,
                )
            )
        return rows


def _newest(tx: Session, deployment: Deployment, worker: int | None) -> tuple[Proof | None, str | None]:
    of_worker = select(Proof).where(Proof.worker_id == worker, Proof.deployment_id == deployment.id)
    served = tx.exec(
        of_worker.where(col(Proof.served_at).is_not(None)).order_by(col(Proof.served_at).desc()).limit(1)
    ).first()
    desired = tx.exec(of_worker.where(Proof.revision == deployment.desired_revision)).first()
    return served, desired.error if desired else None
