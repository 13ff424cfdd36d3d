"""Telling a webhook about an alert."""

from __future__ import annotations

import hashlib

from quarterdeck.database import timestamp
from quarterdeck.events import Event
from quarterdeck.monitoring.alert import find_alert
from quarterdeck.workspace import Workspace


def notify(workspace: Workspace, alert_id: int, url: str, again: str = "") -> None:
    """POST the alert to `url`. At least once: the idempotency key is the same at every try.

    `again` is what distinguishes telling of it once more: it came back, or a silence has ended.

    Raises:
        QuarterdeckError: the receiver did not take it.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
    settings = workspace.settings.monitors.get(alert.monitor)
    payload = {
        "alert": alert.id,
        "workspace": workspace.settings.workspace.name,
        "environment": workspace.settings.workspace.environment,
        "deployment": alert.deployment,
        "version": alert.version,
        "kind": alert.kind,
        "severity": alert.severity,
        "columns": alert.columns,
        "slice": alert.slice,
        "summary": alert.summary,
        "onset": timestamp(alert.onset),
        "opened_at": timestamp(alert.opened_at),
        "reopened": alert.reopened,
        "owner": None if settings is None else settings.owner,
        "runbook": None if settings is None else settings.runbook,
        "ticket": alert.ticket,
        "open": f"quarterdeck open alert/{alert.id}",
    }
    workspace.ports.notifier.send(
        url, payload, idempotency_key=f"alert-{alert.id}-{alert.severity}{again}-{_target(url)}"
    )


def notify_of_event(workspace: Workspace, event_id: int, url: str) -> None:
    """POST an event that is no alert of a monitor, such as a full disk, to `url`. At least once, as above.

    Raises:
        QuarterdeckError: the receiver did not take it.
    """
    with workspace.state.read() as tx:
        event = tx.get_one(Event, event_id)
    payload = {
        "event": event.id,
        "workspace": workspace.settings.workspace.name,
        "environment": workspace.settings.workspace.environment,
        "kind": event.kind,
        "at": timestamp(event.at),
        "data": event.data,
        "open": f"quarterdeck open event/{event.id}",
    }
    workspace.ports.notifier.send(url, payload, idempotency_key=f"event-{event.id}-{_target(url)}")


def _target(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]
