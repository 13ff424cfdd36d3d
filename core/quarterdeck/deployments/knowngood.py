"""The last known-good revision: where a rollback goes when nobody says where. If there is none, there is none."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, select

from quarterdeck.deployments.deployment import Deployment, find_deployment
from quarterdeck.deployments.fitness import why_not
from quarterdeck.deployments.revision import Revision, RevisionKind
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Judgement, Severity
from quarterdeck.traffic.queries import served_at_least
from quarterdeck.workspace import Workspace


def last_known_good(tx: Session, workspace: Workspace, name: str) -> int | None:
    """The number of the newest revision, before the desired one and of another version, that may be trusted.

    It was verified, served at least the set time and number of requests, was not itself rolled away from, had no
    page-level alert while it served, and can serve now. None where no revision is all that: never a guess.

    Raises:
        NotFoundError: there is no deployment of that name.
    """
    deployment = find_deployment(tx, name)
    revisions = list(
        tx.exec(select(Revision).where(Revision.deployment_id == deployment.id).order_by(col(Revision.number).desc()))
    )
    by_number = {revision.number: revision for revision in revisions}
    desired = by_number.get(deployment.desired_revision or 0)
    if desired is None:
        return None
    pages = _pages(tx, deployment.name)
    rolled_away_from = {
        revision.replaces for revision in revisions if revision.kind in (RevisionKind.ROLLBACK, RevisionKind.UNDO)
    }
    for revision in revisions:
        if (
            revision.version != desired.version
            and revision.withheld is None
            and revision.number not in rolled_away_from
            and not _paged(revision, pages)
            and _served_long_enough(workspace, deployment, revision)
            and why_not(tx, workspace, deployment, revision.version, serving=desired.version) is None
        ):
            return revision.number
    return None


def _served_long_enough(workspace: Workspace, deployment: Deployment, revision: Revision) -> bool:
    if revision.verified_at is None:
        return False
    settings = workspace.settings.deployment(deployment.name)
    until = revision.replaced_at or workspace.now()
    return until - revision.verified_at >= settings.probation and served_at_least(
        workspace,
        deployment.name,
        revision.number,
        settings.probation_requests,
        since=revision.created_at,
    )


def _pages(tx: Session, deployment: str) -> list[Alert]:
    """The page-level alerts that speak against a version.

    What was called noise does not, and neither does an alert on inputs that is over: it told of what arrived, and a
    version is not worse for it once that is mended.
    """
    pages = tx.exec(select(Alert).where(Alert.deployment == deployment, Alert.severity == Severity.PAGE))
    return [
        alert
        for alert in pages
        if alert.judgement is not Judgement.NOISE
        and (alert.kind in (AlertKind.QUALITY, AlertKind.OUTAGE) or alert.state is not AlertState.RESOLVED)
    ]


def _paged(revision: Revision, pages: list[Alert]) -> bool:
    return any(alert.version == revision.version and _while_serving(revision, alert.opened_at) for alert in pages)


def _while_serving(revision: Revision, moment: datetime) -> bool:
    return revision.created_at <= moment and (revision.replaced_at is None or moment < revision.replaced_at)
