"""Jobs in every state, and schedules of every kind, beside what `seeding.seed` has made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from quarterdeck.freezing import freeze
from quarterdeck.pipelines.pausing import pause
from quarterdeck.pipelines.run import Run, RunState, RunStep, StepState
from quarterdeck.pipelines.schedule import Schedule, Target
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.workspace import Workspace
from tests.console.seeding import write

RESULTS = ("succeeded", "succeeded", "failed", "lost", "dead", "cancelled", "succeeded")
"""How the jobs of schedule `hourly` ended, oldest first."""


def make_job(workspace: Workspace, key: str, state: JobState, **values: Any) -> int:
    """Write a job that is about `key`; its number."""
    now = workspace.now()
    began = state is not JobState.QUEUED
    ended = began and state is not JobState.RUNNING
    defaults: dict[str, Any] = {
        "kind": JobKind.MONITOR,
        "subject": key.partition("@")[0],
        "payload": {"monitor": "fraud"},
        "attempt": 1 if began else 0,
        "created_at": now - timedelta(minutes=6),
        "not_before": now - timedelta(minutes=6),
        "started_at": now - timedelta(minutes=5) if began else None,
        "finished_at": now - timedelta(minutes=4) if ended else None,
    }
    job = Job(key=key, state=state, **{**defaults, **values})
    write(workspace, job)
    assert job.id is not None
    return job.id


def make_run(workspace: Workspace, state: RunState, done: int = 0, steps: int = 0) -> int:
    """Write a run of `nightly`, of whose steps so many are done; its number."""
    now = workspace.now()
    run = Run(pipeline="nightly", state=state, parameters={}, trigger="manual", requested_by="alice", queued_at=now)
    write(workspace, run)
    assert run.id is not None
    for place in range(steps):
        of = StepState.SUCCEEDED if place < done else StepState.PENDING
        write(workspace, RunStep(run_id=run.id, name=f"step-{place}", position=place, state=of))
    return run.id


def make_schedule(workspace: Workspace, name: str, **values: Any) -> None:
    """Write a schedule; of pipeline `nightly` unless `values` say otherwise."""
    now = workspace.now()
    defaults: dict[str, Any] = {
        "target_kind": Target.PIPELINE,
        "target": "nightly",
        "parameters": {},
        "anchor": now - timedelta(days=1),
    }
    write(workspace, Schedule(name=name, **{**defaults, **values}))


def seed_board(workspace: Workspace) -> dict[str, int]:
    """Jobs that run, wait for each reason, need a person and ended; the numbers of some by what they are."""
    jobs = _running_and_queued(workspace)
    jobs["dead"] = make_job(
        workspace,
        "alert/7",
        JobState.DEAD,
        kind=JobKind.NOTIFY,
        failures=4,
        retries=3,
        error="Webhook https://hooks.example.org answered 503 Service Unavailable.",
    )
    error = "Its process died and no attempts are left."
    jobs["lost"] = make_job(workspace, "replay/4", JobState.LOST, kind=JobKind.REPLAY, error=error)
    jobs["cancelled"] = make_job(workspace, "alert/8", JobState.CANCELLED, kind=JobKind.REPORT)
    now = workspace.now()
    make_schedule(workspace, "hourly", cron="0 * * * *", timezone="Europe/Berlin", next_tick=now + timedelta(hours=1))
    make_schedule(workspace, "fresh", on_data="payments")
    make_schedule(workspace, "weekly", cron="0 3 * * 0", next_tick=now + timedelta(days=3))
    make_schedule(workspace, "off", every_seconds=5400.0, paused=True)
    watch = {"target_kind": Target.MONITOR, "target": "fraud", "every_seconds": 300.0}
    make_schedule(workspace, "monitor:fraud", **watch, next_tick=now + timedelta(minutes=2))
    backup = {"target_kind": Target.HOUSEKEEPING, "target": "backup", "cron": "30 1 * * *"}
    make_schedule(workspace, "housekeeping:backup", **backup, next_tick=now + timedelta(hours=12))
    for place, state in enumerate(RESULTS):
        make_job(workspace, f"monitor/fraud@{place}", JobState(state), schedule="hourly", error=None)
    pause(workspace, "schedule/weekly", reason="holidays", actor="alice")
    return jobs


def _running_and_queued(workspace: Workspace) -> dict[str, int]:
    run = make_run(workspace, RunState.RUNNING, done=3, steps=5)
    running = make_job(
        workspace,
        f"run/{run}",
        JobState.RUNNING,
        kind=JobKind.RUN,
        payload={"run": run},
        pipeline="nightly",
        pool="gpu",
        max_attempts=2,
        timeout_seconds=7200.0,
        memory_limit_bytes=4_000_000_000,
        cpu_seconds=281.0,
        memory_bytes=912_000_000,
        peak_memory_bytes=1_304_000_000,
    )
    waits = make_run(workspace, RunState.QUEUED)
    values: dict[str, Any] = {"kind": JobKind.RUN, "payload": {"run": waits}, "pipeline": "nightly"}
    pool = make_job(workspace, f"run/{waits}", JobState.QUEUED, **values, pool="gpu", priority=5)
    soon = workspace.now() + timedelta(minutes=3)
    again = make_job(workspace, "alert/9", JobState.QUEUED, kind=JobKind.NOTIFY, not_before=soon, attempt=1)
    return {"running": running, "pool": pool, "again": again}


def seed_holds(workspace: Workspace) -> dict[str, int]:
    """A pipeline that is paused, a freeze of two hours, and a queued job that each of them holds back."""
    pause(workspace, "pipeline/nightly", reason="release", actor="bob")
    freeze(workspace, timedelta(hours=2), reason="release", actor="carol")
    run = make_run(workspace, RunState.QUEUED)
    values: dict[str, Any] = {"kind": JobKind.RUN, "payload": {"run": run}, "pipeline": "nightly"}
    paused = make_job(workspace, f"run/{run}", JobState.QUEUED, **values)
    frozen = make_job(workspace, "alert/11", JobState.QUEUED, kind=JobKind.REPORT, automatic=True)
    return {"paused": paused, "frozen": frozen}
