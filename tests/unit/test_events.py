"""The chain of events."""

from __future__ import annotations

import os

import pytest

from quarterdeck import events
from quarterdeck.events import ChainBrokenError
from quarterdeck.workspace import Workspace


@pytest.fixture
def eventful(workspace: Workspace) -> Workspace:
    for number in range(3):
        with workspace.state.write("test") as tx:
            workspace.record(tx, "thing.happened", f"thing/{number}", {"text": "ünï", "value": 0.1, "n": number})
    return workspace


def tamper(workspace: Workspace, sql: str) -> None:
    with workspace.state.write("tamper") as tx:
        tx.connection().exec_driver_sql(sql)


def test_the_chain_of_an_untouched_log_is_whole(eventful: Workspace) -> None:
    with eventful.state.read() as tx:
        assert events.verify(tx) == 4


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE event SET actor = 'nobody' WHERE id = 2",
        "UPDATE event SET data = '{}' WHERE id = 3",
        "UPDATE event SET at = '2020-01-01T00:00:00.000000Z' WHERE id = 2",
        "DELETE FROM event WHERE id = 2",
    ],
)
def test_a_changed_or_removed_event_breaks_the_chain(eventful: Workspace, sql: str) -> None:
    tamper(eventful, sql)
    with eventful.state.read() as tx, pytest.raises(ChainBrokenError, match=r"event [23]"):
        events.verify(tx)


def test_an_event_is_gone_with_the_transaction_that_wrote_it(workspace: Workspace) -> None:
    def failing() -> None:
        with workspace.state.write("test") as tx:
            workspace.record(tx, "thing.happened", "thing/1")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        failing()
    with workspace.state.read() as tx:
        assert [event.kind for event in events.after(tx, 0)] == ["workspace.created"]


def test_news_are_the_events_after_the_last_one_seen(eventful: Workspace) -> None:
    with eventful.state.read() as tx:
        assert [event.subject for event in events.after(tx, 2)] == ["thing/1", "thing/2"]
        assert events.last_id(tx) == 4
        assert [event.id for event in events.newest(tx, 2)] == [4, 3]
        assert [event.id for event in events.newest(tx, subject="thing/0")] == [2]


def test_the_person_behind_sudo_is_the_actor_and_only_root_can_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert events.current_actor() == "ada"
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    assert events.current_actor() == "uid 54321"
