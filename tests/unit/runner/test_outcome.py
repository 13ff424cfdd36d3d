"""What follows from how a monitor's job ends."""

from __future__ import annotations

import pytest
from sqlmodel import col, select

from quarterdeck.events import Event
from quarterdeck.monitoring.notice import Notice
from quarterdeck.processes import here
from quarterdeck.runner import lease, queue
from quarterdeck.runner.job import Job, JobKind
from quarterdeck.runner.outcome import MONITOR_FAILED, MONITOR_RECOVERED, end_attempt
from quarterdeck.runner.queue import Work
from quarterdeck.runner.reactions import react
from quarterdeck.runner.terms import terms_of
from quarterdeck.workspace import Workspace
from tests.watched import told


def look(workspace: Workspace, number: int, error: str | None) -> None:
    """A monitor looks, and that ends so."""
    with workspace.state.write("test") as tx:
        work = Work(JobKind.MONITOR, f"m@{number}", "monitor/m", {"monitor": "m"}, terms_of(workspace, max_attempts=1))
        queue.enqueue(tx, workspace, work)
        job = tx.exec(select(Job).where(Job.key == f"m@{number}")).one()
        job.attempt = 1
        end_attempt(tx, workspace, job, error)
    react(workspace)


@pytest.fixture
def deck(workspace: Workspace) -> Workspace:
    deck, _ = told(workspace, "http://a", {"url": "http://pages", "severities": ["page"]})
    assert lease.acquire(deck, here(), deck.settings.runner.lease)
    return deck


def test_a_monitor_that_begins_to_fail_and_looks_again_is_told_once_each(deck: Workspace) -> None:
    for number, error in enumerate((None, "no such slice", "no such slice", None, None, "a file is gone")):
        look(deck, number, error)
    with deck.state.read() as tx:
        events = tx.exec(select(Event).where(Event.subject == "monitor/m")).all()
        notices = tx.exec(select(Notice).order_by(col(Notice.id))).all()
    assert [(event.kind, event.data.get("error")) for event in events] == [
        (MONITOR_FAILED, "no such slice"),
        (MONITOR_RECOVERED, None),
        (MONITOR_FAILED, "a file is gone"),
    ]
    # The webhook of pages alone is told of none.
    assert [(notice.severity.value, notice.ended) for notice in notices] == [
        ("warning", False),
        ("warning", True),
        ("warning", False),
    ]
