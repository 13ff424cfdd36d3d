"""What panes and the command line read about jobs and the runner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import case
from sqlmodel import Session, col, select

from quarterdeck.errors import NotFoundError
from quarterdeck.processes import is_alive
from quarterdeck.runner import lease
from quarterdeck.runner.job import Job, JobState
from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job, as it is now."""

    id: int
    kind: str
    subject: str
    state: str
    attempt: int
    max_attempts: int
    created_at: datetime
    not_before: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_by: str | None
    error: str | None
    waits_for: str | None
    """Why a queued job does not run yet."""


@dataclass(frozen=True, slots=True)
class RunnerState:
    """Whether somebody works on the queue."""

    alive: bool
    pid: int | None
    since: datetime | None


def jobs(workspace: Workspace, limit: int = 200, active_first: bool = True) -> list[JobRow]:
    """The newest jobs; with `active_first` those that run, then those that wait, stand above those that ended."""
    query = select(Job)
    if active_first:
        query = query.order_by(case({JobState.RUNNING: 0, JobState.QUEUED: 1}, value=col(Job.state), else_=2))
    with workspace.state.read() as tx:
        alive = _state(tx).alive
        return [_row(workspace, job, alive) for job in tx.exec(query.order_by(col(Job.id).desc()).limit(limit))]


def job(workspace: Workspace, job_id: int) -> JobRow:
    """One job.

    Raises:
        NotFoundError: there is none with that number.
    """
    with workspace.state.read() as tx:
        return _row(workspace, _find(tx, job_id), _state(tx).alive)


def runner_state(workspace: Workspace) -> RunnerState:
    """The runner that has the lease, and whether that very process lives."""
    with workspace.state.read() as tx:
        return _state(tx)


def job_log_path(workspace: Workspace, job_id: int) -> Path | None:
    """The log file of the job's newest attempt; None when none has started yet.

    Raises:
        NotFoundError: there is no such job.
    """
    with workspace.state.read() as tx:
        log = _find(tx, job_id).log
    return workspace.logs / log if log else None


def run_log_path(workspace: Workspace, run_id: int) -> Path | None:
    """The log file of the newest attempt at a pipeline run; None when none has started yet."""
    with workspace.state.read() as tx:
        log = tx.exec(select(Job.log).where(Job.key == f"run/{run_id}")).first()
    return workspace.logs / log if log else None


def _find(tx: Session, job_id: int) -> Job:
    job = tx.get(Job, job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id}. `quarterdeck jobs` lists them.")
    return job


def _state(tx: Session) -> RunnerState:
    row = lease.holder(tx)
    if row is None:
        return RunnerState(False, None, None)
    return RunnerState(is_alive(lease.identity_of(row)), row.pid, row.started_at)


def _row(workspace: Workspace, job: Job, runner_alive: bool) -> JobRow:
    assert job.id is not None
    return JobRow(
        id=job.id,
        kind=job.kind,
        subject=job.subject,
        state=job.state,
        attempt=job.attempt,
        max_attempts=job.max_attempts,
        created_at=job.created_at,
        not_before=job.not_before,
        started_at=job.started_at,
        finished_at=job.finished_at,
        cancel_requested_by=job.cancel_requested_by,
        error=job.error,
        waits_for=_waits_for(workspace, job, runner_alive),
    )


def _waits_for(workspace: Workspace, job: Job, runner_alive: bool) -> str | None:
    if job.state is not JobState.QUEUED:
        return None
    if not runner_alive:
        return "no runner: start one with `quarterdeck up`"
    if job.process_group is not None:
        return "the end of its last attempt's processes"
    if job.not_before > workspace.now():
        return f"{job.not_before:%H:%M:%S} UTC, to try again" if job.attempt else f"{job.not_before:%H:%M:%S} UTC"
    return "a free place"
