"""A runner's attempts: none stays claimed for ever, whatever happened to the process or the runner."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlmodel import select

from quarterdeck.errors import BusyError, FencedError
from quarterdeck.pipelines import submission
from quarterdeck.pipelines.run import RunState
from quarterdeck.pipelines.submission import Wanted
from quarterdeck.processes import here
from quarterdeck.runner import attempts as module
from quarterdeck.runner import lease, queue
from quarterdeck.runner.attempts import Attempts
from quarterdeck.runner.job import Job, JobKind, JobState, RunnerLease
from quarterdeck.runner.processes import ForkServer, RunningJob
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import Terms
from quarterdeck.runner.worker import NOT_BEGUN
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock


@dataclass
class Launched:
    """A process as the standard library shows it."""

    exitcode: int | None = None
    pid: int | None = None
    sentinel: int = field(default_factory=lambda: os.open(os.devnull, os.O_RDONLY))

    def close(self) -> None:
        os.close(self.sentinel)


@dataclass
class Launcher:
    """Starts processes that are as the test says; `broken` makes it fail."""

    broken: bool = False
    exit_code: int | None = None

    def launch(self, root: Path, job: Job) -> RunningJob:
        if self.broken:
            raise OSError("no more processes")
        return RunningJob(job.id or 0, job.attempt, job.subject, cast(Any, Launched(self.exit_code)))

    def end_orphans(self, leaders: Collection[int]) -> None:
        """It starts nothing that could leave something behind."""


def runner(workspace: Workspace, launcher: Launcher) -> Attempts:
    assert lease.acquire(workspace, here(), workspace.settings.runner.lease)
    return Attempts(workspace, here(), cast(ForkServer, launcher))


def put(workspace: Workspace, key: str = "a") -> None:
    with workspace.state.write("test") as tx:
        queue.enqueue(tx, workspace, Work(JobKind.NOTIFY, key, "alert/1", {"alert": 1, "url": "x"}, Terms()))


def the_job(workspace: Workspace) -> Job:
    with workspace.state.read() as tx:
        return tx.exec(select(Job)).one()


def advance(workspace: Workspace, **by: float) -> None:
    assert isinstance(workspace.ports.clock, FakeClock)
    workspace.ports.clock.advance(**by)


def test_a_job_that_is_claimed_and_that_nobody_works_on_goes_back_to_the_queue(workspace: Workspace) -> None:
    attempts = runner(workspace, Launcher())
    put(workspace)
    queue.claim(workspace, here())
    put(workspace, "own")
    attempts.start()
    attempts.fence_strays()
    with workspace.state.read() as tx:
        states = [job.state for job in tx.exec(select(Job))]
    assert states == [JobState.QUEUED, JobState.RUNNING]


def test_only_the_runner_with_the_lease_takes_jobs_from_others(workspace: Workspace) -> None:
    attempts = runner(workspace, Launcher())
    put(workspace)
    queue.claim(workspace, here())
    with workspace.state.write("test") as tx:
        tx.get_one(RunnerLease, 1).pid = 1
    with pytest.raises(FencedError):
        attempts.fence_strays()
    assert the_job(workspace).state is JobState.RUNNING


def test_a_job_whose_process_could_not_be_started_is_not_forgotten_when_the_database_is_busy(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = runner(workspace, Launcher(broken=True))
    put(workspace)

    def busy(*_: object) -> None:
        raise BusyError

    with monkeypatch.context() as patch:
        patch.setattr(Attempts, "_put_back", busy)
        with pytest.raises(BusyError):
            attempts.start()
    assert the_job(workspace).state is JobState.RUNNING
    attempts.fence_strays()
    assert the_job(workspace).state is JobState.QUEUED


@pytest.mark.parametrize("launcher", [Launcher(exit_code=NOT_BEGUN), Launcher(broken=True)])
def test_an_attempt_that_could_not_begin_is_not_spent_and_the_next_one_waits(
    workspace: Workspace, launcher: Launcher, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts = runner(workspace, launcher)
    put(workspace)
    for _ in range(5):
        attempts.start()
        attempts.reap()
        job = the_job(workspace)
        assert job.state is JobState.QUEUED
        assert job.max_attempts - job.attempt == 2
        assert job.not_before - workspace.now() > timedelta(seconds=1)
        advance(workspace, minutes=10)
    assert the_job(workspace).attempt == 5


def test_a_process_that_was_killed_spends_its_attempt(workspace: Workspace) -> None:
    attempts = runner(workspace, Launcher(exit_code=-signal.SIGKILL))
    put(workspace)
    for _ in range(2):
        attempts.start()
        attempts.reap()
        advance(workspace, minutes=10)
    job = the_job(workspace)
    assert (job.state, job.error) == (JobState.LOST, "Its process was killed (SIGKILL).")


@pytest.mark.parametrize(
    ("run_state", "job_state"),
    [
        (RunState.SUCCEEDED, JobState.SUCCEEDED),
        (RunState.HELD, JobState.SUCCEEDED),
        (RunState.FAILED, JobState.FAILED),
    ],
)
def test_a_process_that_was_killed_after_its_run_had_ended_ends_its_job_as_the_run_did(
    workspace: Workspace, run_state: RunState, job_state: JobState
) -> None:
    attempts = runner(workspace, Launcher(exit_code=-signal.SIGKILL))
    with workspace.state.write("test") as tx:
        (run,) = submission.submit_in(tx, workspace, Wanted("train", {}, "manual", "ann"))
        name = run.reference
        queue.enqueue(tx, workspace, Work(JobKind.RUN, name, name, {"run": run.id}, Terms(max_attempts=1)))
        run.move(RunState.RUNNING, workspace.now())
        run.move(run_state, workspace.now(), "as it ended")
    attempts.start()
    attempts.reap()
    assert the_job(workspace).state is job_state


def test_a_process_that_does_not_die_is_waited_for_once_and_then_only_looked_at(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    immortal = True

    def end_group(group: object, patience: float) -> bool:
        waited.append(patience)
        return not immortal

    monkeypatch.setattr(module, "end_group", end_group)
    attempts = runner(workspace, Launcher(exit_code=-signal.SIGKILL))
    put(workspace)
    attempts.start()
    queue.record_process(workspace, 1, 1, here(), "log")
    attempts.reap()
    attempts.bury_the_rest()
    attempts.bury_the_rest()
    assert waited == [5.0, 0.0, 0.0]
    assert the_job(workspace).process_group is not None
    immortal = False
    attempts.bury_the_rest()
    attempts.bury_the_rest()
    assert len(waited) == 4
    assert the_job(workspace).process_group is None


def test_a_group_that_could_not_be_noted_as_dead_is_tried_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = runner(workspace, Launcher())
    put(workspace)
    claimed = queue.claim(workspace, here())
    assert claimed is not None
    queue.record_process(workspace, 1, 1, here(), "log")

    def busy(*_: object) -> bool:
        raise BusyError

    with monkeypatch.context() as patch:
        patch.setattr(module, "end_group", busy)
        with pytest.raises(BusyError):
            attempts.recover()
    monkeypatch.setattr(module, "end_group", lambda *_: True)
    attempts.bury_the_rest()
    assert the_job(workspace).process_group is None
