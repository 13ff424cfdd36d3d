"""The queue: once by key, claimed under the runner's lease, fenced by attempt."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from quarterdeck.database import Database
from quarterdeck.errors import BusyError, FencedError
from quarterdeck.processes import here
from quarterdeck.runner import control, lease, queue, worker
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import Terms
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock


@pytest.fixture(autouse=True)
def _has_the_lease(workspace: Workspace) -> None:
    assert lease.acquire(workspace, here(), workspace.settings.runner.lease)


def put(workspace: Workspace, key: str, max_attempts: int = 2, retries: int = 0) -> bool:
    payload = {"alert": 1, "url": "x"}
    with workspace.state.write("test") as tx:
        terms = Terms(max_attempts=max_attempts, retries=retries)
        return bool(queue.enqueue(tx, workspace, Work(JobKind.NOTIFY, key, "alert/1", payload, terms)))


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


def succeed(workspace: Workspace, job: Job) -> None:
    with workspace.state.write("test") as tx:
        queue.end(queue.own(tx, job.id or 0, job.attempt), JobState.SUCCEEDED, workspace.now())


def fail(workspace: Workspace, job: Job) -> Job:
    with workspace.state.write("test") as tx:
        queue.fail(queue.own(tx, job.id or 0, job.attempt), workspace.now(), "no answer")
    return reread(workspace, job)


def advance(workspace: Workspace, **by: float) -> None:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(**by)


def test_a_key_makes_one_job_for_good(workspace: Workspace) -> None:
    assert put(workspace, "a")
    assert not put(workspace, "a")
    job = claimed(workspace)
    succeed(workspace, job)
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
        succeed(workspace, first)
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
        worker._finish(workspace, job.id or 0, job.attempt, None)
    finally:
        done.set()
        holder.join()
    assert reread(workspace, job).state is JobState.SUCCEEDED


def test_a_failure_that_is_retried_waits_longer_each_time_and_never_the_same(workspace: Workspace) -> None:
    for name in "abcd":
        put(workspace, name, max_attempts=1, retries=2)
    waits: list[list[float]] = []
    for longest in (2, 4):
        failed = [fail(workspace, claimed(workspace)) for _ in range(4)]
        assert queue.claim(workspace, here()) is None
        waits.append([(job.not_before - workspace.now()).total_seconds() for job in failed])
        assert all(longest / 2 - 0.1 <= wait <= longest for wait in waits[-1])
        assert len(set(waits[-1])) == 4
        advance(workspace, minutes=1)


def test_a_job_that_failed_as_often_as_it_may_waits_for_a_person(workspace: Workspace) -> None:
    put(workspace, "a", max_attempts=1, retries=1)
    put(workspace, "once", max_attempts=1)
    again = fail(workspace, claimed(workspace))
    assert (again.state, again.error) == (JobState.QUEUED, "no answer")
    assert fail(workspace, claimed(workspace)).state is JobState.FAILED
    advance(workspace, minutes=1)
    dead = fail(workspace, claimed(workspace))
    assert (dead.state, dead.failures, dead.attempt) == (JobState.DEAD, 2, 2)
    advance(workspace, days=1)
    assert queue.claim(workspace, here()) is None
    control.retry(workspace, dead.id or 0, actor="ann")
    retried = claimed(workspace)
    assert (retried.attempt, retried.failures, retried.error) == (3, 0, None)
    assert fail(workspace, retried).state is JobState.QUEUED


def test_a_process_that_dies_spends_no_failure(workspace: Workspace) -> None:
    put(workspace, "a", max_attempts=2, retries=1)
    fail(workspace, claimed(workspace))
    advance(workspace, minutes=1)
    give_up(workspace, claimed(workspace), "its process died")
    advance(workspace, minutes=1)
    assert claimed(workspace).failures == 1
