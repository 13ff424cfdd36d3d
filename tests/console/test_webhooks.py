"""The first line tells of webhooks that take nothing."""

from __future__ import annotations

import dataclasses

import pytest
from sqlmodel import select

from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.telling import form_messages, note_event
from quarterdeck.settings.notifications import NotificationSettings
from quarterdeck.workspace import Workspace
from tests.console.conftest import Console
from tests.console.driving import settled, words


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_a_webhook_that_takes_nothing_stands_in_the_first_line_until_it_does(
    seeded: Workspace, console: Console, size: tuple[int, int]
) -> None:
    notifications = NotificationSettings.model_validate({"webhooks": ["http://hooks.example.org/T0/hush"]})
    settings = seeded.settings.model_copy(update={"notifications": notifications})
    deck = dataclasses.replace(seeded, settings=settings)
    with deck.state.write("test") as tx:
        note_event(tx, deck, deck.record(tx, "disk.low", "disk", {"level": "no jobs"}))
    assert form_messages(deck) == 1
    with deck.state.write("test") as tx:
        job = tx.exec(select(Job).where(Job.kind == JobKind.NOTIFY, Job.state == JobState.QUEUED)).one()
        job.failures, job.started_at = 3, deck.now()
    async with console(deck, size) as pilot:
        await settled(pilot, lambda: "✖ webhook hooks.example.org down" in words(pilot).splitlines()[0])
        assert "hush" not in words(pilot)
        with deck.state.write("test") as tx:
            queue.end(tx.get_one(Job, job.id), JobState.SUCCEEDED, deck.now())
        await settled(pilot, lambda: "webhook" not in words(pilot).splitlines()[0])
