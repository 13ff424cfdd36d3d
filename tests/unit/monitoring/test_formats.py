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
    assert message_for("json", [news()], None).body == FACTS


def test_cloudevents_has_what_its_specification_requires() -> None:
    message = message_for("cloudevents", [news()], None)
    assert message.content_type == "application/cloudevents+json"
    assert isinstance(message.body, dict)
    required = {"specversion": "1.0", "id": "alert-3-page-abc", "source": "/quarterdeck/shop"}
    assert message.body.items() >= {**required, "type": "quarterdeck.alert.firing", "subject": "alert/3"}.items()
    assert (message.body["time"], message.body["data"]) == (news().at, FACTS)


def test_slack_gets_a_text_in_which_nothing_is_markup_by_accident() -> None:
    body = message_for("slack", [news()], None).body
    assert isinstance(body, dict)
    assert body["text"].startswith("*page: fraud*\namount moved: 0.8 sigma &lt;b&gt; &amp; more\n")
    assert "`quarterdeck open alert/3`" in body["text"]
    assert "<https://wiki.example.org/fraud|runbook>" in body["text"]
    assert body["blocks"][0]["text"] == {"type": "mrkdwn", "text": body["text"]}
    ended = message_for("slack", [news(ended_at=ENDED)], None).body
    assert isinstance(ended, dict)
    assert ended["text"].startswith("*resolved: fraud*")


def test_pagerduty_opens_and_ends_one_incident_by_one_key() -> None:
    opened, ended = (message_for("pagerduty", [one], "routing").body for one in (news(), news(ended_at=ENDED)))
    assert isinstance(opened, dict)
    assert isinstance(ended, dict)
    assert (opened["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == ended["dedup_key"] == "quarterdeck/shop/alert/3"
    assert (opened["routing_key"], opened["payload"]["severity"]) == ("routing", "critical")
    assert opened["payload"].keys() >= {"summary", "source", "severity", "timestamp"}
    assert opened["links"] == [{"href": FACTS["runbook"], "text": "runbook"}]
    long = message_for("pagerduty", [news(summary="x" * 5_000)], "k").body
    assert isinstance(long, dict)
    assert len(long["payload"]["summary"]) == 1024


def test_alertmanager_knows_an_alert_again_by_its_labels() -> None:
    (opened, lesser), (ended, other) = (
        message_for("alertmanager", [one], None).body for one in (news(), news(ended_at=ENDED))
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
        message_for("alertmanager", [news(subject="disk", facts={**FACTS, "kind": kind})], None).body
        for kind in ("disk.low", "disk.recovered")
    )
    assert isinstance(low, dict)
    assert isinstance(recovered, dict)
    assert low["labels"] == recovered["labels"]


def several() -> list[News]:
    """An end, a warning and a page, in the order in which they came."""
    return [
        news(id=f"alert-{number}", subject=f"alert/{number}", facts={**FACTS, "alert": number}, **changes)
        for number, changes in ((1, {"ended_at": ENDED}), (2, {"severity": "warning"}), (3, {}))
    ]


def test_a_digest_in_our_own_format_has_every_alert_whole_the_worst_first() -> None:
    body = message_for("json", several(), None).body
    assert isinstance(body, dict)
    assert (body["kind"], body["severity"], body["workspace"]) == ("digest", "page", "shop")
    assert body["summary"] == "3 alerts: 1 page, 1 warning, 1 resolved"
    assert body["alerts"] == [{**FACTS, "alert": number} for number in (3, 2, 1)]


def test_a_digest_of_cloudevents_is_a_batch_of_whole_events() -> None:
    message = message_for("cloudevents", several(), None)
    assert message.content_type == "application/cloudevents-batch+json"
    assert isinstance(message.body, list)
    assert [event["id"] for event in message.body] == ["alert-3", "alert-2", "alert-1"]
    assert message.body[0] == message_for("cloudevents", [several()[2]], None).body


def test_a_digest_for_slack_has_a_block_for_each_alert_within_what_slack_takes() -> None:
    many = [news(subject=f"alert/{number}", summary="<&>" * 2_000) for number in range(40)]
    body = message_for("slack", many, None).body
    assert isinstance(body, dict)
    assert body["text"] == "*40 alerts: 40 page*"
    assert len(body["blocks"]) == 41
    assert all(len(block["text"]["text"]) <= 3_000 for block in body["blocks"])


def test_a_digest_for_alertmanager_is_the_list_that_it_takes_anyway() -> None:
    told = several()
    body = message_for("alertmanager", told, None).body
    alone = [message_for("alertmanager", [one], None).body for one in reversed(told)]
    assert body == [alert for one in alone for alert in one]


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


def test_a_webhook_is_called_by_its_name_or_its_host_and_never_by_its_secret() -> None:
    hidden = {"url": "https://ada:pass@hooks.example.org/T0/B1/hush?key=hush"}
    assert WebhookSettings.model_validate(hidden).shown == "hooks.example.org"
    assert WebhookSettings.model_validate({**hidden, "name": "payments channel"}).shown == "payments channel"


@pytest.mark.parametrize(
    ("webhook", "words"),
    [
        ({"url": "ftp://example.org"}, "should match pattern"),
        ({"url": "https://example.org", "format": "pagerduty"}, "needs secret"),
        ({"url": "https://example.org", "format": "carrier pigeon"}, "Input should be"),
        ({"url": "https://example.org", "severities": ["loud"]}, "Input should be"),
        ({"url": "https://example.org", "rate": "often"}, "write 10 per 10m"),
        ({"url": "https://example.org", "rate": "0 per 1m"}, "write 10 per 10m"),
        ({"url": "https://example.org", "rate": "3 per 0s"}, "write 10 per 10m"),
        (
            {"url": "https://example.org", "format": "pagerduty", "secret": "K", "rate": "3 per 1m"},
            "takes neither group_wait nor rate",
        ),
    ],
)
def test_a_webhook_that_could_never_be_told_is_refused(webhook: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WebhookSettings.model_validate(webhook)
