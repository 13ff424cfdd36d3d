"""Changing what a deployment serves: deploy, roll back, undo. Each makes a new revision; nothing is rewound."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from quarterdeck import lineage
from quarterdeck.deployments.admission import (
    refuse_failed_gate,
    refuse_unless_fit,
    refuse_without_command,
    refuse_without_reason,
)
from quarterdeck.deployments.deployment import (
    IN_GATEWAY,
    Deployment,
    ServedBy,
    find_deployment,
    served_in_gateway,
)
from quarterdeck.deployments.knowngood import last_known_good
from quarterdeck.deployments.operation import Operation, OperationState
from quarterdeck.deployments.queries import operation_row
from quarterdeck.deployments.revision import Revision, RevisionKind, champion, find_revision, last_number
from quarterdeck.deployments.rows import OperationRow
from quarterdeck.errors import ConflictError, RefusedError, UsageError
from quarterdeck.registry.version import find_version
from quarterdeck.workspace import Workspace

_EVENTS = {
    RevisionKind.DEPLOY: "deployment.deployed",
    RevisionKind.ROLLBACK: "deployment.rolled_back",
    RevisionKind.UNDO: "deployment.undone",
}


def deploy(
    workspace: Workspace,
    name: str,
    *,
    model: str,
    version: int,
    reason: str = "",
    actor: str | None = None,
    expected: int | None = None,
    served_by: ServedBy | None = None,
) -> OperationRow:
    """Make `version` of `model` what deployment `name` serves; a deployment of a new name is made.

    Deploying the version that is desired already changes nothing and returns the operation that put it there; where
    its revision is withheld, that is a new try by a new revision.
    `served_by` left out is who serves the deployment now, and the gateway for a new one.

    Raises:
        NotFoundError: there is no such model or version.
        UsageError: the name cannot be one, or the deployment serves another model or from elsewhere.
        RefusedError: the version's gate failed, it cannot serve, or a protected deployment was given no reason.
        ConflictError: `expected` is not the desired revision.
    """
    with workspace.change("deploy") as tx:
        operation = deploy_in(
            tx,
            workspace,
            name,
            model=model,
            version=version,
            reason=reason,
            actor=actor,
            expected=expected,
            served_by=served_by,
        )
    return _as_row(workspace, operation)


def deploy_in(
    tx: Session,
    workspace: Workspace,
    name: str,
    *,
    model: str,
    version: int,
    reason: str,
    actor: str | None = None,
    expected: int | None = None,
    served_by: ServedBy | None = None,
) -> Operation:
    """`deploy`, inside a transaction that does more."""
    target = find_version(tx, model, version)
    deployment = _existing_or_new(tx, workspace, name, model, served_by)
    deployment.expect(expected)
    serving = _serving_version(tx, deployment)
    if serving == version and not _withheld(tx, deployment):
        return _newest_operation(tx, deployment)
    refuse_failed_gate(target, model)
    refuse_unless_fit(tx, workspace, deployment, version, serving)
    refuse_without_reason(workspace, name, reason)
    return _change(tx, workspace, deployment, RevisionKind.DEPLOY, champion(version), None, reason, actor)


def _withheld(tx: Session, deployment: Deployment) -> bool:
    """Whether the revision that is desired took the gateway along, and is not loaded."""
    return find_revision(tx, _id_of(deployment), deployment.desired_revision or 0).withheld is not None


def roll_back(
    workspace: Workspace,
    name: str,
    *,
    to: int | None = None,
    expected: int | None = None,
    reason: str,
    actor: str | None = None,
) -> OperationRow:
    """Make a new revision with the variants of revision `to`; of the last known-good one when `to` is None.

    Raises:
        NotFoundError: there is no such deployment or revision.
        UsageError: `to` is the desired revision, or serves the same version.
        RefusedError: there is no known-good revision, `to` cannot serve, the deployment is served elsewhere without a
            `rollback_command`, or it is protected and there is no reason.
        ConflictError: `expected` is not the desired revision, or the deployment moved meanwhile.
    """
    seen = expected
    if to is None:
        # Looked up before the write: it reads traffic.db, and nobody should wait for that with the lock held.
        with workspace.state.read() as tx:
            seen = find_deployment(tx, name).desired_revision if expected is None else expected
            to = last_known_good(tx, workspace, name)
    with workspace.change("roll back") as tx:
        operation = roll_back_in(tx, workspace, name, to=to, expected=seen, reason=reason, actor=actor)
    return _as_row(workspace, operation)


def roll_back_in(
    tx: Session,
    workspace: Workspace,
    name: str,
    *,
    to: int | None,
    expected: int | None,
    reason: str,
    actor: str | None = None,
) -> Operation:
    """`roll_back`, inside a transaction that does more; `to` is None where the last known-good revision is none."""
    deployment = find_deployment(tx, name)
    deployment.expect(expected)
    refuse_without_command(workspace, deployment)
    if to is None:
        raise RefusedError(
            f"Deployment '{name}' has no known-good revision to go back to: none was verified, served long enough "
            f"and stayed clean. Choose one yourself: `quarterdeck rollback {name} --to REVISION`; "
            f"`quarterdeck history {name}` lists them."
        )
    target = find_revision(tx, _id_of(deployment), to)
    serving = _serving_version(tx, deployment)
    if target.version == serving:
        raise UsageError(
            f"Revision {to} of '{name}' serves version {serving}, which is what is desired now. "
            f"Choose another one: `quarterdeck history {name}` lists them."
        )
    refuse_unless_fit(tx, workspace, deployment, target.version, serving)
    refuse_without_reason(workspace, name, reason)
    return _change(tx, workspace, deployment, RevisionKind.ROLLBACK, target.variants, target.number, reason, actor)


def undo(
    workspace: Workspace, name: str, *, expected: int | None = None, reason: str = "", actor: str | None = None
) -> OperationRow:
    """Reverse the newest change: a new revision with the variants of the one that was desired before it.

    Raises:
        NotFoundError: there is no such deployment.
        RefusedError: there was nothing before the newest change, what was there cannot serve, the deployment is
            served elsewhere without a `rollback_command`, or it is protected and there is no reason.
        ConflictError: `expected` is not the desired revision.
    """
    with workspace.change("undo") as tx:
        deployment = find_deployment(tx, name)
        deployment.expect(expected)
        refuse_without_command(workspace, deployment)
        newest = find_revision(tx, _id_of(deployment), deployment.desired_revision or 0)
        if newest.replaces is None:
            raise RefusedError(
                f"Revision {newest.number} of '{name}' is its first: there is nothing before it to go back to."
            )
        before = find_revision(tx, _id_of(deployment), newest.replaces)
        refuse_unless_fit(tx, workspace, deployment, before.version, newest.version)
        refuse_without_reason(workspace, name, reason)
        why = reason or f"undo of revision {newest.number} ({newest.kind})"
        operation = _change(tx, workspace, deployment, RevisionKind.UNDO, before.variants, before.number, why, actor)
    return _as_row(workspace, operation)


def _as_row(workspace: Workspace, operation: Operation) -> OperationRow:
    # Read after the commit: the gateway waits for that, and nobody for this.
    with workspace.state.read() as tx:
        return operation_row(tx, tx.get_one(Operation, operation.id))


def _change(
    tx: Session,
    workspace: Workspace,
    deployment: Deployment,
    kind: RevisionKind,
    variants: list[dict[str, Any]],
    goes_back_to: int | None,
    reason: str,
    actor: str | None,
) -> Operation:
    """Write the new revision, point the deployment at it, and open the operation that is to be proved."""
    now, who, deployment_id = workspace.now(), actor or workspace.actor, _id_of(deployment)
    before = deployment.desired_revision
    if before is not None:
        find_revision(tx, deployment_id, before).replaced_at = now
    _supersede(tx, deployment_id)
    revision = Revision(
        deployment_id=deployment_id,
        number=last_number(tx, deployment_id) + 1,
        kind=kind,
        variants=variants,
        goes_back_to=goes_back_to,
        replaces=before,
        reason=reason,
        actor=who,
        created_at=now,
    )
    operation = Operation(
        deployment_id=deployment_id,
        kind=kind,
        from_revision=before,
        to_revision=revision.number,
        state=_first_state(deployment, kind),
        actor=who,
        reason=reason,
        planned_at=now,
    )
    deployment.desired_revision = revision.number
    if deployment.served_by in IN_GATEWAY:
        deployment.served_by = served_in_gateway(find_version(tx, deployment.model, revision.version).format)
    tx.add_all([deployment, revision, operation])
    tx.flush()
    data = {
        "operation": operation.id,
        "from": before,
        "to": revision.number,
        "model": deployment.model,
        "version": revision.version,
        "reason": reason,
        "served_by": deployment.served_by,
    }
    workspace.record(tx, _EVENTS[kind], f"deployment/{deployment.name}", data, actor=actor)
    source, target = f"version/{deployment.model}@{revision.version}", f"revision/{deployment.name}@{revision.number}"
    lineage.connect(tx, source, target)
    return operation


def _first_state(deployment: Deployment, kind: RevisionKind) -> OperationState:
    """Planned where somebody of ours has to act; where it is for others to show what they serve, unproven."""
    if deployment.served_by is ServedBy.BATCH:
        return OperationState.UNPROVEN
    # What is deployed elsewhere was done there, and is told here; going back is asked for here.
    told = deployment.served_by is ServedBy.EXTERNAL and kind is RevisionKind.DEPLOY
    return OperationState.UNPROVEN if told else OperationState.PLANNED


def _supersede(tx: Session, deployment_id: int) -> None:
    under_way = select(Operation).where(
        Operation.deployment_id == deployment_id,
        col(Operation.state).in_((OperationState.PLANNED, OperationState.UNPROVEN)),
    )
    for operation in tx.exec(under_way):
        operation.state = OperationState.SUPERSEDED


def _existing_or_new(
    tx: Session, workspace: Workspace, name: str, model: str, served_by: ServedBy | None
) -> Deployment:
    deployment = tx.exec(select(Deployment).where(Deployment.name == name)).first()
    if deployment is None:
        try:
            server = served_by or ServedBy.GATEWAY
            deployment = Deployment(name=name, model=model, served_by=server, created_at=workspace.now())
        except ValueError:
            raise UsageError(
                f"'{name}' cannot be a deployment's name: use letters, digits, '.', '_' and '-', at most 100, no blank."
            ) from None
        tx.add(deployment)
        tx.flush()
    if deployment.model != model:
        raise UsageError(
            f"Deployment '{name}' serves versions of model '{deployment.model}', not of '{model}'. "
            "Deploy it under another name."
        )
    if served_by not in (None, deployment.served_by) and not {served_by, deployment.served_by} <= set(IN_GATEWAY):
        raise UsageError(
            f"Deployment '{name}' is served by {deployment.served_by}, not by {served_by}. Use another name."
        )
    return deployment


def _serving_version(tx: Session, deployment: Deployment) -> int | None:
    if deployment.desired_revision is None:
        return None
    return find_revision(tx, _id_of(deployment), deployment.desired_revision).version


def _newest_operation(tx: Session, deployment: Deployment) -> Operation:
    query = select(Operation).where(Operation.deployment_id == deployment.id).order_by(col(Operation.id).desc())
    operation = tx.exec(query.limit(1)).first()
    if operation is None:
        raise ConflictError(f"Deployment '{deployment.name}' has a revision but no operation. Restore a backup.")
    return operation


def _id_of(deployment: Deployment) -> int:
    assert deployment.id is not None
    return deployment.id
