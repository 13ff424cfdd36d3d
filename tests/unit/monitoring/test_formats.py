"""What the receivers of the field get, each in its own format."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from quarterdeck.monitoring.formats import UNTIL_TOLD, News, message_for
from quarterdeck.settings.notifications import NotificationSettings, WebhookSettings

FACTS = {
    "alert": 3,
    "workspace": "shop",
    "environment": "prod",
    "deployment": "fraud",
    "kind": "drift",
    "severity": "page",
    "summary": "amount moved: 0.8 sigma <b> & more",
    "owner": "ada",
    "runbook": "https://wiki.example.org/fraud",
    "ticket": None,
    "open": "quarterdeck open alert/3",
}


def news(**changes: Any) -> News:
    fields: dict[str, Any] = {
        "id": "alert-3-page-abc",
        "kind": "alert.firing",
        "subject": "alert/3",
        "at": "2026-01-05T10:00:00.000000Z",
        "ended_at": None,
        "severity": "page",
        "summary": FACTS["summary"],
        "facts": FACTS,
    }
    return News(**{**fields, **changes})


ENDED = "2026-01-05T12:00:00.000000Z"


def test_our_own_format_is_all_that_is_known() -> None:
    assert message_for("json", news(), None).body == FACTS


def test_cloudevents_has_what_its_specification_requires() -> None:
    message = message_for("cloudevents", news(), None)
    assert message.content_type == "application/cloudevents+json"
    assert isinstance(message.body, dict)
    required = {"specversion": "1.0", "id": "alert-3-page-abc", "source": "/quarterdeck/shop"}
    assert message.body.items() >= {**required, "type": "quarterdeck.alert.firing", "subject": "alert/3"}.items()
    assert (message.body["time"], message.body["data"]) == (news().at, FACTS)


def test_slack_gets_a_text_in_which_nothing_is_markup_by_accident() -> None:
    body = message_for("slack", news(), None).body
    assert isinstance(body, dict)
    assert body["text"].startswith("*page: fraud*\namount moved: 0.8 sigma &lt;b&gt; &amp; more\n")
    assert "`quarterdeck open alert/3`" in body["text"]
    assert "<https://wiki.example.org/fraud|runbook>" in body["text"]
    assert body["blocks"][0]["text"] == {"type": "mrkdwn", "text": body["text"]}
    ended = message_for("slack", news(ended_at=ENDED), None).body
    assert isinstance(ended, dict)
    assert ended["text"].startswith("*resolved: fraud*")


def test_pagerduty_opens_and_ends_one_incident_by_one_key() -> None:
    opened, ended = (message_for("pagerduty", one, "routing").body for one in (news(), news(ended_at=ENDED)))
    assert isinstance(opened, dict)
    assert isinstance(ended, dict)
    assert (opened["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == ended["dedup_key"] == "quarterdeck/shop/alert/3"
    assert (opened["routing_key"], opened["payload"]["severity"]) == ("routing", "critical")
    assert opened["payload"].keys() >= {"summary", "source", "severity", "timestamp"}
    assert opened["links"] == [{"href": FACTS["runbook"], "text": "runbook"}]
    long = message_for("pagerduty", news(summary="x" * 5_000), "k").body
    assert isinstance(long, dict)
    assert len(long["payload"]["summary"]) == 1024


def test_alertmanager_knows_an_alert_again_by_its_labels() -> None:
    (opened, lesser), (ended, other) = (
        message_for("alertmanager", one, None).body for one in (news(), news(ended_at=ENDED))
    )
    assert isinstance(opened, dict)
    assert isinstance(lesser, dict)
    assert isinstance(ended, dict)
    assert isinstance(other, dict)
    assert (opened["labels"], lesser["labels"]) == (ended["labels"], other["labels"])
    assert all(isinstance(value, str) for value in [*opened["labels"].values(), *opened["annotations"].values()])
    assert (opened["labels"]["alertname"], opened["labels"]["severity"]) == ("Quarterdeck drift", "page")
    # It fires as a page until its end is told, and as a warning no more.
    assert (opened["endsAt"], lesser["endsAt"]) == (UNTIL_TOLD, lesser["startsAt"])
    assert (ended["endsAt"], other["endsAt"]) == (ENDED, ENDED)


def test_alertmanager_ends_a_full_disk_by_the_labels_it_began_with() -> None:
    (low, _), (recovered, _) = (
        message_for("alertmanager", news(subject="disk", facts={**FACTS, "kind": kind}), None).body
        for kind in ("disk.low", "disk.recovered")
    )
    assert isinstance(low, dict)
    assert isinstance(recovered, dict)
    assert low["labels"] == recovered["labels"]


def test_a_url_alone_is_our_own_format_and_webhooks_of_one_url_are_told_apart() -> None:
    told = NotificationSettings.model_validate(
        {
            "webhooks": [
                "https://one.example.org",
                {"url": "https://events.example.org", "format": "pagerduty", "secret": "A"},
                {"url": "https://events.example.org", "format": "pagerduty", "secret": "B"},
            ]
        }
    ).webhooks
    assert [one.format for one in told] == ["json", "pagerduty", "pagerduty"]
    assert [one.tells_of_ends for one in told] == [False, True, True]
    assert len({one.key for one in told}) == 3


@pytest.mark.parametrize(
    ("webhook", "words"),
    [
        ({"url": "ftp://example.org"}, "should match pattern"),
        ({"url": "https://example.org", "format": "pagerduty"}, "needs secret"),
        ({"url": "https://example.org", "format": "carrier pigeon"}, "Input should be"),
        ({"url": "https://example.org", "severities": ["loud"]}, "Input should be"),
    ],
)
def test_a_webhook_that_could_never_be_told_is_refused(webhook: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WebhookSettings.model_validate(webhook)
