"""Jobs in processes of their own, under a real runner."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck import events
from quarterdeck.pipelines import submission
from quarterdeck.pipelines.run import RunState
from quarterdeck.runner.job import JobState
from quarterdeck.runner.queries import job_log_path, runner_state
from quarterdeck.workspace import Workspace
from tests.integration.runner_harness import (
    Process,
    is_gone,
    jobs,
    make_workspace,
    notes,
    run_of,
    running,
)
from tests.waiting import wait_for


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Process]]:
    """One warm runner for the tests that leave it as they found it."""
    workspace = make_workspace(tmp_path_factory.mktemp("jobs") / "workspace")
    with running(workspace, "runner") as runner:
        runner.wait_until_ready()
        yield workspace, runner
    workspace.close()


def ended(workspace: Workspace, run_id: int, seconds: float = 30.0) -> RunState:
    wait_for(lambda: run_of(workspace, run_id).finished_at, seconds=seconds, what=f"the end of run {run_id}")
    return run_of(workspace, run_id).state


def held(workspace: Workspace, name: str) -> int:
    """Wait until a slow run holds; the process it runs in."""
    wait_for(lambda: (workspace.root / f"{name}.child").exists(), seconds=30, what=f"{name} to hold")
    wait_for(lambda: (workspace.root / f"{name}.child").read_text(), seconds=5)
    return notes(workspace, name)[-1]


def child_of(workspace: Workspace, name: str) -> int:
    return int((workspace.root / f"{name}.child").read_text())


def slow(workspace: Workspace, name: str) -> int:
    return submission.submit(workspace, "slow", {"hold.name": name})


def release(workspace: Workspace, name: str) -> None:
    (workspace.root / f"{name}.go").touch()


def log_of(workspace: Workspace, run_id: int) -> str:
    job = next(job for job in jobs(workspace) if job.key == f"run/{run_id}")
    path = job_log_path(workspace, job.id or 0)
    return path.read_text() if path else ""


def job_state(workspace: Workspace, run_id: int) -> JobState:
    return next(job.state for job in jobs(workspace) if job.key == f"run/{run_id}")


def test_a_job_runs_in_a_session_of_its_own_and_its_children_end_with_it(shared: tuple[Workspace, Process]) -> None:
    workspace, runner = shared
    run_id = slow(workspace, "own")
    pid = held(workspace, "own")
    assert os.getpgid(pid) == os.getsid(pid) == pid
    assert pid != runner.popen.pid
    assert runner_state(workspace).pid == runner.popen.pid
    release(workspace, "own")
    assert ended(workspace, run_id) is RunState.SUCCEEDED
    wait_for(lambda: is_gone(child_of(workspace, "own")) and is_gone(pid), what="the end of the group")
    wait_for(lambda: jobs(workspace)[-1].process_group is None, what="the note that the group is gone")
    assert job_state(workspace, run_id) is JobState.SUCCEEDED


def test_the_log_names_the_attempt_and_holds_what_was_printed(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = submission.submit(workspace, "quick")
    assert ended(workspace, run_id) is RunState.SUCCEEDED
    lines = log_of(workspace, run_id).splitlines()
    assert f"(run/{run_id}), attempt 1 of 2" in lines[0]
    assert [line for line in lines if line.endswith("Z OUT      user code runs")]


def test_a_failing_step_fails_its_job_once_and_the_log_has_the_traceback(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = submission.submit(workspace, "failing")
    assert ended(workspace, run_id) is RunState.FAILED
    wait_for(lambda: job_state(workspace, run_id) is JobState.FAILED)
    assert "this is the step's own mistake" in log_of(workspace, run_id)
    assert jobs(workspace)[-1].attempt == 1


def test_a_killed_job_leaves_its_last_line_and_is_lost_when_no_attempts_are_left(
    shared: tuple[Workspace, Process],
) -> None:
    workspace, _ = shared
    run_id = slow(workspace, "doomed")
    for attempt in (1, 2):
        wait_for(lambda attempt=attempt: len(notes(workspace, "doomed")) == attempt, seconds=30)  # type: ignore[misc]
        wait_for(lambda: "the last line before the wait" in log_of(workspace, run_id), seconds=10)
        pid, log = held(workspace, "doomed"), log_of(workspace, run_id)
        assert f"attempt {attempt} of 2" in log
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
    assert ended(workspace, run_id) is RunState.LOST
    wait_for(lambda: is_gone(child_of(workspace, "doomed")), what="the end of the dead job's child")
    (job,) = (job for job in jobs(workspace) if job.key == f"run/{run_id}")
    assert job.state is JobState.LOST
    assert job.error is not None
    assert "SIGKILL" in job.error


def test_broken_settings_cost_a_job_nothing_since_those_before_stay_in_force(shared: tuple[Workspace, Process]) -> None:
    workspace, runner = shared
    settings = workspace.settings_file.read_text()
    workspace.settings_file.write_text(f"{settings}\nnonsense")
    try:
        wait_for(
            lambda: "The settings before that stay in force" in runner.said, seconds=30, what="the runner to say so"
        )
        run_id = submission.submit(workspace, "quick")
        assert ended(workspace, run_id, seconds=60) is RunState.SUCCEEDED
    finally:
        workspace.settings_file.write_text(settings)
    job = jobs(workspace)[-1]
    assert (job.attempt, job.error) == (1, None)
    assert "is not valid TOML" in runner.said


def test_cancelling_ends_the_whole_group(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = slow(workspace, "unwanted")
    pid = held(workspace, "unwanted")
    submission.cancel(workspace, run_id, actor="ada")
    assert ended(workspace, run_id) is RunState.CANCELLED
    assert job_state(workspace, run_id) is JobState.CANCELLED
    wait_for(lambda: is_gone(pid) and is_gone(child_of(workspace, "unwanted")), what="the end of the group")
    with workspace.state.read() as tx:
        cancelled = [e for e in events.after(tx, 0, 10_000) if e.kind == "run.cancelled"]
    assert [(event.subject, event.actor) for event in cancelled] == [(f"run/{run_id}", "ada")]


def test_no_more_jobs_run_at_once_than_the_settings_allow(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    runs = [slow(workspace, name) for name in ("one", "two", "three")]
    held(workspace, "one")
    held(workspace, "two")
    assert [job_state(workspace, run_id) for run_id in runs] == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]
    release(workspace, "one")
    held(workspace, "three")
    release(workspace, "two")
    release(workspace, "three")
    assert [ended(workspace, run_id) for run_id in runs] == [RunState.SUCCEEDED] * 3


def test_a_job_that_started_a_joblib_pool_ends_when_it_is_done(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = submission.submit(workspace, "pooled")
    assert ended(workspace, run_id, seconds=60) is RunState.SUCCEEDED
    wait_for(lambda: jobs(workspace)[-1].process_group is None, seconds=5, what="the end of the pool")


def test_a_killed_fork_server_is_replaced_and_its_job_does_not_run_twice_at_once(
    shared: tuple[Workspace, Process],
) -> None:
    workspace, runner = shared
    run_id = slow(workspace, "orphan")
    first = held(workspace, "orphan")
    server = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
    assert server != runner.popen.pid
    os.kill(server, signal.SIGKILL)
    wait_for(lambda: is_gone(first), seconds=10, what="the end of the first attempt")
    wait_for(lambda: len(notes(workspace, "orphan")) == 2, seconds=60, what="the second attempt")
    release(workspace, "orphan")
    assert ended(workspace, run_id) is RunState.SUCCEEDED
    assert len(notes(workspace, "orphan.done")) == 1
