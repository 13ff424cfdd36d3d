"""Which job may start: one rule for the claim and for what people are told."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from quarterdeck import freezing
from quarterdeck.errors import RefusedError, UsageError
from quarterdeck.pipelines import pausing
from quarterdeck.processes import here
from quarterdeck.runner import admission, control, lease, queries, queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import Terms
from quarterdeck.settings import Settings
from quarterdeck.settings.host import DiskSettings
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock

PIPELINE = """\
from quarterdeck.pipelines import pipeline, step

@step
def go():
    pass

pipeline("train", [go])
"""
SETTINGS: dict[str, Any] = {
    "runner": {"concurrency": 3},
    "pools": {"gpu": {"slots": 1}, "held": {"slots": 0}},
    "pipelines": {"train": {"concurrency": 1}},
}


@pytest.fixture
def room(workspace: Workspace) -> Workspace:
    """A workspace with pools, whose lease we hold, and a pipeline to pause."""
    assert lease.acquire(workspace, here(), timedelta(minutes=1))
    folder = workspace.root / "pipelines"
    folder.mkdir(exist_ok=True)
    source = (
        'from quarterdeck.pipelines import pipeline, step\n\n@step\ndef go():\n    pass\n\npipeline("train", [go])\n'
    )
    (folder / "train.py").write_text(source, encoding="utf-8")
    return dataclasses.replace(workspace, settings=Settings(**SETTINGS))


def put(
    room: Workspace, key: str, kind: JobKind = JobKind.REPORT, *, schedule: str | None = None, **terms: Any
) -> None:
    with room.state.write("test") as tx:
        assert queue.enqueue(tx, room, Work(kind, key, key, {"alert": 1}, Terms(**terms), schedule))


def start(room: Workspace) -> str | None:
    job = queue.claim(room, here())
    return job.key if job else None


def end(room: Workspace, key: str) -> None:
    with room.state.write("test") as tx:
        tx.exec(select(Job).where(Job.key == key)).one().state = JobState.SUCCEEDED


def waiting(room: Workspace) -> dict[str, str | None]:
    return {job.subject: job.waiting for job in queries.jobs(room) if job.state == JobState.QUEUED}


def test_the_highest_priority_goes_first_then_the_oldest(room: Workspace) -> None:
    put(room, "low", priority=-1)
    put(room, "first")
    put(room, "second")
    put(room, "high", priority=5)
    assert [start(room), start(room), start(room)] == ["high", "first", "second"]
    assert start(room) is None
    assert waiting(room) == {"low": "3 of 3 places taken"}


def test_what_watches_and_tells_does_not_wait_behind_long_jobs(room: Workspace) -> None:
    for number in range(4):
        put(room, f"long{number}")
        put(room, f"tell{number}", JobKind.NOTIFY)
    assert {start(room) for _ in range(5)} == {"long0", "long1", "long2", "tell0", "tell1"}
    assert start(room) is None
    assert waiting(room)["tell2"] == "2 of 2 places taken"


def test_a_full_pool_holds_its_jobs_and_no_others(room: Workspace) -> None:
    put(room, "a", pool="gpu")
    put(room, "b", pool="gpu", priority=-1)
    put(room, "c", pool="held")
    put(room, "d", priority=-2)
    assert [start(room), start(room), start(room)] == ["a", "d", None]
    assert waiting(room) == {"b": "pool gpu full (1 of 1)", "c": "pool held full (0 of 0)"}
    end(room, "a")
    assert start(room) == "b"


def test_a_pipeline_runs_as_often_at_once_as_it_may(room: Workspace) -> None:
    put(room, "a", pipeline="train")
    put(room, "b", pipeline="train")
    put(room, "c", pipeline="other")
    assert [start(room), start(room), start(room)] == ["a", "c", None]
    assert waiting(room) == {"b": "1 of 1 runs of train run"}


def test_a_paused_pipeline_starts_nothing_and_says_who_paused_it(room: Workspace) -> None:
    put(room, "a", pipeline="train")
    pausing.pause(room, "pipeline/train", reason="upstream is down", actor="ann")
    with pytest.raises(RefusedError, match="paused already, by ann"):
        pausing.pause(room, "pipeline/train", actor="bob")
    assert start(room) is None
    assert waiting(room) == {"a": "paused by ann"}
    pausing.resume(room, "pipeline/train", actor="bob")
    assert start(room) == "a"
    with pytest.raises(RefusedError, match="not paused by anybody"):
        pausing.resume(room, "pipeline/train")


def test_jobs_of_one_schedule_never_run_at_once(room: Workspace) -> None:
    put(room, "a", schedule="nightly")
    put(room, "b", schedule="nightly")
    assert [start(room), start(room)] == ["a", None]
    assert waiting(room) == {"b": "job 1 of the same schedule runs"}
    end(room, "a")
    assert start(room) == "b"


def test_a_freeze_holds_what_nobody_asked_for_and_ends_by_itself(room: Workspace) -> None:
    put(room, "retrain", automatic=True)
    put(room, "asked")
    freezing.freeze(room, timedelta(days=2), reason="release", actor="ann")
    assert [start(room), start(room)] == ["asked", None]
    assert waiting(room) == {"retrain": "frozen by ann until 2026-01-07 12:00 UTC"}
    freezing.freeze(room, timedelta(hours=2), reason="release", actor="ann")
    assert waiting(room) == {"retrain": "frozen by ann until 14:00 UTC"}
    clock = room.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(hours=2, seconds=1)
    assert start(room) == "retrain"
    with pytest.raises(RefusedError, match="no freeze"):
        freezing.thaw(room)


def test_a_freeze_can_be_ended_and_has_a_longest_time(room: Workspace) -> None:
    freezing.freeze(room, timedelta(hours=2))
    put(room, "retrain", automatic=True)
    freezing.thaw(room, actor="bob")
    assert start(room) == "retrain"
    with pytest.raises(UsageError, match="from 1s to 30d"):
        freezing.freeze(room, timedelta(days=31))


def test_a_disk_that_is_low_starts_only_what_tells_and_what_makes_room(room: Workspace) -> None:
    low = dataclasses.replace(room, settings=Settings(disk=DiskSettings(stop_jobs=2**60, stop_recording=2**60)))
    for kind in (JobKind.REPORT, JobKind.HOUSEKEEPING, JobKind.NOTIFY):
        put(low, str(kind), kind)
    assert {start(low), start(low)} == {"housekeeping", "notify"}
    assert start(low) is None
    assert (waiting(low)["report"] or "").startswith("disk low: ")


@pytest.mark.parametrize("seed", range(20))
def test_what_may_start_is_what_has_no_obstacle(room: Workspace, seed: int) -> None:
    """The rule for the database and the rule for people are one."""
    import random

    draw = random.Random(seed)
    for number in range(30):
        put(
            room,
            f"job{number}",
            draw.choice([JobKind.REPORT, JobKind.NOTIFY, JobKind.REPLAY]),
            schedule=draw.choice([None, None, "s1", "s2"]),
            pool=draw.choice([None, "gpu", "held"]),
            pipeline=draw.choice([None, "train", "other"]),
            automatic=draw.random() < 0.5,
        )
    if draw.random() < 0.5:
        freezing.freeze(room, timedelta(hours=1))
    if draw.random() < 0.5:
        pausing.pause(room, "pipeline/train")
    for _ in range(40):
        with room.state.read() as tx:
            closed = admission.look(tx, room)
            queued = tx.exec(select(Job).where(Job.state == JobState.QUEUED)).all()
        free = [job.key for job in queued if closed.obstacle(job) is None]
        started = start(room)
        assert started == (free[0] if free else None)
        if started is None:
            return


def test_a_job_of_any_kind_can_be_cancelled_and_tried_again(room: Workspace) -> None:
    put(room, "a")
    control.cancel(room, 1, actor="ann")
    assert start(room) is None
    with pytest.raises(RefusedError, match="ended already"):
        control.cancel(room, 1)
    control.retry(room, 1, actor="ann")
    assert start(room) == "a"
    with pytest.raises(RefusedError, match="is running"):
        control.retry(room, 1)
    control.cancel(room, 1, actor="ann")
    (job,) = queries.jobs(room)
    assert (job.state, job.cancel_requested_by) == ("running", "ann")
