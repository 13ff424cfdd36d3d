"""A real runner holds jobs to their limits, tries again what failed, and follows what people and settings say."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlmodel import select

from quarterdeck import freezing
from quarterdeck.events import Event
from quarterdeck.pipelines import pausing, submission
from quarterdeck.pipelines.run import ENDED, RunState
from quarterdeck.pipelines.schedule import Schedule
from quarterdeck.pipelines.submission import Wanted
from quarterdeck.runner import control, queries
from quarterdeck.runner.job import Job, JobState
from quarterdeck.workspace import Workspace
from tests.integration.runner_harness import Process, is_gone, jobs, make_workspace, notes, run_of, running
from tests.waiting import wait_for

HUNGRY = '''\
"""Pipelines that break their limits."""

import multiprocessing
import os
import subprocess
import time
from pathlib import Path

from quarterdeck.pipelines import pipeline, step

HERE = Path(__file__).parent.parent


def hold_memory(megabytes):
    block = bytearray(os.urandom(1 << 20) * megabytes)
    time.sleep(600)
    return len(block)


@step
def eat():
    """Two processes, each of which alone stays under the limit."""
    with (HERE / "eaters").open("a") as file:
        for _ in range(2):
            child = multiprocessing.get_context("fork").Process(target=hold_memory, args=(200,))
            child.start()
            file.write(f"{child.pid}\\n")
    time.sleep(600)


@step
def stubborn():
    with (HERE / "stubborn").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    time.sleep(600)


@step
def flaky():
    """Fails until somebody has put a file there."""
    with (HERE / "flaky").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if not (HERE / "mended").exists():
        raise RuntimeError("upstream does not answer")


@step
def flood():
    subprocess.run(["yes", "a line that nobody needs"])


@step
def leak():
    print("own words: " + os.environ["TEST_BANK_PASSWORD"])
    subprocess.run(["sh", "-c", "echo words of a child: $TEST_BANK_PASSWORD"])


hungry = pipeline("hungry", [eat])
flooding = pipeline("flooding", [flood])
leaking = pipeline("leaking", [leak])
endless = pipeline("endless", [stubborn])
retried = pipeline("retried", [flaky])
'''
SECRET = "correct horse battery staple"
SETTINGS = """
[logs]
mask = ["TEST_BANK_PASSWORD"]
max_bytes = "1MB"
[pipelines.hungry]
memory = "400MB"
[pipelines.endless]
timeout = "1s"
[pipelines.retried]
retries = 1
[pipelines.slow]
pool = "gpu"
[pools.gpu]
slots = 1
[schedules.often]
pipeline = "slow"
every = "1h"
overlap = "replace"
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Process]]:
    workspace = make_workspace(tmp_path_factory.mktemp("limits") / "workspace", concurrency=4, settings=SETTINGS)
    (workspace.root / "pipelines" / "hungry.py").write_text(HUNGRY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_BANK_PASSWORD", SECRET)
        with running(workspace, "runner") as runner:
            yield workspace, runner.wait_until_ready()
    workspace.close()


def job_of(workspace: Workspace, run_id: int) -> Job:
    wait_for(lambda: any(job.key == f"run/{run_id}" for job in jobs(workspace)), seconds=30, what="the job")
    (job,) = [job for job in jobs(workspace) if job.key == f"run/{run_id}"]
    return job


def ended(workspace: Workspace, run_id: int) -> RunState:
    wait_for(lambda: run_of(workspace, run_id).state in ENDED, seconds=60, what=f"the end of run {run_id}")
    return run_of(workspace, run_id).state


def test_a_job_that_its_memory_limit_killed_says_so_and_leaves_nothing(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = submission.submit(workspace, "hungry")
    assert ended(workspace, run_id) is RunState.FAILED
    error = run_of(workspace, run_id).error or ""
    assert "its limit is 400 MB" in error
    job = job_of(workspace, run_id)
    assert (job.state, job.error, job.attempt) == (JobState.FAILED, error, 1)
    assert (job.peak_memory_bytes or 0) > 400e6
    eaters = notes(workspace, "eaters")
    assert len(eaters) == 2
    wait_for(lambda: all(is_gone(pid) for pid in eaters), seconds=20, what="the end of the group")


def test_a_job_that_runs_longer_than_its_timeout_is_ended_and_says_so(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = submission.submit(workspace, "endless")
    assert ended(workspace, run_id) is RunState.FAILED
    assert "longer than its timeout of 1 s" in (run_of(workspace, run_id).error or "")
    (pid,) = notes(workspace, "stubborn")
    wait_for(lambda: is_gone(pid), seconds=20, what="the end of the process")


def test_a_job_that_floods_its_log_is_killed_and_says_so(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = submission.submit(workspace, "flooding")
    assert ended(workspace, run_id) is RunState.FAILED
    assert "It flooded its log, which may hold 1 MB" in (run_of(workspace, run_id).error or "")


def test_no_log_keeps_a_secret_that_the_settings_name(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = submission.submit(workspace, "leaking")
    assert ended(workspace, run_id) is RunState.SUCCEEDED
    path = queries.run_log_path(workspace, run_id)
    assert path is not None
    wait_for(lambda: SECRET not in path.read_text(), seconds=20, what="the child's words to be masked")
    assert "own words: ***" in path.read_text()
    assert "words of a child: ***" in path.read_text()


def test_a_run_that_failed_is_tried_again_and_then_waits_for_a_person(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    run_id = submission.submit(workspace, "retried")
    wait_for(lambda: job_of(workspace, run_id).state is JobState.DEAD, seconds=60, what="the dead letter")
    assert run_of(workspace, run_id).state is RunState.FAILED
    assert len(notes(workspace, "flaky")) == 2
    (workspace.root / "mended").touch()
    control.retry(workspace, job_of(workspace, run_id).id or 0, actor="ann")
    assert ended(workspace, run_id) is RunState.SUCCEEDED
    wait_for(lambda: job_of(workspace, run_id).state is JobState.SUCCEEDED, seconds=10, what="the end of the job")
    assert (job_of(workspace, run_id).cpu_seconds or 0) > 0


def test_a_full_pool_and_a_pause_hold_runs_until_they_are_free(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    first = submission.submit(workspace, "slow", {"hold.name": "p1"})
    wait_for(lambda: notes(workspace, "p1"), seconds=60, what="the first run")
    second = submission.submit(workspace, "slow", {"hold.name": "p2"})
    wait_for(lambda: waiting(workspace, second) == "pool gpu full (1 of 1)", seconds=20, what="the reason")
    pausing.pause(workspace, "pipeline/slow", actor="ann")
    (workspace.root / "p1.go").touch()
    assert ended(workspace, first) is RunState.SUCCEEDED
    wait_for(lambda: waiting(workspace, second) == "paused by ann", seconds=20, what="the other reason")
    assert notes(workspace, "p2") == []
    pausing.resume(workspace, "pipeline/slow", actor="ann")
    wait_for(lambda: notes(workspace, "p2"), seconds=60, what="the second run")
    (workspace.root / "p2.go").touch()
    assert ended(workspace, second) is RunState.SUCCEEDED


def waiting(workspace: Workspace, run_id: int) -> str | None:
    found = [job for job in queries.jobs(workspace) if job.subject == f"run/{run_id}"]
    return found[0].waiting if found else None


def test_a_freeze_holds_scheduled_runs_and_lets_people_work(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    freezing.freeze(workspace, timedelta(hours=1), actor="ann")
    with workspace.state.write("test") as tx:
        (run,) = submission.submit_in(tx, workspace, Wanted("quick", {}, "alert/1", "policy"))
    automatic = run.id or 0
    asked = submission.submit(workspace, "quick")
    assert ended(workspace, asked) is RunState.SUCCEEDED
    assert (waiting(workspace, automatic) or "").startswith("frozen by ann")
    freezing.thaw(workspace, actor="ann")
    assert ended(workspace, automatic) is RunState.SUCCEEDED


def test_a_tick_that_replaces_ends_the_processes_of_the_run_before(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    back_date(workspace)
    wait_for(lambda: notes(workspace, "held"), seconds=60, what="the run of the first tick")
    (first,) = notes(workspace, "held")
    back_date(workspace)
    wait_for(lambda: len(notes(workspace, "held")) == 2, seconds=60, what="the run of the second tick")
    assert is_gone(first)
    replaced, newest = [job for job in jobs(workspace) if job.schedule == "often"]
    assert (replaced.state, newest.state) == (JobState.CANCELLED, JobState.RUNNING)
    control.cancel(workspace, newest.id or 0, actor="ann")
    wait_for(lambda: jobs(workspace)[-1].state is JobState.CANCELLED, seconds=30, what="the cancellation")


def back_date(workspace: Workspace) -> None:
    """Let the schedule's next tick be due now, as if its interval had begun an hour ago."""
    with workspace.state.write("test") as tx:
        row = tx.exec(select(Schedule).where(Schedule.name == "often")).one()
        row.last_tick = None
        row.anchor = workspace.now() - timedelta(seconds=3600)
        workspace.record(tx, "schedule.changed", "schedule/often")


def test_the_runner_records_what_it_uses(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    wait_for(lambda: queries.runner_state(workspace).memory_bytes > 50e6, seconds=30, what="the heartbeat")
    assert queries.runner_state(workspace).cpu_seconds > 1


def test_what_happened_is_in_the_chain(shared: tuple[Workspace, Process]) -> None:
    workspace, _ = shared
    with workspace.state.read() as tx:
        kinds = {event.kind for event in tx.exec(select(Event))}
    assert {"workspace.frozen", "workspace.thawed", "pipeline.paused", "job.retried", "schedule.replaced"} <= kinds
