"""A silence: for a stated time an alert tells nobody. It is followed all the same, and comes back by itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from quarterdeck.database import timestamp
from quarterdeck.errors import UsageError
from quarterdeck.monitoring.alert import Alert, AlertState, find_alert
from quarterdeck.monitoring.alerting import facts
from quarterdeck.monitoring.grouping import members
from quarterdeck.workspace import Workspace

LONGEST = timedelta(days=30)


def silence(
    workspace: Workspace, alert_id: int, duration: timedelta, *, reason: str, actor: str | None = None
) -> datetime:
    """Let the alert, and those that it stands for, tell nobody for `duration`; return when that ends.

    A silence that holds is prolonged or cut.

    Raises:
        UsageError: the duration is not between a second and 30 days, or no reason is given.
        NotFoundError: there is no such alert.
        IllegalTransitionError: it is resolved.
        ReadOnlyError: the workspace is read-only.
    """
    if not timedelta(seconds=1) <= duration <= LONGEST:
        raise UsageError("A silence lasts from 1s to 30d. What should never tell anybody is a monitor's own setting.")
    if not reason.strip():
        raise UsageError("Say why it is silenced: whoever comes next will want to know.")
    with workspace.change("silence") as tx:
        alert = find_alert(tx, alert_id)
        until = workspace.now() + duration
        for one in (alert, *members(tx, alert)):
            one.silence(until)
            tx.add(one)
            data = {**facts(one), "until": timestamp(until), "reason": reason.strip()}
            workspace.record(tx, "alert.silenced", one.reference, data, actor=actor)
        return until


def unsilence(workspace: Workspace, alert_id: int, *, actor: str | None = None) -> None:
    """End the silence of an alert now.

    Raises:
        NotFoundError: there is no such alert.
        IllegalTransitionError: it is not silenced.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("unsilence") as tx:
        alert = find_alert(tx, alert_id)
        _wake(tx, workspace, alert, actor)
        for one in members(tx, alert):
            if one.state is AlertState.SILENCED:
                _wake(tx, workspace, one, actor)


def end_silences(workspace: Workspace) -> int:
    """Wake the alerts whose silence is over, and return how many: called by the runner again and again."""
    with workspace.state.read() as tx:
        if tx.exec(_over(workspace.now())).first() is None:
            return 0
    with workspace.state.write("end silences") as tx:
        alerts = tx.exec(_over(workspace.now())).all()
        for alert in alerts:
            _wake(tx, workspace, alert, None)
        return len(alerts)


def _over(now: datetime) -> SelectOfScalar[Alert]:
    return select(Alert).where(Alert.state == AlertState.SILENCED, col(Alert.silenced_until) <= now)


def _wake(tx: Session, workspace: Workspace, alert: Alert, actor: str | None) -> None:
    alert.wake()
    tx.add(alert)
    workspace.record(tx, "alert.unsilenced", alert.reference, facts(alert), actor=actor)
