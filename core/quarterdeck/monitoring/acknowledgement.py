"""Taking an alert on, with the answer to: was it real, or noise?"""

from __future__ import annotations

from quarterdeck.monitoring.alert import Judgement, find_alert
from quarterdeck.monitoring.grouping import members
from quarterdeck.workspace import Workspace


def acknowledge(workspace: Workspace, alert_id: int, judgement: Judgement, *, actor: str | None = None) -> None:
    """Mark the alert, and those that it stands for, as taken on by `actor`, who judges it real or noise.

    Raises:
        NotFoundError: there is no such alert.
        IllegalTransitionError: it is resolved.
        ReadOnlyError: the workspace is read-only.
    """
    who = actor or workspace.actor
    with workspace.change("ack") as tx:
        alert = find_alert(tx, alert_id)
        for one in (alert, *members(tx, alert)):
            one.acknowledge(who, judgement)
            tx.add(one)
            workspace.record(tx, "alert.acknowledged", one.reference, {"judgement": judgement}, actor=who)
