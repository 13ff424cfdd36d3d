"""Alerts on the deployment `fraud`, and what came of them."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import select

from quarterdeck import events
from quarterdeck.deployments.revision import Revision, RevisionKind
from quarterdeck.events import Event
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Severity, find_alert
from quarterdeck.monitoring.alerting import facts
from quarterdeck.pipelines.run import Run
from quarterdeck.workspace import Workspace
from tests.backtested import START


def alarm(
    workspace: Workspace,
    version: int,
    kind: AlertKind = AlertKind.QUALITY,
    severity: Severity = Severity.PAGE,
    told: str = "alert.opened",
    onset: datetime = START,
) -> int:
    """An alert on `fraud`, as its monitor opens it; its number. It began with the first row, or later."""
    now = workspace.now()
    inputs = kind in (AlertKind.DRIFT, AlertKind.MISSING)
    with workspace.state.write("test") as tx:
        alert = Alert(
            monitor="fraud",
            deployment="fraud",
            version=version,
            kind=kind,
            columns=["amount" if inputs else "roc_auc"],
            severity=severity,
            score=0.4,
            state=AlertState.OPEN,
            summary="it got worse",
            evidence={},
            onset=onset,
            last_window_end=now,
            opened_at=now,
        )
        tx.add(alert)
        tx.flush()
        workspace.record(tx, told, alert.reference, facts(alert))
        assert alert.id is not None
        return alert.id


def resolve(workspace: Workspace, number: int) -> None:
    with workspace.state.write("test") as tx:
        alert = find_alert(tx, number)
        alert.resolve(workspace.now())
        workspace.record(tx, "alert.resolved", alert.reference, facts(alert))


def told(workspace: Workspace, *kinds: str) -> list[Event]:
    with workspace.state.read() as tx:
        return [one for one in events.after(tx, 0, 10_000) if one.kind in kinds]


def runs(workspace: Workspace) -> list[Run]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Run)))


def rollbacks(workspace: Workspace) -> list[Revision]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Revision).where(Revision.kind == RevisionKind.ROLLBACK)))
