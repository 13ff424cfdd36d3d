"""Telling a webhook about alerts and events: one message, as its receiver reads it."""

from __future__ import annotations

import os

from sqlmodel import Session

from quarterdeck.database import timestamp
from quarterdeck.errors import UsageError
from quarterdeck.events import Event
from quarterdeck.monitoring.alert import Alert, AlertState, find_alert
from quarterdeck.monitoring.formats import News, message_for
from quarterdeck.monitoring.grouping import members
from quarterdeck.monitoring.notice import Notice, notices_of
from quarterdeck.settings.notifications import WebhookSettings
from quarterdeck.workspace import Workspace


def tell(workspace: Workspace, message: str, webhook: str) -> None:
    """POST a message to the webhook of that key. At least once: the idempotency key is the same at every try.

    Alerts are told of as they are now, each once; one that is silenced is left to the end of its silence. A webhook
    that is in quarterdeck.toml no more is told nothing.

    Raises:
        UsageError: the environment lacks the webhook's secret.
        QuarterdeckError: the receiver did not take it.
    """
    settings = next((one for one in workspace.settings.notifications.webhooks if one.key == webhook), None)
    if settings is None:
        return
    with workspace.state.read() as tx:
        notices = notices_of(tx, message)
        # The newest notice of a subject says all that the others did.
        found = {notice.subject: _news(tx, workspace, notice) for notice in notices}
    told = [news for news in found.values() if news is not None]
    if not told:
        # A message that says nothing is not sent, and whoever would have got it took nothing.
        with workspace.state.write("notify") as tx:
            for notice in notices_of(tx, message):
                tx.delete(notice)
        return
    first = notices[0].name
    send(workspace, settings, told, key=first if len(notices) == 1 else f"digest-{first}")


def try_out(workspace: Workspace, webhook: WebhookSettings) -> int:
    """Send a test to a webhook; the status that it answered. At PagerDuty it opens an incident, and ends it at once.

    Raises:
        UsageError: the environment lacks the webhook's secret.
        QuarterdeckError: the receiver did not take it.
    """
    at = timestamp(workspace.now())
    facts = {
        "workspace": workspace.settings.workspace.name,
        "environment": workspace.settings.workspace.environment,
        "kind": "test",
        "at": at,
        "open": "quarterdeck webhooks",
    }
    summary = "A test of this webhook: nothing is wrong."
    key = f"test-{at}-{webhook.key}"
    # What keeps incidents must not keep this one; Alertmanager takes what ended as it began, and tells nobody.
    ends = {"pagerduty": (None, at), "alertmanager": (at,)}.get(webhook.format, (None,))
    status = 0
    for end in ends:
        news = News(key, "test", "test", at, end, "test", summary, {**facts, "summary": summary})
        status = send(workspace, webhook, [news], key=key if end is None else f"{key}-resolved")
    return status


def send(workspace: Workspace, webhook: WebhookSettings, told: list[News], *, key: str) -> int:
    """POST one message; the status that was answered.

    Raises:
        UsageError: the environment lacks the webhook's secret.
        QuarterdeckError: the receiver did not take it.
    """
    secret = _secret(webhook)
    message = message_for(webhook.format, told, secret)
    return workspace.ports.notifier.send(
        webhook.url,
        message.body,
        idempotency_key=key,
        content_type=message.content_type,
        # PagerDuty's key goes along in the body, and is none to sign with.
        secret=None if webhook.format == "pagerduty" else secret,
    )


def _news(tx: Session, workspace: Workspace, notice: Notice) -> News | None:
    number = int(notice.subject.partition("/")[2])
    if notice.subject.startswith("event/"):
        return _news_of_event(workspace, notice, tx.get_one(Event, number))
    alert = find_alert(tx, number)
    return None if alert.state is AlertState.SILENCED else _news_of_alert(tx, workspace, notice, alert)


def _news_of_alert(tx: Session, workspace: Workspace, notice: Notice, alert: Alert) -> News:
    also = [one.deployment for one in members(tx, alert)]
    ended = alert.resolved_at if alert.state is AlertState.RESOLVED else None
    return News(
        id=notice.name,
        kind="alert.firing" if ended is None else "alert.resolved",
        subject=alert.reference,
        at=timestamp(alert.onset),
        ended_at=None if ended is None else timestamp(ended),
        severity=alert.severity,
        summary=f"{alert.summary} (also in {', '.join(also)})" if also else alert.summary,
        facts=_facts(workspace, alert, also),
    )


def _news_of_event(workspace: Workspace, notice: Notice, event: Event) -> News:
    told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in event.data.items())
    return News(
        id=notice.name,
        kind=event.kind,
        subject=event.subject,
        at=timestamp(event.at),
        ended_at=timestamp(event.at) if notice.ended else None,
        severity=notice.severity,
        summary=f"{event.kind}: {told}" if told else event.kind,
        facts={
            "event": event.id,
            "workspace": workspace.settings.workspace.name,
            "environment": workspace.settings.workspace.environment,
            "kind": event.kind,
            "at": timestamp(event.at),
            "data": event.data,
            "open": f"quarterdeck open event/{event.id}",
        },
    )


def _secret(webhook: WebhookSettings) -> str | None:
    if webhook.secret is None:
        return None
    value = os.environ.get(webhook.secret)
    if not value:
        raise UsageError(
            f"The environment variable {webhook.secret}, which a webhook under [notifications] names as its secret, is "
            "not set here. Set it where the runner runs and start the runner again; a test needs it, too."
        )
    return value


def _facts(workspace: Workspace, alert: Alert, also: list[str]) -> dict[str, object]:
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
        "also": also,
        "open": f"quarterdeck open alert/{alert.id}",
    }
