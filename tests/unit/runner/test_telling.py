"""What goes into one message, and when it goes out: nothing is lost, nothing is told twice, no page waits for long."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlmodel import col, select

from quarterdeck import migrations
from quarterdeck.database import Database
from quarterdeck.errors import QuarterdeckError
from quarterdeck.monitoring.acknowledgement import acknowledge
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Judgement, Severity
from quarterdeck.monitoring.notice import Notice, notices_of
from quarterdeck.monitoring.silence import silence
from quarterdeck.runner import control, queue, worker
from quarterdeck.runner.job import Job, JobState
from quarterdeck.runner.telling import MOST_IN_ONE, form_messages, note_alert
from quarterdeck.runner.webhooks import Delivery, read_webhooks, try_webhooks
from quarterdeck.settings import Settings
from quarterdeck.settings.notifications import NotificationSettings
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock, FakeNotifier

PAGER = {"url": "http://pager", "format": "pagerduty", "secret": "PAGER_KEY"}


def telling(workspace: Workspace, *webhooks: Any) -> Workspace:
    notifications = NotificationSettings.model_validate({"webhooks": list(webhooks)})
    return dataclasses.replace(workspace, settings=Settings(notifications=notifications))


def happen(workspace: Workspace, *numbers: int, severity: str = "page", what: str = "alert.opened") -> None:
    """Alerts open, end or escalate, and that is noted for the webhooks."""
    now = workspace.now()
    with workspace.state.write("test") as tx:
        for number in numbers:
            alert = tx.get(Alert, number) or Alert(
                id=number,
                monitor="m",
                deployment="fraud",
                version=1,
                kind=AlertKind.DRIFT,
                columns=["amount"],
                severity=Severity(severity),
                score=1.0,
                state=AlertState.OPEN,
                summary=f"alert {number} moved",
                evidence={},
                onset=now,
                last_window_end=now,
                opened_at=now,
            )
            alert.severity = Severity(severity)
            if what == "alert.resolved":
                alert.resolve(now)
            tx.add(alert)
            tx.flush()
            note_alert(tx, workspace, workspace.record(tx, what, alert.reference, {"severity": severity}))


def pass_time(workspace: Workspace, **by: float) -> None:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(**by)


def jobs(workspace: Workspace, *states: JobState) -> list[Job]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Job).where(col(Job.state).in_(states)).order_by(col(Job.id))))


def work(workspace: Workspace, *, finish: bool = True) -> list[str]:
    """Do what is queued, as a runner does, and say which alerts each message told of."""
    notifier, told = workspace.ports.notifier, []
    assert isinstance(notifier, FakeNotifier)
    for job in jobs(workspace, JobState.QUEUED):
        error, before = None, len(notifier.sent)
        try:
            worker.dispatch(workspace, job, lambda tx: None)
        except QuarterdeckError as failure:
            error = str(failure)
        told += [_numbers(payload) for _, payload, _ in notifier.sent[before:]]
        with workspace.state.write("test") as tx:
            row = tx.get_one(Job, job.id)
            row.attempt, row.started_at = row.attempt + 1, workspace.now()
            if error is not None:
                queue.fail(row, workspace.now(), error)
            elif finish:
                queue.end(row, JobState.SUCCEEDED, workspace.now())
    return told


def _numbers(payload: Any) -> str:
    return " ".join(str(facts.get("alert")) for facts in payload.get("alerts", [payload]))


def send(workspace: Workspace) -> list[str]:
    form_messages(workspace)
    return work(workspace)


def sent(workspace: Workspace) -> list[tuple[str, dict[str, object], str]]:
    notifier = workspace.ports.notifier
    assert isinstance(notifier, FakeNotifier)
    return notifier.sent


def break_(workspace: Workspace, *, broken: bool = True) -> None:
    notifier = workspace.ports.notifier
    assert isinstance(notifier, FakeNotifier)
    notifier.fails = broken


def test_the_first_goes_out_at_once_and_what_follows_is_told_in_one(workspace: Workspace) -> None:
    deck = telling(workspace, "http://a")
    happen(deck, 1)
    assert send(deck) == ["1"]
    for number in range(2, 32):
        pass_time(deck, seconds=0.5)
        happen(deck, number)
        assert send(deck) == []
    pass_time(deck, seconds=15.5)
    assert send(deck) == [" ".join(map(str, range(2, 32)))]
    pass_time(deck, hours=1)
    assert send(deck) == []
    happen(deck, 40)
    assert send(deck) == ["40"]


def test_what_opens_together_is_told_together_at_once(workspace: Workspace) -> None:
    deck = telling(workspace, "http://a")
    happen(deck, *range(1, 31))
    assert send(deck) == [" ".join(map(str, range(1, 31)))]
    ((_, payload, _),) = sent(deck)
    assert payload["summary"] == "30 alerts: 30 page"


def test_a_page_does_not_wait_for_warnings_that_were_told(workspace: Workspace) -> None:
    deck = telling(workspace, {"url": "http://a", "rate": "1 per 1h"})
    happen(deck, 1, severity="warning")
    assert send(deck) == ["1"]
    happen(deck, 2, severity="warning")
    pass_time(deck, seconds=1)
    assert send(deck) == []
    happen(deck, 3)
    assert send(deck) == ["3 2"], "the page at once, and what waits goes along behind it"
    happen(deck, 4)
    assert send(deck) == []
    pass_time(deck, seconds=30)
    assert send(deck) == ["4"], "a page waits for the last page, and for no rate"


def test_above_the_rate_messages_wait_and_are_joined(workspace: Workspace) -> None:
    deck = telling(workspace, {"url": "http://a", "rate": "2 per 10m", "group_wait": "1s"})
    told = []
    for number in range(1, 21):
        happen(deck, number, severity="warning")
        told += send(deck)
        pass_time(deck, minutes=1)
    told += send(deck)
    assert [len(message.split()) for message in told] == [1, 1, 9, 1, 8]
    assert sorted(int(number) for message in told for number in message.split()) == list(range(1, 21))


def test_no_message_is_longer_than_receivers_take_and_the_rest_is_told_in_the_next(workspace: Workspace) -> None:
    deck = telling(workspace, "http://a")
    warnings, pages = range(1, 31), range(31, 61)
    happen(deck, *warnings, severity="warning")
    happen(deck, *pages)
    (first,) = send(deck)
    numbers = [int(number) for number in first.split()]
    assert len(numbers) == MOST_IN_ONE
    assert set(pages) <= set(numbers)
    pass_time(deck, seconds=30)
    (second,) = send(deck)
    assert sorted([*numbers, *map(int, second.split())]) == list(range(1, 61))


def test_ends_are_told_together_too_and_an_alert_once_as_it_is_now(workspace: Workspace) -> None:
    deck = telling(workspace, {"url": "http://a", "resolved": True})
    happen(deck, 1)
    send(deck)
    happen(deck, 2, 3, 4)
    happen(deck, 2, 3, what="alert.resolved")
    happen(deck, 1, what="alert.resolved")
    pass_time(deck, seconds=30)
    assert send(deck) == ["4 2 3 1"]
    (_, payload, _) = sent(deck)[-1]
    assert payload["summary"] == "4 alerts: 1 page, 3 resolved"


def test_every_try_of_a_message_is_the_same_message(workspace: Workspace) -> None:
    deck = telling(workspace, "http://a")
    happen(deck, 1, 2, severity="warning")
    form_messages(deck)
    work(deck, finish=False)  # Killed between the answer and the end of the job.
    happen(deck, 3, severity="warning")
    pass_time(deck, minutes=5)
    assert form_messages(deck) == 0, "one after the other"
    assert work(deck) == ["1 2"]
    assert send(deck) == ["3"]
    (_, _, first), (_, _, again), (_, _, other) = sent(deck)
    assert first == again != other
    assert first.startswith("digest-alert-1-warning-")


def test_what_comes_while_a_message_is_refused_is_told_in_one_but_a_page_goes_its_own_way(
    workspace: Workspace,
) -> None:
    deck = telling(workspace, "http://a")
    break_(deck)
    happen(deck, 1, severity="warning")
    send(deck)
    for number in (2, 3):
        pass_time(deck, minutes=1)
        happen(deck, number, severity="warning")
        assert form_messages(deck) == 0
    break_(deck, broken=False)
    happen(deck, 4)
    assert form_messages(deck) == 1
    assert work(deck) == ["1", "4 2 3"]


def test_pagerduty_hears_of_each_alert_by_itself_at_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER_KEY", "routing")
    deck = telling(workspace, PAGER)
    happen(deck, 1)
    happen(deck, 2, 3, severity="warning")
    assert form_messages(deck) == 3
    for job in jobs(deck, JobState.QUEUED):
        worker.dispatch(deck, job, lambda tx: None)
    keys = [payload["dedup_key"] for _, payload, _ in sent(deck)]
    assert keys == [f"quarterdeck/quarterdeck/alert/{number}" for number in (1, 2, 3)]


def test_what_is_silenced_while_it_waits_is_left_to_the_end_of_the_silence(workspace: Workspace) -> None:
    deck = telling(workspace, "http://a")
    happen(deck, 1)
    send(deck)
    happen(deck, 2, 3)
    silence(deck, 3, timedelta(hours=1), reason="known")
    pass_time(deck, seconds=30)
    assert send(deck) == ["2"]
    happen(deck, 4)
    silence(deck, 4, timedelta(hours=1), reason="known")
    pass_time(deck, seconds=30)
    assert send(deck) == [], "a message that says nothing is not sent"
    assert jobs(deck, JobState.QUEUED) == []


def test_a_message_that_says_nothing_any_more_makes_no_webhook_healthy(workspace: Workspace) -> None:
    deck = telling(workspace, "http://a")
    happen(deck, 1)
    break_(deck)
    send(deck)
    silence(deck, 1, timedelta(hours=1), reason="known")
    break_(deck, broken=False)
    pass_time(deck, minutes=5)
    assert work(deck) == []
    (state,) = read_webhooks(deck)
    assert (state.last_taken, state.waiting) == (None, 0)
    assert state.state is not Delivery.HEALTHY


def test_who_is_called_next_hears_of_what_nobody_has_taken_on(workspace: Workspace) -> None:
    deck = telling(workspace, {"url": "http://next", "after": "15m", "resolved": True})
    happen(deck, 1, 2, 3, 4)
    assert send(deck) == []
    acknowledge(deck, 2, Judgement.REAL)
    silence(deck, 3, timedelta(hours=1), reason="known")
    happen(deck, 4, what="alert.resolved")
    pass_time(deck, minutes=14)
    assert send(deck) == []
    pass_time(deck, minutes=1)
    assert send(deck) == ["1"]
    # Only who heard of the beginning hears of the end.
    happen(deck, 1, 2, what="alert.resolved")
    pass_time(deck, minutes=1)
    assert send(deck) == ["1"]
    assert read_webhooks(deck)[0].waiting == 0


def test_a_warning_that_becomes_a_page_is_waited_for_anew_by_whoever_hears_of_pages(workspace: Workspace) -> None:
    deck = telling(workspace, {"url": "http://next", "after": "15m", "severities": ["page"]})
    happen(deck, 1, severity="warning")
    pass_time(deck, minutes=20)
    assert send(deck) == []
    happen(deck, 1, what="alert.escalated")
    pass_time(deck, minutes=14)
    assert send(deck) == []
    pass_time(deck, minutes=1)
    assert send(deck) == ["1"]


def test_each_webhook_has_its_own_pace(workspace: Workspace) -> None:
    deck = telling(workspace, "http://a", {"url": "http://b", "group_wait": "1s"})
    happen(deck, 1)
    assert len(send(deck)) == 2
    happen(deck, 2)
    pass_time(deck, seconds=2)
    assert send(deck) == ["2"]
    assert [url for url, _, _ in sent(deck)][-1] == "http://b"


def test_a_clock_that_is_set_back_holds_nothing_up(workspace: Workspace) -> None:
    deck = telling(workspace, "http://a")
    happen(deck, 1)
    send(deck)
    pass_time(deck, hours=-2)
    happen(deck, 2)
    assert send(deck) == ["2"]


def test_a_webhook_is_failing_then_dead_and_healthy_again_with_the_next_message(workspace: Workspace) -> None:
    deck = telling(workspace, {"url": "http://ada:pass@chat.example.org:81/T0/hush?token=hush", "format": "slack"})
    assert [row.state for row in read_webhooks(deck)] == [Delivery.UNTRIED]
    break_(deck)
    happen(deck, 1, 2, severity="warning")
    begun = deck.now()
    states = []
    for _ in range(8):
        pass_time(deck, minutes=11)
        send(deck)
        (row,) = read_webhooks(deck)
        states.append(str(row.state))
    assert states == ["untried"] * 2 + ["failing"] * 5 + ["dead"]
    assert (row.name, row.waiting, row.given_up, row.last_taken) == ("chat.example.org:81", 0, 2, None)
    assert row.since is not None
    assert abs(row.since - begun) < timedelta(minutes=12)
    assert row.advice is not None
    assert "quarterdeck retry job/1" in row.advice
    happen(deck, 3, severity="warning")
    (row,) = read_webhooks(deck)
    assert (row.state, row.waiting) == (Delivery.DEAD, 1)
    break_(deck, broken=False)
    send(deck)
    (row,) = read_webhooks(deck)
    assert (row.state, row.since, row.given_up, row.error) == (Delivery.HEALTHY, None, 2, None)
    control.retry(deck, 1)
    work(deck)
    (row,) = read_webhooks(deck)
    assert (row.given_up, row.advice) == (0, None)
    told = [_numbers_in(payload) for _, payload, _ in sent(deck)]
    assert told == [["alert/3"], ["alert/1", "alert/2"]]


def _numbers_in(payload: Any) -> list[str]:
    text = " ".join(block["text"]["text"] for block in payload["blocks"])
    return [f"alert/{number}" for number in range(1, 10) if f"open alert/{number}" in text]


def test_a_test_that_is_taken_makes_a_webhook_healthy(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER_KEY", "routing")
    deck = telling(workspace, "http://a", PAGER)
    break_(deck)
    happen(deck, 1, severity="warning")
    for _ in range(8):
        pass_time(deck, minutes=11)
        send(deck)
    refused = try_webhooks(deck)
    assert [answer.status for answer in refused] == [None, None]
    assert [row.state for row in read_webhooks(deck)] == [Delivery.DEAD, Delivery.DEAD]
    break_(deck, broken=False)
    assert [answer.status for answer in try_webhooks(deck)] == [204, 204]
    assert [row.state for row in read_webhooks(deck)] == [Delivery.HEALTHY, Delivery.HEALTHY]
    plain, opened, ended = (payload for _, payload, _ in sent(deck))
    assert plain["kind"] == "test"
    assert (opened["event_action"], ended["event_action"]) == ("trigger", "resolve")
    assert opened["dedup_key"] == ended["dedup_key"]


def test_what_was_queued_before_notices_were_goes_on_with_its_key(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent / "state"))
    queued = """
        INSERT INTO job (kind, key, subject, payload, state, attempt, max_attempts, failures, retries, priority,
                         automatic, not_before, created_at)
        VALUES ('notify', ?, ?, '{"alert":7,"webhook":"w","again":""}', 'dead', 8, 9, 8, 7, 0, 0, ?, ?)
    """
    at = "2026-01-05T12:00:00.000000Z"
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for words in ("alert/7:warning", "alert/7:page-1-resolved", "event/1"):
            connection.exec_driver_sql(queued, (f"notify:{words}:w", words.partition(":")[0], at, at))
        connection.commit()
    migrations.bring_up_to_date(database, migrations.STATE)
    with database.read() as tx:
        notices = tx.exec(select(Notice).order_by(col(Notice.id))).all()
        assert [(one.severity, one.ended, one.subject, one.name) for one in notices] == [
            ("warning", False, "alert/7", "alert-7-warning-w"),
            ("page", True, "alert/7", "alert-7-page-1-resolved-w"),
            ("page", False, "event/1", "event-1-w"),
        ]
        assert [job.payload for job in tx.exec(select(Job))] == [{"webhook": "w"}] * 3
        assert [notices_of(tx, job.key)[0].subject for job in tx.exec(select(Job))] == ["alert/7", "alert/7", "event/1"]
