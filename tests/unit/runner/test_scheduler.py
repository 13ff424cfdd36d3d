"""Ticks: once each, whoever repeats them, and only for schedules that want them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from quarterdeck.database import Database
from quarterdeck.errors import BusyError
from quarterdeck.pipelines.run import Run
from quarterdeck.pipelines.schedule import Schedule, Target
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.scheduler import Scheduler, missed_tick, tick
from quarterdeck.runner.triggers import Every
from quarterdeck.workspace import Workspace
from tests.waiting import wait_for

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def add(workspace: Workspace, name: str = "nightly", **columns: Any) -> int:
    values: dict[str, Any] = {
        "target_kind": Target.PIPELINE,
        "target": "train",
        "parameters": {},
        "anchor": NOON,
        **columns,
    }
    with workspace.state.write("test") as tx:
        row = Schedule(name=name, **values)
        tx.add(row)
        tx.flush()
        assert row.id is not None
        return row.id


def monitor(workspace: Workspace) -> int:
    return add(workspace, "monitor:fraud", target_kind=Target.MONITOR, target="fraud", every_seconds=60.0)


def all_jobs(workspace: Workspace) -> list[Job]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Job)))


def row_of(workspace: Workspace, schedule_id: int) -> Schedule:
    with workspace.state.read() as tx:
        return tx.get_one(Schedule, schedule_id)


def test_a_tick_queues_a_run_and_its_job_once(workspace: Workspace) -> None:
    schedule = add(workspace, cron="0 2 * * *", parameters={"fit.depth": 3})
    assert tick(workspace, schedule, NOON)
    assert not tick(workspace, schedule, NOON)
    (job,) = all_jobs(workspace)
    with workspace.state.read() as tx:
        (run,) = tx.exec(select(Run))
    assert (job.kind, job.key, job.payload) == (JobKind.RUN, "run/1", {"run": 1})
    assert (run.pipeline, run.parameters, run.trigger) == ("train", {"fit.depth": 3}, "schedule/nightly")


def test_a_clock_that_is_set_back_does_not_fire_twice(workspace: Workspace) -> None:
    schedule = add(workspace, every_seconds=60.0)
    assert tick(workspace, schedule, NOON + MINUTE)
    assert not tick(workspace, schedule, NOON)
    assert row_of(workspace, schedule).last_tick == NOON + MINUTE


def test_a_tick_of_a_schedule_that_is_paused_or_gone_does_nothing(workspace: Workspace) -> None:
    assert not tick(workspace, add(workspace, every_seconds=60.0, paused=True), NOON)
    assert not tick(workspace, 999, NOON)
    assert all_jobs(workspace) == []


def test_a_monitor_is_not_queued_while_it_is_under_way(workspace: Workspace) -> None:
    schedule = monitor(workspace)
    assert tick(workspace, schedule, NOON)
    assert not tick(workspace, schedule, NOON + MINUTE)
    with workspace.state.write("test") as tx:
        tx.exec(select(Job)).one().state = JobState.SUCCEEDED
    assert tick(workspace, schedule, NOON + 2 * MINUTE)
    assert [job.payload for job in all_jobs(workspace)] == [{"monitor": "fraud"}] * 2


def test_the_last_tick_missed_within_an_hour_is_owed_and_older_ones_are_not(workspace: Workspace) -> None:
    trigger = Every(NOON - timedelta(days=1), timedelta(hours=1))
    schedule = add(workspace, every_seconds=3600.0, anchor=NOON - timedelta(days=1))
    owed = missed_tick(workspace, schedule, trigger)
    assert owed == NOON
    assert tick(workspace, schedule, owed)
    assert missed_tick(workspace, schedule, trigger) is None
    daily = Every(NOON - timedelta(days=3, hours=2), timedelta(days=1))
    older = add(workspace, "daily", every_seconds=86400.0, anchor=NOON - timedelta(days=3, hours=2))
    assert missed_tick(workspace, older, daily) is None


@pytest.fixture
def scheduler(workspace: Workspace) -> Iterator[Scheduler]:
    scheduler = Scheduler(workspace)
    scheduler.start()
    yield scheduler
    scheduler.stop()


def test_an_interval_goes_on_firing_while_its_row_is_looked_at_all_the_time(
    workspace: Workspace, scheduler: Scheduler
) -> None:
    schedule = add(workspace, every_seconds=0.4)

    def fired_three_times() -> bool:
        scheduler.reconcile()
        return len(all_jobs(workspace)) >= 3

    wait_for(fired_three_times, seconds=10)
    assert row_of(workspace, schedule).next_tick is not None


def test_a_schedule_that_is_removed_or_paused_fires_no_more(workspace: Workspace, scheduler: Scheduler) -> None:
    removed, paused = add(workspace, "removed", every_seconds=3600.0), add(workspace, "paused", every_seconds=3600.0)
    scheduler.reconcile()
    assert row_of(workspace, paused).next_tick is not None
    with workspace.state.write("test") as tx:
        tx.delete(tx.get_one(Schedule, removed))
        tx.get_one(Schedule, paused).paused = True
    scheduler.reconcile()
    assert row_of(workspace, paused).next_tick is None
    scheduler.fire(removed, NOON)
    scheduler.fire(paused, NOON)
    assert all_jobs(workspace) == []


def test_a_schedule_that_could_not_be_followed_is_tried_again(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = add(workspace, every_seconds=3600.0)
    with monkeypatch.context() as patch, workspace.state.lock.held("somebody else"):
        patch.setattr(Database.write.__wrapped__, "__defaults__", (0.05,))  # type: ignore[attr-defined]
        with pytest.raises(BusyError):
            scheduler.reconcile()
    scheduler.reconcile()
    assert row_of(workspace, schedule).next_tick is not None


def test_a_tick_that_could_not_be_written_is_owed(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    schedule = add(workspace, every_seconds=3600.0)
    scheduler.reconcile()
    monkeypatch.setattr(Database.write.__wrapped__, "__defaults__", (0.05,))  # type: ignore[attr-defined]
    with workspace.state.lock.held("somebody else"):
        scheduler.fire(schedule, NOON)
    assert "is held by process" in capsys.readouterr().err
    assert all_jobs(workspace) == []
    scheduler.look()
    assert len(all_jobs(workspace)) == 1
