"""Runners that are killed, stopped, frozen and doubled: no job is lost, done twice, or left running."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.pipelines import submission
from quarterdeck.pipelines.run import RunState
from quarterdeck.runner.job import JobState
from quarterdeck.runner.queries import runner_state
from quarterdeck.workspace import Workspace
from tests.integration.runner_harness import is_gone, jobs, make_workspace, notes, run_of, running
from tests.waiting import wait_for


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = make_workspace(tmp_path / "workspace", lease="4s")
    yield workspace
    workspace.close()


def start_slow(workspace: Workspace) -> int:
    return submission.submit(workspace, "slow", {"hold.name": "held"})


def holds(workspace: Workspace, attempt: int) -> int:
    wait_for(lambda: len(notes(workspace, "held")) == attempt, seconds=60, what=f"attempt {attempt} to hold")
    return notes(workspace, "held")[-1]


def finish(workspace: Workspace, run_id: int) -> None:
    (workspace.root / "held.go").touch()
    wait_for(lambda: run_of(workspace, run_id).finished_at, seconds=30, what="the end of the run")
    assert run_of(workspace, run_id).state is RunState.SUCCEEDED
    assert len(notes(workspace, "held.done")) == 1


def test_a_new_runner_kills_what_a_killed_one_left_and_runs_it_again(workspace: Workspace) -> None:
    run_id = start_slow(workspace)
    with running(workspace, "runner") as first:
        orphan = holds(workspace, 1)
        wait_for(lambda: (workspace.root / "held.child").exists(), seconds=10)
        child = int(wait_for(lambda: (workspace.root / "held.child").read_text(), seconds=10))
        first.kill()
        assert not is_gone(orphan)  # Jobs outlive a killed runner ...
        with running(workspace, "runner"):
            again = holds(workspace, 2)
            assert again != orphan
            assert is_gone(orphan)  # ... and are gone before they run again.
            assert is_gone(child)
            finish(workspace, run_id)
            (job,) = jobs(workspace)
            wait_for(lambda: jobs(workspace)[0].state is JobState.SUCCEEDED)
            assert job.attempt == 2


def test_a_clean_stop_gives_jobs_back_without_spending_an_attempt(workspace: Workspace) -> None:
    run_id = start_slow(workspace)
    with running(workspace, "runner") as first:
        pid = holds(workspace, 1)
        assert first.stop() == 0
        assert is_gone(pid)
        assert run_of(workspace, run_id).state is RunState.QUEUED
        (job,) = jobs(workspace)
        assert (job.state, job.process_group) == (JobState.QUEUED, None)
        assert job.max_attempts - job.attempt == 2
        assert not runner_state(workspace).alive
        with running(workspace, "runner"):
            holds(workspace, 2)
            finish(workspace, run_id)


def test_a_standby_takes_over_from_a_killed_runner_and_from_a_frozen_one(workspace: Workspace) -> None:
    with running(workspace, "runner") as first, running(workspace, "runner") as second:
        wait_for(lambda: "standing by" in first.said + second.said, seconds=60)
        active, standby = (second, first) if "standing by" in first.said else (first, second)
        active.wait_until_ready()
        run_id = start_slow(workspace)
        frozen_job = holds(workspace, 1)
        # Not in the middle of a transaction: what is frozen with the write lock keeps it, and nobody could take over.
        with workspace.state.write("test"):
            os.kill(active.popen.pid, signal.SIGSTOP)
        standby.wait_until_ready()  # Its lease ran out, though the process lives.
        holds(workspace, 2)
        assert is_gone(frozen_job)
        os.kill(active.popen.pid, signal.SIGCONT)
        wait_for(lambda: "has taken over" in active.said, seconds=20, what="the old runner to notice")
        standby.kill()
        wait_for(lambda: runner_state(workspace).pid == active.popen.pid, seconds=20, what="the takeover")
        wait_for(lambda: run_of(workspace, run_id).state is RunState.LOST, seconds=20)
        # Fenced first, killed second.
        wait_for(lambda: all(is_gone(pid) for pid in notes(workspace, "held")), what="the end of the last attempt")


def test_settings_are_read_again_when_they_change(workspace: Workspace) -> None:
    with running(workspace, "runner") as runner:
        runner.wait_until_ready()
        file = workspace.settings_file
        file.write_text(file.read_text() + '[schedules.often]\npipeline = "quick"\nevery = "1s"\n')
        wait_for(lambda: len(notes(workspace, "touched")) >= 2, seconds=20, what="two ticks")
        file.write_text(file.read_text() + "nonsense")
        wait_for(lambda: "stay in force" in runner.said, seconds=10)
        assert runner.popen.poll() is None
