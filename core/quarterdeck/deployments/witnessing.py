"""What was seen elsewhere: which version answers there, from when to when, and whether that is the one that is wanted.

Nothing here can look into another system: its own predictions, or a probe, prove what it serves, or nothing does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from quarterdeck.deployments.deployment import Deployment, find_deployment
from quarterdeck.deployments.operation import Operation, OperationState
from quarterdeck.deployments.proving import verify
from quarterdeck.deployments.revision import Revision, find_revision
from quarterdeck.deployments.sighting import Sighting, Stretch, sightings, strays, with_seen
from quarterdeck.workspace import Workspace

_PROVABLE = (OperationState.PLANNED, OperationState.UNPROVEN, OperationState.FAILED)

Seen = Mapping[int, Sequence[datetime]]
"""For each version the moments at which it was seen to answer."""


def witness(workspace: Workspace, name: str, seen: Seen) -> None:
    """Write down which versions answered at those moments; verify what is wanted if it was among them.

    Once another version than the verified one is seen, that is an event: `deployment.contradicted`.

    Raises:
        NotFoundError: there is no such deployment.
    """
    # A look first: a busy host reports twice a second, and says nothing new.
    with workspace.state.read() as tx:
        deployment = find_deployment(tx, name)
        if not _news(tx, deployment, seen):
            return
    with workspace.state.write("witness") as tx:
        deployment = find_deployment(tx, name)
        deployment_id = deployment.id or 0
        rows = sightings(tx, deployment_id)
        known = [row.stretch for row in rows]
        proved = _to_prove(tx, deployment, seen, known)
        now = with_seen(known, seen)
        before = contradictions(tx, deployment, known)
        for row in rows:
            if row.stretch not in now:
                tx.delete(row)
        tx.add_all(
            Sighting(deployment_id=deployment_id, version=one.version, first_seen=one.first, last_seen=one.last)
            for one in now
            if one not in known
        )
        tx.flush()
        if proved is not None:
            verify(tx, workspace, deployment, *proved, workers=0)
        after = contradictions(tx, deployment, now)
        if after and after != before:
            data = {"revision": deployment.desired_revision, "seen": list(after)}
            workspace.record(tx, "deployment.contradicted", f"deployment/{name}", data)


def contradictions(tx: Session, deployment: Deployment, found: Sequence[Stretch]) -> tuple[int, ...]:
    """The versions that still answer elsewhere although another one is verified to."""
    if deployment.desired_revision is None or not found:
        return ()
    operation, revision = _wanted(tx, deployment)
    if operation.state is not OperationState.VERIFIED or operation.verified_at is None:
        return ()
    return strays(found, revision.version, operation.verified_at)


def _news(tx: Session, deployment: Deployment, seen: Seen) -> bool:
    known = [row.stretch for row in sightings(tx, deployment.id or 0)]
    return with_seen(known, seen) != known or _to_prove(tx, deployment, seen, known) is not None


def _to_prove(
    tx: Session, deployment: Deployment, seen: Seen, known: Sequence[Stretch]
) -> tuple[Operation, Revision] | None:
    """What is wanted and not verified, if it was seen.

    A version that answered before may be named by predictions of that time that come late: only what was answered
    after the wish proves it.
    """
    if deployment.desired_revision is None:
        return None
    operation, revision = _wanted(tx, deployment)
    moments = seen.get(revision.version, ())
    if operation.state not in _PROVABLE or not moments:
        return None
    if _answered_before(tx, revision, known, operation.planned_at) and max(moments) < operation.planned_at:
        return None
    return operation, revision


def _answered_before(tx: Session, revision: Revision, known: Sequence[Stretch], moment: datetime) -> bool:
    if any(one.version == revision.version and one.first < moment for one in known):
        return True
    earlier = select(Revision).where(
        Revision.deployment_id == revision.deployment_id, col(Revision.number) < revision.number
    )
    return any(one.version == revision.version for one in tx.exec(earlier))


def _wanted(tx: Session, deployment: Deployment) -> tuple[Operation, Revision]:
    number = deployment.desired_revision or 0
    query = select(Operation).where(Operation.deployment_id == deployment.id, Operation.to_revision == number)
    return tx.exec(query).one(), find_revision(tx, deployment.id or 0, number)
