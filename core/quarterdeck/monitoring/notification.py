"""Telling a webhook about an alert."""

from __future__ import annotations

import hashlib

from quarterdeck.database import timestamp
from quarterdeck.monitoring.alert import find_alert
from quarterdeck.workspace import Workspace


def notify(workspace: Workspace, alert_id: int, url: str) -> None:
    """POST the alert to `url`. At least once: the idempotency key is the same at every try.

    Raises:
        QuarterdeckError: the receiver did not take it.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
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
        "open": f"quarterdeck open alert/{alert.id}",
    }
    target = hashlib.sha256(url.encode()).hexdigest()[:12]
    workspace.ports.notifier.send(url, payload, idempotency_key=f"alert-{alert.id}-{alert.severity}-{target}")
