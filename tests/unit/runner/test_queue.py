"""The queue: once by key, claimed under the runner's lease, fenced by attempt."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from quarterdeck.database import Database
from quarterdeck.errors import BusyError, FencedError
from quarterdeck.processes import here
from quarterdeck.runner import lease, queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock


@pytest.fixture(autouse=True)
def _has_the_lease(workspace: Workspace) -> None:
    assert lease.acquire(workspace, here(), workspace.settings.runner.lease)


def put(workspace: Workspace, key: str, max_attempts: int = 2) -> bool:
    payload = {"alert": 1, "url": "x"}
    with workspace.state.write("test") as tx:
        return queue.enqueue(tx, workspace, JobKind.NOTIFY, key, "alert/1", payload, max_attempts=max_attempts)


def claimed(workspace: Workspace) -> Job:
    job = queue.claim(workspace, here())
    assert job is not None
    return job


def reread(workspace: Workspace, job: Job) -> Job:
    with workspace.state.read() as tx:
        return tx.get_one(Job, job.id)


def give_up(workspace: Workspace, job: Job, error: str, *, spend: bool = True) -> None:
    with workspace.state.write("test") as tx:
        queue.give_up(tx.get_one(Job, job.id), workspace.now(), error, spend=spend)


def advance(workspace: Workspace, **by: float) -> None:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(**by)


def test_a_key_makes_one_job_for_good(workspace: Workspace) -> None:
    assert put(workspace, "a")
    assert not put(workspace, "a")
    job = claimed(workspace)
    queue.finish(workspace, job.id or 0, job.attempt, JobState.SUCCEEDED)
    assert not put(workspace, "a")


def test_jobs_are_claimed_in_the_order_in_which_they_came_and_once(workspace: Workspace) -> None:
    put(workspace, "a")
    put(workspace, "b")
    assert [claimed(workspace).key, claimed(workspace).key] == ["a", "b"]
    assert queue.claim(workspace, here()) is None


def test_a_runner_that_has_lost_its_lease_claims_nothing(workspace: Workspace) -> None:
    put(workspace, "a")
    with pytest.raises(FencedError, match="Another runner"):
        queue.claim(workspace, dataclasses.replace(here(), pid=1))
    assert claimed(workspace).attempt == 1


def test_an_attempt_that_was_given_up_can_write_nothing_more(workspace: Workspace) -> None:
    put(workspace, "a")
    first = claimed(workspace)
    give_up(workspace, first, "its process died")
    advance(workspace, minutes=1)
    second = claimed(workspace)
    assert second.attempt == 2
    fence = queue.fence_for(first.id or 0, first.attempt)
    with pytest.raises(FencedError, match="Attempt 1 of job 1 was given up"), workspace.state.write("test") as tx:
        fence(tx)
    with pytest.raises(FencedError):
        queue.finish(workspace, first.id or 0, first.attempt, JobState.SUCCEEDED)
    with pytest.raises(FencedError):
        queue.record_process(workspace, first.id or 0, first.attempt, here(), "log")
    assert reread(workspace, second).state is JobState.RUNNING


def test_a_job_whose_process_group_may_live_is_not_claimed(workspace: Workspace) -> None:
    put(workspace, "a")
    job = claimed(workspace)
    queue.record_process(workspace, job.id or 0, job.attempt, here(), "log")
    give_up(workspace, job, "its runner died")
    advance(workspace, minutes=1)
    assert queue.claim(workspace, here()) is None
    with workspace.state.write("test") as tx:
        tx.get_one(Job, job.id).process_group = None
    assert claimed(workspace).attempt == 2


def test_a_job_without_attempts_left_is_lost_and_one_that_was_given_back_is_not(workspace: Workspace) -> None:
    put(workspace, "a", max_attempts=1)
    job = claimed(workspace)
    with workspace.state.write("test") as tx:
        queue.give_back(tx.get_one(Job, job.id), "clean stop")
    job = claimed(workspace)
    give_up(workspace, job, "its process was killed")
    lost = reread(workspace, job)
    assert (lost.state, lost.error) == (JobState.LOST, "its process was killed")
    assert queue.claim(workspace, here()) is None


@pytest.mark.parametrize(("spend", "left"), [(True, 1), (False, 3)])
def test_an_attempt_that_came_to_nothing_is_followed_by_a_pause(workspace: Workspace, spend: bool, left: int) -> None:
    put(workspace, "a", max_attempts=3)
    for pause in (2, 4):
        give_up(workspace, claimed(workspace), "quarterdeck.toml is broken", spend=spend)
        assert queue.claim(workspace, here()) is None
        advance(workspace, seconds=pause)
    last = claimed(workspace)
    assert last.max_attempts - last.attempt + 1 == left


def test_the_pause_has_an_end_however_many_attempts_there_were(workspace: Workspace) -> None:
    put(workspace, "a", max_attempts=6000)
    with workspace.state.write("test") as tx:
        tx.get_one(Job, 1).attempt = 5000
    give_up(workspace, claimed(workspace), "quarterdeck.toml is broken", spend=False)
    advance(workspace, seconds=queue.LONGEST_RETRY_SECONDS)
    assert claimed(workspace).attempt == 5002


def test_the_last_write_of_a_job_waits_for_a_lock_that_is_held_for_long(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(workspace, "a")
    job = claimed(workspace)
    monkeypatch.setattr(Database.write.__wrapped__, "__defaults__", (0.05,))  # type: ignore[attr-defined]
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with workspace.state.lock.held("somebody else"):
            held.set()
            done.wait(0.5)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    try:
        with pytest.raises(BusyError), workspace.state.write("what others write"):
            pass
        queue.finish(workspace, job.id or 0, job.attempt, JobState.SUCCEEDED)
    finally:
        done.set()
        holder.join()
    assert reread(workspace, job).state is JobState.SUCCEEDED


def test_a_failure_that_is_retried_waits_twice_as_long_each_time(workspace: Workspace) -> None:
    put(workspace, "a", max_attempts=3)
    waits = []
    for _ in range(2):
        job = claimed(workspace)
        queue.finish(workspace, job.id or 0, job.attempt, JobState.FAILED, "no answer", retry=True)
        assert queue.claim(workspace, here()) is None
        waits.append((reread(workspace, job).not_before - workspace.now()).total_seconds())
        advance(workspace, minutes=1)
    assert waits == pytest.approx([2, 4], abs=0.1)
    job = claimed(workspace)
    queue.finish(workspace, job.id or 0, job.attempt, JobState.FAILED, "no answer", retry=True)
    assert reread(workspace, job).state is JobState.FAILED
