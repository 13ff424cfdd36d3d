"""What the gateway should serve: the desired routes, and the versions to keep loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlmodel import Session, col, select

from quarterdeck.deployments.deployment import IN_GATEWAY, Deployment, ServedBy
from quarterdeck.deployments.knowngood import last_known_good
from quarterdeck.deployments.revision import Revision, find_revision
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.workspace import Workspace

_ELSEWHERE = {
    ServedBy.EXTERNAL: "it is served elsewhere, and its predictions are reported to /v2/models/{name}/predictions",
    ServedBy.BATCH: "it answers to tables: `quarterdeck score {name} TABLE`",
}


@dataclass(frozen=True, slots=True)
class Route:
    """One deployment of the gateway, and the revision that it should answer with."""

    deployment_id: int
    name: str
    revision: int
    model: str
    number: int
    """Number of the model's version."""
    version: ModelVersion
    """The version as it was registered; it belongs to no session and never changes."""
    fallback: Route | None = None
    """The newest verified revision of another version: what answered before, where this one cannot. Where this one
    is withheld, the last known-good one."""
    withheld: str | None = None
    """Why this one is not loaded, although it is desired."""


def desired_routes(workspace: Workspace) -> list[Route]:
    """The route that each deployment of the gateway should have now, by name."""
    with workspace.state.read() as tx:
        return [_route(tx, workspace, deployment) for deployment in _gateway_deployments(tx)]


def not_answering(workspace: Workspace) -> dict[str, str]:
    """Deployments that no gateway answers for, and where their answers come from."""
    query = select(Deployment.name, Deployment.served_by).where(col(Deployment.served_by).not_in(IN_GATEWAY))
    with workspace.state.read() as tx:
        return {name: _ELSEWHERE[ServedBy(served_by)].format(name=name) for name, served_by in tx.exec(query)}


def keep_warm(workspace: Workspace) -> list[Route]:
    """For each deployment of the gateway what to keep loaded: the desired revision, then the last known-good one."""
    warm: list[Route] = []
    with workspace.state.read() as tx:
        for deployment in _gateway_deployments(tx):
            good = last_known_good(tx, workspace, deployment.name)
            for number in (deployment.desired_revision, good):
                if number is None:
                    continue
                revision = find_revision(tx, deployment.id or 0, number)
                if revision.withheld is None:
                    warm.append(_to(tx, deployment, revision))
    return warm


def _gateway_deployments(tx: Session) -> list[Deployment]:
    query = select(Deployment).where(
        col(Deployment.served_by).in_(IN_GATEWAY), col(Deployment.desired_revision).is_not(None)
    )
    return list(tx.exec(query.order_by(Deployment.name)))


def _route(tx: Session, workspace: Workspace, deployment: Deployment) -> Route:
    desired = find_revision(tx, deployment.id or 0, deployment.desired_revision or 0)
    if desired.withheld is not None:
        good = last_known_good(tx, workspace, deployment.name)
        refuge = None if good is None else _to(tx, deployment, find_revision(tx, deployment.id or 0, good))
        return replace(_to(tx, deployment, desired), fallback=refuge, withheld=desired.withheld)
    verified = tx.exec(
        select(Revision)
        .where(Revision.deployment_id == deployment.id, col(Revision.verified_at).is_not(None))
        .order_by(col(Revision.number).desc())
    )
    before = next((revision for revision in verified if revision.version != desired.version), None)
    fallback = None if before is None else _to(tx, deployment, before)
    return replace(_to(tx, deployment, desired), fallback=fallback)


def _to(tx: Session, deployment: Deployment, revision: Revision) -> Route:
    version = find_version(tx, deployment.model, revision.version)
    return Route(
        deployment_id=deployment.id or 0,
        name=deployment.name,
        revision=revision.number,
        model=deployment.model,
        number=version.number,
        version=version,
    )
