"""What is told of alerts and events, as the receivers of the field read it: one by itself, or several in a digest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quarterdeck.settings.notifications import WebhookFormat

UNTIL_TOLD = "9999-12-31T00:00:00Z"
JSON, CLOUDEVENTS = "application/json", "application/cloudevents+json"
CLOUDEVENTS_BATCH = "application/cloudevents-batch+json"
SLACK_LINE = 600
"""Characters of what a digest says of one alert, of the 3,000 that Slack takes in a section."""


@dataclass(frozen=True, slots=True)
class News:
    """What is to be told."""

    id: str
    """The same at every try: whoever gets it twice can tell."""
    kind: str
    """`alert.firing`, `alert.resolved`, or an event's: `disk.low`."""
    subject: str
    """`alert/3`: the same as long as it is the same alert."""
    at: str
    """When it began, or happened: RFC 3339, UTC."""
    ended_at: str | None
    severity: str
    summary: str
    facts: Mapping[str, Any]
    """All that is known, as our own format has it."""


@dataclass(frozen=True, slots=True)
class Message:
    """The body of a POST, before it is JSON, and its content type."""

    body: dict[str, Any] | list[dict[str, Any]]
    content_type: str = JSON


def message_for(style: WebhookFormat, told: Sequence[News], key: str | None) -> Message:
    """What to send in that format; `key` is PagerDuty's routing key, and that takes one news at a time.

    In a digest what may get people up comes first, and what has ended last.
    """
    if style == "pagerduty":
        (news,) = told
        return Message(_pagerduty(news, key or ""))
    if len(told) == 1 and style in _ONE:
        return _ONE[style](told[0])
    return _DIGESTS[style](sorted(told, key=_urgency))


def _urgency(news: News) -> tuple[bool, bool]:
    return news.ended_at is not None, news.severity != "page"


def counted(told: Sequence[News]) -> str:
    """`12 alerts: 3 page, 7 warning, 2 resolved`."""
    words = ["resolved" if news.ended_at else news.severity for news in told]
    return f"{len(told)} alerts: " + ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))


def _digest(told: Sequence[News]) -> Message:
    first = told[0]
    body = {
        "kind": "digest",
        "workspace": first.facts["workspace"],
        "environment": first.facts["environment"],
        "severity": first.severity,
        "summary": counted(told),
        "open": "quarterdeck alerts",
        "alerts": [dict(news.facts) for news in told],
    }
    return Message(body)


def _cloudevents(news: News) -> Message:
    # CloudEvents 1.0, structured mode: https://github.com/cloudevents/spec
    return Message(_cloudevent(news), CLOUDEVENTS)


def _cloudevents_digest(told: Sequence[News]) -> Message:
    # Batched mode: an array of events, each as it would be by itself.
    return Message([_cloudevent(news) for news in told], CLOUDEVENTS_BATCH)


def _cloudevent(news: News) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": news.id,
        "source": f"/quarterdeck/{news.facts['workspace']}",
        "type": f"quarterdeck.{news.kind}",
        "subject": news.subject,
        "time": news.ended_at or news.at,
        "datacontenttype": JSON,
        "data": dict(news.facts),
    }


def _slack(news: News) -> Message:
    # Incoming webhooks: https://docs.slack.dev/messaging/formatting-message-text
    lines = [f"*{_escaped(_title(news))}*", _escaped(news.summary)]
    more = [f"since {news.at[:16].replace('T', ' ')} UTC", f"`{_escaped(str(news.facts['open']))}`"]
    more += [f"<{_escaped(str(news.facts[name]))}|{name}>" for name in ("runbook",) if news.facts.get(name)]
    more += [f"{name} {_escaped(str(news.facts[name]))}" for name in ("owner", "ticket") if news.facts.get(name)]
    return Message(_sections("\n".join([*lines, " · ".join(more)])))


def _slack_digest(told: Sequence[News]) -> Message:
    lines = [f"*{_escaped(counted(told))}*"]
    for news in told:
        words = _escaped(f"{_title(news)}: {news.summary}"[:SLACK_LINE])
        lines.append(f"{words}\n`{_escaped(str(news.facts['open']))}`")
    return Message(_sections(*lines))


def _sections(*texts: str) -> dict[str, Any]:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in texts]
    return {"text": texts[0], "blocks": blocks}


def _pagerduty(news: News, key: str) -> dict[str, Any]:
    # Events API v2: https://developer.pagerduty.com/docs/events-api-v2-overview
    runbook = news.facts.get("runbook")
    return {
        "routing_key": key,
        "event_action": "resolve" if news.ended_at else "trigger",
        "dedup_key": f"quarterdeck/{news.facts['workspace']}/{news.subject}",
        "payload": {
            "summary": f"{_title(news)}: {news.summary}"[:1024],
            "source": str(news.facts["workspace"]),
            "severity": {"page": "critical", "warning": "warning"}.get(news.severity, "info"),
            "timestamp": news.at,
            "component": news.facts.get("deployment"),
            "class": news.facts.get("kind"),
            "custom_details": dict(news.facts),
        },
        "links": [{"href": runbook, "text": "runbook"}] if runbook else [],
    }


def _alertmanager(told: Sequence[News]) -> Message:
    # It takes a list of alerts, and groups them by itself.
    return Message([alert for news in told for alert in _alerts(news)])


def _alerts(news: News) -> list[dict[str, Any]]:
    # https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml: labels identify, annotations tell.
    # The first part of an event's kind alone: `disk.low` and `disk.recovered` begin and end the same alert.
    labels = {"alertname": f"Quarterdeck {news.facts['kind'].partition('.')[0]}", "subject": news.subject}
    labels |= {
        name: str(news.facts[name]) for name in ("workspace", "environment", "deployment") if news.facts.get(name)
    }
    told = {"summary": news.summary, "open": str(news.facts["open"])}
    told |= {
        f"{name}_url" if name == "runbook" else name: str(value)
        for name in ("runbook", "owner", "ticket")
        if (value := news.facts.get(name))
    }
    # The severity is a label, by which people route: what became a page ends as a warning. Without an end Alertmanager
    # forgets within minutes what is not told again.
    return [
        {
            "labels": {**labels, "severity": severity},
            "annotations": told,
            "startsAt": news.at,
            "endsAt": news.ended_at or (UNTIL_TOLD if severity == news.severity else news.at),
        }
        for severity in ("page", "warning")
    ]


_ONE: dict[WebhookFormat, Callable[[News], Message]] = {
    "json": lambda news: Message(dict(news.facts)),
    "cloudevents": _cloudevents,
    "slack": _slack,
}
_DIGESTS: dict[WebhookFormat, Callable[[Sequence[News]], Message]] = {
    "json": _digest,
    "cloudevents": _cloudevents_digest,
    "slack": _slack_digest,
    "alertmanager": _alertmanager,
}


def _title(news: News) -> str:
    place = news.facts.get("deployment") or news.facts["workspace"]
    return f"{'resolved' if news.ended_at else news.severity}: {place}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
