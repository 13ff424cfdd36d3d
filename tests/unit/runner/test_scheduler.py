"""Ticks: once each, whoever repeats them, and only for schedules that want them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import Session, select

from quarterdeck import events
from quarterdeck.database import Database
from quarterdeck.errors import BusyError, RefusedError
from quarterdeck.events import Event
from quarterdeck.pipelines import pausing, scheduling
from quarterdeck.pipelines.run import Run, RunState
from quarterdeck.pipelines.schedule import Misfire, Overlap, Schedule, Target
from quarterdeck.runner import ticking
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.scheduler import Scheduler
from quarterdeck.settings import load_settings
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock
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


def tick(workspace: Workspace, schedule_id: int, moment: datetime) -> bool:
    with workspace.state.write("test") as tx:
        return bool(ticking.fire(tx, workspace, (tx.get_one(Schedule, schedule_id), moment)))


def advance(workspace: Workspace, **by: float) -> None:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(**by)


def end_jobs(workspace: Workspace) -> None:
    with workspace.state.write("test") as tx:
        for job in tx.exec(select(Job)):
            job.state = JobState.SUCCEEDED


def ticks(workspace: Workspace, name: str) -> list[datetime]:
    return [job.tick for job in all_jobs(workspace) if job.schedule == name and job.tick is not None]


def events_of(workspace: Workspace, kind: str) -> list[Event]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Event).where(Event.kind == kind)))


def test_a_tick_queues_a_run_and_its_job_once(workspace: Workspace) -> None:
    schedule = add(workspace, cron="0 2 * * *", parameters={"fit.depth": 3})
    assert tick(workspace, schedule, NOON)
    assert not tick(workspace, schedule, NOON)
    (job,) = all_jobs(workspace)
    with workspace.state.read() as tx:
        (run,) = tx.exec(select(Run))
    assert (job.kind, job.key, job.payload) == (JobKind.RUN, "run/1", {"run": 1})
    assert (job.schedule, job.tick, job.automatic) == ("nightly", NOON, True)
    assert (run.pipeline, run.parameters, run.trigger) == ("train", {"fit.depth": 3}, "schedule/nightly")


def test_a_clock_that_is_set_back_does_not_fire_twice(workspace: Workspace) -> None:
    schedule = add(workspace, every_seconds=60.0)
    assert tick(workspace, schedule, NOON + MINUTE)
    end_jobs(workspace)
    assert not tick(workspace, schedule, NOON)
    assert row_of(workspace, schedule).last_tick == NOON + MINUTE


def test_a_monitor_is_not_queued_while_it_is_under_way(workspace: Workspace) -> None:
    schedule = monitor(workspace)
    assert tick(workspace, schedule, NOON)
    assert not tick(workspace, schedule, NOON + MINUTE)
    end_jobs(workspace)
    assert tick(workspace, schedule, NOON + 2 * MINUTE)
    assert [job.payload for job in all_jobs(workspace)] == [{"monitor": "fraud"}] * 2


def test_a_tick_that_is_skipped_because_earlier_work_goes_on_is_told(workspace: Workspace) -> None:
    schedule = add(workspace, every_seconds=60.0)
    assert tick(workspace, schedule, NOON)
    assert not tick(workspace, schedule, NOON + MINUTE)
    assert len(all_jobs(workspace)) == 1
    assert [event.data["because"] for event in events_of(workspace, "schedule.skipped")] == ["job/1"]


def test_ticks_that_queue_wait_for_one_another(workspace: Workspace) -> None:
    schedule = add(workspace, every_seconds=60.0, overlap=Overlap.QUEUE)
    assert tick(workspace, schedule, NOON)
    assert tick(workspace, schedule, NOON + MINUTE)
    assert ticks(workspace, "nightly") == [NOON, NOON + MINUTE]


def test_a_tick_that_replaces_cancels_what_is_queued_and_what_runs(workspace: Workspace) -> None:
    schedule = add(workspace, every_seconds=60.0, overlap=Overlap.REPLACE)
    tick(workspace, schedule, NOON)
    tick(workspace, schedule, NOON + MINUTE)
    first, second = all_jobs(workspace)
    assert (first.state, second.state) == (JobState.CANCELLED, JobState.QUEUED)
    with workspace.state.read() as tx:
        assert tx.get_one(Run, 1).state is RunState.CANCELLED
    with workspace.state.write("test") as tx:
        tx.get_one(Job, second.id).state = JobState.RUNNING
    tick(workspace, schedule, NOON + 2 * MINUTE)
    assert all_jobs(workspace)[1].cancel_requested_by == "schedule/nightly"


def test_ticks_of_one_transaction_meet_one_another_as_if_each_had_its_own(workspace: Workspace) -> None:
    policies = (Overlap.SKIP, Overlap.QUEUE, Overlap.REPLACE)
    schedules = [add(workspace, overlap, every_seconds=60.0, overlap=overlap) for overlap in policies]
    twins = [add(workspace, f"monitor:{name}", target_kind=Target.MONITOR, target="fraud") for name in "ab"]
    with workspace.state.write("test") as tx:
        rows = [tx.get_one(Schedule, number) for number in schedules + twins]
        moments = [NOON, NOON + MINUTE, NOON, NOON + 2 * MINUTE]
        assert ticking.fire(tx, workspace, *((row, moment) for moment in moments for row in rows)) == 1 + 3 + 3 + 1
    jobs = [(job.schedule, job.tick and (job.tick - NOON) // MINUTE, job.state) for job in all_jobs(workspace)]
    assert sorted(jobs, key=str) == [
        ("monitor:a", 0, JobState.QUEUED),
        ("queue", 0, JobState.QUEUED),
        ("queue", 1, JobState.QUEUED),
        ("queue", 2, JobState.QUEUED),
        ("replace", 0, JobState.CANCELLED),
        ("replace", 1, JobState.CANCELLED),
        ("replace", 2, JobState.QUEUED),
        ("skip", 0, JobState.QUEUED),
    ]
    assert [event.subject for event in events_of(workspace, "schedule.skipped")] == ["schedule/skip"] * 2
    with workspace.state.read() as tx:
        runs = {run.reference: (run.trigger, run.pipeline) for run in tx.exec(select(Run))}
    assert {
        job.key: (f"schedule/{job.schedule}", "train") for job in all_jobs(workspace) if job.kind is JobKind.RUN
    } == runs
    with workspace.state.read() as tx:
        assert events.verify(tx) > 0


def test_run_now_starts_the_work_and_leaves_the_ticks_alone(workspace: Workspace) -> None:
    schedule = add(workspace, cron="0 2 * * *")
    job = ticking.run_now(workspace, "nightly", actor="ann")
    (row,) = all_jobs(workspace)
    assert (row.id, row.automatic) == (job, False)
    assert row_of(workspace, schedule).last_tick is None
    with pytest.raises(RefusedError, match="job/1 of schedule 'nightly' goes on"):
        ticking.run_now(workspace, "nightly")


@pytest.fixture
def scheduler(workspace: Workspace) -> Iterator[Scheduler]:
    scheduler = Scheduler(workspace)
    scheduler.start()
    yield scheduler
    scheduler.stop()


def pass_by(workspace: Workspace, scheduler: Scheduler, **by: float) -> None:
    """The clock moves on, the runner takes its look a second later, and everything that was due is written."""
    advance(workspace, **by)
    scheduler.look()
    wait_for(lambda: nothing_is_due(workspace), seconds=60, what="the ticks that are due")


def nothing_is_due(workspace: Workspace) -> bool:
    now = workspace.now()
    with workspace.state.read() as tx:
        return all(row.next_tick is None or row.next_tick > now for row in tx.exec(select(Schedule)))


def test_only_the_last_of_the_ticks_missed_within_the_grace_fires(workspace: Workspace) -> None:
    anchor = NOON - timedelta(days=3, hours=2)
    add(workspace, "hourly", every_seconds=3600.0, anchor=NOON - timedelta(days=1))
    add(workspace, "daily", every_seconds=86400.0, anchor=anchor)
    add(workspace, "weekly", every_seconds=86400.0, anchor=anchor, grace_seconds=86400.0)
    scheduler = Scheduler(workspace)
    scheduler.start()
    scheduler.stop()
    assert ticks(workspace, "hourly") == [NOON]
    assert ticks(workspace, "daily") == []
    assert ticks(workspace, "weekly") == [NOON - timedelta(hours=2)]


@pytest.mark.parametrize(("misfire", "fired"), [(Misfire.ONCE, 1), (Misfire.SKIP, 0), (Misfire.EACH, 4)])
def test_a_machine_that_slept_makes_up_for_ticks_as_the_schedule_says(
    workspace: Workspace, scheduler: Scheduler, misfire: Misfire, fired: int
) -> None:
    add(workspace, every_seconds=600.0, misfire=misfire, overlap=Overlap.QUEUE)
    scheduler.reconcile()
    pass_by(workspace, scheduler, minutes=45)
    assert len(all_jobs(workspace)) == fired
    pass_by(workspace, scheduler, minutes=5, seconds=1)
    assert ticks(workspace, "nightly")[-1] == NOON + timedelta(minutes=50)
    assert len(all_jobs(workspace)) == fired + 1


def test_each_tick_fires_once_while_the_clock_is_set_forth_and_back(workspace: Workspace, scheduler: Scheduler) -> None:
    add(workspace, every_seconds=60.0, overlap=Overlap.QUEUE)
    scheduler.reconcile()
    for minutes in (1, 1, 3, -4, 1, 2, 1, 30, -1, 2):
        pass_by(workspace, scheduler, minutes=minutes)
        scheduler.reconcile()
    fired = ticks(workspace, "nightly")
    assert len(fired) == len(set(fired))
    assert fired == sorted(fired)
    assert fired[-1] == NOON + timedelta(minutes=36)


def test_an_interval_that_is_edited_all_the_time_still_fires(workspace: Workspace, scheduler: Scheduler) -> None:
    settings = workspace.settings_file.read_text(encoding="utf-8")
    edited = workspace
    for second in range(125):
        every = "60s" if second % 2 else "61s"
        table = f'\n[schedules.often]\npipeline = "train"\nevery = "{every}"\noverlap = "queue"\n'
        workspace.settings_file.write_text(settings + table, encoding="utf-8")
        edited = dataclasses.replace(workspace, settings=load_settings(workspace.settings_file))
        assert scheduling.synchronise(edited)
        scheduler.reconcile()
        pass_by(workspace, scheduler, seconds=1)
    assert len(ticks(workspace, "often")) == 2


def test_a_thousand_schedules_that_are_due_at_once_all_fire(workspace: Workspace, scheduler: Scheduler) -> None:
    with workspace.state.write("test") as tx:
        for number in range(1000):
            tx.add(
                Schedule(
                    name=f"s{number}",
                    target_kind=Target.PIPELINE,
                    target="train",
                    parameters={},
                    anchor=NOON,
                    every_seconds=60.0,
                )
            )
    scheduler.reconcile()
    pass_by(workspace, scheduler, minutes=1)
    assert {job.tick for job in all_jobs(workspace)} == {NOON + MINUTE}
    assert len({job.schedule for job in all_jobs(workspace)}) == 1000


def test_a_schedule_that_is_removed_or_paused_fires_no_more(workspace: Workspace, scheduler: Scheduler) -> None:
    removed = add(workspace, "removed", every_seconds=3600.0)
    paused = add(workspace, "paused", every_seconds=3600.0)
    held = add(workspace, "held", every_seconds=3600.0)
    scheduler.reconcile()
    assert row_of(workspace, paused).next_tick is not None
    with workspace.state.write("test") as tx:
        tx.delete(tx.get_one(Schedule, removed))
        tx.get_one(Schedule, paused).paused = True
    pausing.pause(workspace, "schedule/held", reason="night", actor="ann")
    scheduler.reconcile()
    assert row_of(workspace, paused).next_tick is None
    assert row_of(workspace, held).next_tick is None
    pass_by(workspace, scheduler, hours=2)
    assert all_jobs(workspace) == []


def test_a_schedule_that_is_resumed_counts_from_now(workspace: Workspace, scheduler: Scheduler) -> None:
    held = add(workspace, "held", every_seconds=3600.0)
    pausing.pause(workspace, "schedule/held", actor="ann")
    scheduler.reconcile()
    pass_by(workspace, scheduler, hours=5, minutes=30)
    pausing.resume(workspace, "schedule/held", actor="ann")
    scheduler.reconcile()
    assert all_jobs(workspace) == []
    following = row_of(workspace, held).next_tick
    assert following is not None
    assert following - NOON == pytest.approx(timedelta(hours=6, minutes=30), abs=timedelta(seconds=1))


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
    add(workspace, every_seconds=60.0)
    scheduler.reconcile()
    monkeypatch.setattr(Database.write.__wrapped__, "__defaults__", (0.05,))  # type: ignore[attr-defined]
    with workspace.state.lock.held("somebody else"):
        advance(workspace, seconds=61)
        scheduler.look()
        wait_for(lambda: "wait to be written" in capsys.readouterr().err, seconds=10, what="the runner to say so")
    assert all_jobs(workspace) == []
    scheduler.look()
    assert ticks(workspace, "nightly") == [NOON + MINUTE]


def test_a_tick_that_cannot_be_written_holds_up_no_other(
    workspace: Workspace, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "broken", "last"):
        add(workspace, name, every_seconds=60.0)
    scheduler.reconcile()
    fire = ticking.fire

    def failing(tx: Session, workspace: Workspace, *wanted: tuple[Schedule, datetime]) -> int:
        if any(row.name == "broken" for row, _ in wanted):
            raise ValueError("nobody thought of this")
        return fire(tx, workspace, *wanted)

    with monkeypatch.context() as patch:
        patch.setattr(ticking, "fire", failing)
        advance(workspace, seconds=61)
        scheduler.look()
        wait_for(lambda: len(all_jobs(workspace)) == 2, seconds=10, what="the others")
    assert ticks(workspace, "broken") == []
    scheduler.look()
    assert ticks(workspace, "broken") == [NOON + MINUTE]
