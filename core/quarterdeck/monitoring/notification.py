"""Telling a webhook about an alert."""

from __future__ import annotations

import os

from quarterdeck.database import timestamp
from quarterdeck.errors import UsageError
from quarterdeck.events import Event
from quarterdeck.monitoring.alert import Alert, AlertState, find_alert
from quarterdeck.monitoring.formats import News, message_for
from quarterdeck.settings.notifications import WebhookSettings
from quarterdeck.workspace import Workspace


def notify(workspace: Workspace, alert_id: int, webhook: str, again: str = "") -> None:
    """POST the alert to the webhook of that key. At least once: the idempotency key is the same at every try.

    `again` is what distinguishes telling of it once more: it came back, ended, or a silence is over. A webhook that is
    in quarterdeck.toml no more is told nothing.

    Raises:
        UsageError: the environment lacks the webhook's secret.
        QuarterdeckError: the receiver did not take it.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
    ended = alert.resolved_at if alert.state is AlertState.RESOLVED else None
    _send(
        workspace,
        webhook,
        News(
            id=f"alert-{alert.id}-{alert.severity}{again}-{webhook}",
            kind="alert.firing" if ended is None else "alert.resolved",
            subject=alert.reference,
            at=timestamp(alert.onset),
            ended_at=None if ended is None else timestamp(ended),
            severity=alert.severity,
            summary=alert.summary,
            facts=_facts(workspace, alert),
        ),
    )


def notify_of_event(workspace: Workspace, event_id: int, webhook: str) -> None:
    """POST an event that is no alert of a monitor, such as a full disk. At least once, as above.

    Raises:
        UsageError, QuarterdeckError: as `notify`.
    """
    with workspace.state.read() as tx:
        event = tx.get_one(Event, event_id)
    facts = {
        "event": event.id,
        "workspace": workspace.settings.workspace.name,
        "environment": workspace.settings.workspace.environment,
        "kind": event.kind,
        "at": timestamp(event.at),
        "data": event.data,
        "open": f"quarterdeck open event/{event.id}",
    }
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in event.data.items())
    _send(
        workspace,
        webhook,
        News(
            id=f"event-{event.id}-{webhook}",
            kind=event.kind,
            subject=event.subject,
            at=timestamp(event.at),
            ended_at=timestamp(event.at) if event.kind.endswith(".recovered") else None,
            severity=str(event.data.get("severity", "page")),
            summary=f"{event.kind}: {told}" if told else event.kind,
            facts=facts,
        ),
    )


def _send(workspace: Workspace, key: str, news: News) -> None:
    webhook = next((one for one in workspace.settings.notifications.webhooks if one.key == key), None)
    if webhook is None:
        return
    secret = _secret(webhook)
    message = message_for(webhook.format, news, secret)
    workspace.ports.notifier.send(
        webhook.url,
        message.body,
        idempotency_key=news.id,
        content_type=message.content_type,
        # PagerDuty's key goes along in the body, and is none to sign with.
        secret=None if webhook.format == "pagerduty" else secret,
    )


def _secret(webhook: WebhookSettings) -> str | None:
    if webhook.secret is None:
        return None
    value = os.environ.get(webhook.secret)
    if not value:
        raise UsageError(
            f"The environment variable {webhook.secret}, which a webhook under [notifications] names as its secret, is "
            "not set where the runner runs. Set it there and start the runner again."
        )
    return value


def _facts(workspace: Workspace, alert: Alert) -> dict[str, object]:
    settings = workspace.settings.monitors.get(alert.monitor)
    return {
        "alert": alert.id,
        "workspace": workspace.settings.workspace.name,
        "environment": workspace.settings.workspace.environment,
        "deployment": alert.deployment,
        "version": alert.version,
        "kind": alert.kind,
        "severity": alert.severity,
        "state": alert.state,
        "columns": alert.columns,
        "slice": alert.slice,
        "summary": alert.summary,
        "onset": timestamp(alert.onset),
        "opened_at": timestamp(alert.opened_at),
        "resolved_at": None if alert.resolved_at is None else timestamp(alert.resolved_at),
        "reopened": alert.reopened,
        "owner": None if settings is None else settings.owner,
        "runbook": None if settings is None else settings.runbook,
        "ticket": alert.ticket,
        "open": f"quarterdeck open alert/{alert.id}",
    }
