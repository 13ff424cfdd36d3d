"""What the first line and the tiles of Pulse count."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from quarterdeck_console.formatting import moment
from quarterdeck_console.widgets.header import Status

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Summary:
    last_change: str
    pages: int
    alerts: int
    operations: int
    jobs: int
    frozen_until: datetime | None
    webhooks: tuple[str, ...]
    """Those that take nothing, by name."""
    monitors: tuple[str, ...]
    """Those that fail whenever they look, by name."""


def read_summary(workspace: Workspace) -> Summary:
    """Counts for the first line. Informational alerts are shown in their pane and counted nowhere: they ask nothing."""
    from quarterdeck import events, freezing
    from quarterdeck.deployments.queries import operations
    from quarterdeck.monitoring.queries import alerts
    from quarterdeck.runner.looks import failures_in
    from quarterdeck.runner.queries import jobs
    from quarterdeck.runner.webhooks import webhook_states

    with workspace.state.read() as tx:
        last = events.after(tx, max(0, events.last_id(tx) - 1))
        freeze = freezing.in_force(tx, workspace.now())
        receivers = webhook_states(tx, workspace.settings.notifications.webhooks)
        failing = failures_in(tx, workspace.settings.monitors)
    asking = [alert for alert in alerts(workspace) if alert.severity != "informational"]
    return Summary(
        last_change=moment(last[-1].at) if last else "",
        pages=sum(alert.severity == "page" for alert in asking),
        alerts=len(asking),
        operations=len(operations(workspace, open_only=True)),
        jobs=sum(job.state == "running" for job in jobs(workspace, 50)),
        frozen_until=freeze.until if freeze else None,
        webhooks=tuple(row.name for row in receivers if row.state.ill),
        monitors=tuple(failing),
    )


def with_summary(status: Status, summary: Summary) -> Status:
    return replace(
        status,
        loaded=True,
        last_change=summary.last_change,
        pages=summary.pages,
        alerts=summary.alerts,
        operations=summary.operations,
        jobs=summary.jobs,
        frozen_until=summary.frozen_until,
        webhooks=summary.webhooks,
        monitors=summary.monitors,
    )
