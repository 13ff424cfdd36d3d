"""What panes and the command line read about jobs and the runner."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import and_, case, func, or_
from sqlmodel import Session, col, select

from quarterdeck.pipelines.run import RunStep, StepState
from quarterdeck.processes import is_alive
from quarterdeck.runner import admission, lease
from quarterdeck.runner.admission import Admission
from quarterdeck.runner.control import find_job
from quarterdeck.runner.job import AGAIN, Job, JobKind, JobState
from quarterdeck.workspace import Workspace

RECENT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job, as it is now."""

    id: int
    kind: str
    subject: str
    state: JobState
    attempt: int
    max_attempts: int
    failures: int
    retries: int
    priority: int
    pool: str | None
    pipeline: str | None
    schedule: str | None
    tick: datetime | None
    timeout_seconds: float | None
    memory_limit_bytes: int | None
    cpu_seconds: float | None
    memory_bytes: int | None
    peak_memory_bytes: int | None
    created_at: datetime
    not_before: datetime
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested_by: str | None
    error: str | None
    waiting: str | None
    """Why a queued job does not run yet."""
    progress: tuple[int, int] | None
    """Of a running run: how many of its steps are done, and how many it has."""

    @property
    def tried_again(self) -> bool:
        """Whether `retry` takes it."""
        return self.state in AGAIN


@dataclass(frozen=True, slots=True)
class RunnerState:
    """Whether somebody works on the queue."""

    alive: bool
    pid: int | None
    since: datetime | None
    cpu_seconds: float = 0.0
    """Of the runner and its fork server since they started, at the last heartbeat."""
    memory_bytes: int = 0
    """Their proportional set sizes at the last heartbeat."""


def jobs(
    workspace: Workspace, limit: int = 200, *, states: Collection[str] = (), schedule: str | None = None
) -> list[JobRow]:
    """The newest jobs, those that run first, then those that wait; of `states` and of one schedule only."""
    query = select(Job).order_by(case({JobState.RUNNING: 0, JobState.QUEUED: 1}, value=col(Job.state), else_=2))
    if states:
        query = query.where(col(Job.state).in_(states))
    if schedule is not None:
        query = query.where(Job.schedule == schedule)
    with workspace.state.read() as tx:
        found = tx.exec(query.order_by(col(Job.id).desc()).limit(limit)).all()
        return _rows(tx, workspace, found)


def jobs_for_a_person(workspace: Workspace, limit: int = 200) -> list[JobRow]:
    """The newest jobs that are dead, or were lost or failed within a day.

    Of a schedule, one that was lost or failed is told only while nothing has ended otherwise since.
    """
    told = col(Job.state).in_([JobState.SUCCEEDED, JobState.FAILED, JobState.LOST, JobState.DEAD])
    newest = select(func.max(Job.id)).where(told, col(Job.schedule).is_not(None)).group_by(col(Job.schedule))
    recent = and_(
        col(Job.state).in_([JobState.FAILED, JobState.LOST]),
        col(Job.finished_at) >= workspace.now() - RECENT,
        or_(col(Job.schedule).is_(None), col(Job.id).in_(newest)),
    )
    query = select(Job).where(or_(col(Job.state) == JobState.DEAD, recent)).order_by(col(Job.id).desc()).limit(limit)
    with workspace.state.read() as tx:
        return _rows(tx, workspace, tx.exec(query).all())


def started_jobs(workspace: Workspace, schedule: str, limit: int) -> list[JobRow]:
    """The newest jobs of a schedule that have started, newest first."""
    query = select(Job).where(Job.schedule == schedule, col(Job.started_at).is_not(None))
    with workspace.state.read() as tx:
        return _rows(tx, workspace, tx.exec(query.order_by(col(Job.id).desc()).limit(limit)).all())


def job(workspace: Workspace, job_id: int) -> JobRow:
    """One job.

    Raises:
        NotFoundError: there is no such job.
    """
    with workspace.state.read() as tx:
        return _rows(tx, workspace, [find_job(tx, job_id)])[0]


def job_of(workspace: Workspace, key: str) -> JobRow | None:
    """The job of that key, such as `backtest/3`; None where there is none yet."""
    with workspace.state.read() as tx:
        found = tx.exec(select(Job).where(Job.key == key)).all()
        return next(iter(_rows(tx, workspace, found)), None)


def last_results(workspace: Workspace, limit: int = 10) -> dict[str, list[str]]:
    """For each schedule the states of its newest jobs, oldest first."""
    place = func.row_number().over(partition_by=col(Job.schedule), order_by=col(Job.id).desc()).label("place")
    newest = select(Job.id, Job.schedule, Job.state, place).where(col(Job.schedule).is_not(None)).subquery()
    query = select(newest.c.schedule, newest.c.state).where(newest.c.place <= limit).order_by(newest.c.id)
    results: dict[str, list[str]] = {}
    with workspace.state.read() as tx:
        for schedule, state in tx.exec(query):
            results.setdefault(schedule, []).append(state)
    return results


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
        log = find_job(tx, job_id).log
    return workspace.logs / log if log else None


def run_log_path(workspace: Workspace, run_id: int) -> Path | None:
    """The log file of the newest attempt at a pipeline run; None when none has started yet."""
    with workspace.state.read() as tx:
        log = tx.exec(select(Job.log).where(Job.key == f"run/{run_id}")).first()
    return workspace.logs / log if log else None


def _state(tx: Session) -> RunnerState:
    row = lease.holder(tx)
    if row is None:
        return RunnerState(False, None, None)
    alive = is_alive(lease.identity_of(row))
    return RunnerState(alive, row.pid, row.started_at, row.cpu_seconds, row.memory_bytes)


def _rows(tx: Session, workspace: Workspace, found: Sequence[Job]) -> list[JobRow]:
    runner_alive, closed, steps = _state(tx).alive, admission.look(tx, workspace), _progress(tx, found)
    derived = {"id", "waiting", "progress"}
    names = [field.name for field in fields(JobRow) if field.name not in derived]
    return [
        JobRow(
            id=job.id or 0,
            waiting=_waiting(workspace, job, runner_alive, closed),
            progress=steps.get(job.id or 0),
            **{name: getattr(job, name) for name in names},
        )
        for job in found
    ]


def _progress(tx: Session, found: Sequence[Job]) -> dict[int, tuple[int, int]]:
    runs = {
        int(job.payload["run"]): job.id or 0
        for job in found
        if job.kind is JobKind.RUN and job.state is JobState.RUNNING
    }
    done = func.sum(case((col(RunStep.state) == StepState.SUCCEEDED, 1), else_=0))
    query = (
        select(RunStep.run_id, done, func.count()).where(col(RunStep.run_id).in_(runs)).group_by(col(RunStep.run_id))
    )
    return {runs[run]: (ended, total) for run, ended, total in tx.exec(query)} if runs else {}


def _waiting(workspace: Workspace, job: Job, runner_alive: bool, closed: Admission) -> str | None:
    if job.state is not JobState.QUEUED:
        return None
    if not runner_alive:
        return "no runner: start one with `quarterdeck up`"
    if job.not_before > workspace.now():
        return f"tried again at {job.not_before:%H:%M:%S} UTC"
    return closed.obstacle(job) or "its turn comes next"
