"""Retraining that nobody asked for waits while what comes in may be contaminated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import Session, col, select

from quarterdeck.events import Event
from quarterdeck.monitoring.acknowledgement import acknowledge
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Judgement, Severity
from quarterdeck.monitoring.alerting import resolve
from quarterdeck.pipelines import queries
from quarterdeck.pipelines.run import Run, RunState
from quarterdeck.pipelines.schedule import Schedule, Target
from quarterdeck.processes import here
from quarterdeck.registry.version import find_version
from quarterdeck.runner import lease, ticking
from quarterdeck.runner.job import Job, JobState
from quarterdeck.runner.reactions import react
from quarterdeck.workspace import Workspace
from tests.watched import rows, serve

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def deck(workspace: Workspace) -> Workspace:
    """Deployment `d` serves what pipeline `train` made, which a schedule runs every day, another with new data."""
    serve(workspace, rows(200, seed=1))
    with workspace.state.write("test") as tx:
        run = Run(
            pipeline="train",
            state=RunState.SUCCEEDED,
            parameters={},
            trigger="manual",
            requested_by="ann",
            queued_at=NOON,
        )
        tx.add(run)
        tx.flush()
        find_version(tx, "d", 1).run_id = run.id
        tx.add(schedule("nightly", every_seconds=DAY.total_seconds()))
        tx.add(schedule("fresh", on_data="payments"))
        tx.add(schedule("other", "report", every_seconds=DAY.total_seconds()))
    assert lease.acquire(workspace, here(), workspace.settings.runner.lease)
    return workspace


def schedule(name: str, pipeline: str = "train", **columns: Any) -> Schedule:
    return Schedule(name=name, target_kind=Target.PIPELINE, target=pipeline, parameters={}, anchor=NOON, **columns)


def alert(workspace: Workspace, kind: str = "drift", severity: str = "page", deployment: str = "d") -> int:
    with workspace.state.write("test") as tx:
        row = Alert(
            monitor="m",
            deployment=deployment,
            version=1,
            kind=AlertKind(kind),
            columns=["amount"],
            severity=Severity(severity),
            score=1.0,
            state=AlertState.OPEN,
            summary="it moved",
            evidence={},
            onset=NOON,
            last_window_end=NOON,
            opened_at=workspace.now(),
        )
        tx.add(row)
        tx.flush()
        assert row.id is not None
        return row.id


def end(workspace: Workspace, number: int) -> None:
    with workspace.state.write("test") as tx:
        resolve(tx, workspace, tx.get_one(Alert, number), "3 clean windows")
    react(workspace)


def tick(workspace: Workspace, name: str = "nightly", days: int = 1) -> int:
    with workspace.state.write("test") as tx:
        return ticking.fire(tx, workspace, (named(tx, name), workspace.now() + days * DAY))


def named(tx: Session, name: str) -> Schedule:
    return tx.exec(select(Schedule).where(Schedule.name == name)).one()


def started(workspace: Workspace) -> list[str | None]:
    with workspace.state.read() as tx:
        return [job.schedule for job in tx.exec(select(Job).order_by(col(Job.id)))]


def held(workspace: Workspace) -> list[tuple[str, str]]:
    with workspace.state.read() as tx:
        events = tx.exec(select(Event).where(Event.kind == ticking.HELD)).all()
    return [(event.subject, event.data["because"]) for event in events]


@pytest.mark.parametrize("kind", ["drift", "missing", "unseen", "skew"])
def test_a_tick_starts_no_retraining_while_an_alert_on_inputs_is_open(deck: Workspace, kind: str) -> None:
    number = alert(deck, kind)
    assert tick(deck) == 0
    assert tick(deck, "other") == 1
    assert held(deck) == [("schedule/nightly", f"alert/{number}")]
    assert {row.name: row.held_by for row in queries.schedules(deck)} == {
        "fresh": f"alert/{number}",
        "nightly": f"alert/{number}",
        "other": None,
    }
    # A person may.
    ticking.run_now(deck, "nightly")
    assert started(deck) == ["other", "nightly"]


@pytest.mark.parametrize(
    "other", [{"kind": "quality"}, {"severity": "informational"}, {"deployment": "elsewhere"}, {"kind": "traffic"}]
)
def test_alerts_that_say_nothing_of_what_would_be_learnt_hold_nothing(deck: Workspace, other: dict[str, str]) -> None:
    alert(deck, **other)
    assert tick(deck) == 1
    assert held(deck) == []


def test_what_was_held_starts_once_when_the_alert_ends(deck: Workspace) -> None:
    number = alert(deck)
    tick(deck)
    tick(deck, days=2)
    with deck.state.write("test") as tx:
        deck.record(tx, "data.added", "data/payments@1", {})
    react(deck)
    assert started(deck) == []
    end(deck, number)
    assert sorted(filter(None, started(deck))) == ["fresh", "nightly"]
    with deck.state.write("test") as tx:
        for job in tx.exec(select(Job)):
            job.state = JobState.SUCCEEDED
    end(deck, number)
    assert len(started(deck)) == 2


def test_what_two_alerts_hold_starts_when_the_second_ends(deck: Workspace) -> None:
    first, second = alert(deck), alert(deck, "missing")
    tick(deck)
    end(deck, first)
    assert started(deck) == []
    assert held(deck)[-1] == ("schedule/nightly", f"alert/{second}")
    acknowledge(deck, second, Judgement.NOISE)
    react(deck)
    assert started(deck) == ["nightly"]


def test_an_alert_that_is_taken_on_as_real_holds_on(deck: Workspace) -> None:
    number = alert(deck)
    tick(deck)
    acknowledge(deck, number, Judgement.REAL)
    react(deck)
    assert started(deck) == []
    assert tick(deck, days=3) == 0


def test_a_schedule_that_is_paused_meanwhile_stays_so(deck: Workspace) -> None:
    number = alert(deck)
    tick(deck)
    with deck.state.write("test") as tx:
        named(tx, "nightly").paused = True
    end(deck, number)
    assert started(deck) == []
