"""The queue of jobs: inserted once by key, claimed by the runner that has the lease, fenced by attempt number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.errors import FencedError
from quarterdeck.pipelines.ending import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.processes import ProcessIdentity
from quarterdeck.runner import lease
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.workspace import Workspace

FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 600.0
ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})


def enqueue(
    tx: Session,
    workspace: Workspace,
    kind: JobKind,
    key: str,
    subject: str,
    payload: Mapping[str, Any],
    *,
    not_before: datetime | None = None,
    max_attempts: int = 2,
) -> bool:
    """Insert a job; False when there is, or ever was, one with this `key`."""
    if tx.exec(select(Job.id).where(Job.key == key)).first() is not None:
        return False
    now = workspace.now()
    tx.add(
        Job(
            kind=kind,
            key=key,
            subject=subject,
            payload=dict(payload),
            state=JobState.QUEUED,
            max_attempts=max_attempts,
            not_before=not_before or now,
            created_at=now,
        )
    )
    tx.flush()
    return True


def claim(workspace: Workspace, me: ProcessIdentity) -> Job | None:
    """Take the oldest job that is due, as a new attempt under the runner `me`; None when there is none.

    A job whose recorded process group has not been seen dead is not claimed: two attempts never run at once.

    Raises:
        FencedError: another runner has taken over.
    """
    now = workspace.now()
    due = (
        select(Job)
        .where(Job.state == JobState.QUEUED, col(Job.process_group).is_(None), col(Job.not_before) <= now)
        .order_by(col(Job.not_before), col(Job.id))
        .limit(1)
    )
    # A look first: an idle runner must not stand in the way of those who write.
    with workspace.state.read() as tx:
        if tx.exec(due).first() is None:
            return None
    with workspace.state.write("claim") as tx:
        lease.hold(tx, me)
        job = tx.exec(due).first()
        if job is None:
            return None
        job.state = JobState.RUNNING
        job.attempt += 1
        job.started_at, job.finished_at = now, None
        job.error = None
    return job


def fence_for(job_id: int, attempt: int) -> Callable[[Session], None]:
    """A check that every write of this attempt makes in its own transaction.

    The check raises FencedError once the attempt was given up.
    """

    def fence(tx: Session) -> None:
        _own(tx, job_id, attempt)

    return fence


def record_process(workspace: Workspace, job_id: int, attempt: int, leader: ProcessIdentity, log: str) -> None:
    """Note the process group of an attempt as it starts, so that whoever takes over can kill it.

    Raises:
        FencedError: the attempt was given up in the meantime.
    """
    with workspace.state.write("start job") as tx:
        job = _own(tx, job_id, attempt)
        job.process_group, job.process_started, job.boot_id = leader.pid, leader.started, leader.boot_id
        job.log = log


def finish(
    workspace: Workspace, job_id: int, attempt: int, state: JobState, error: str | None = None, *, retry: bool = False
) -> None:
    """End an attempt; with `retry` a failed one goes back to the queue, later each time, while attempts are left.

    Raises:
        FencedError: the attempt was given up in the meantime.
    """
    with workspace.state.write("finish job", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
        job = _own(tx, job_id, attempt)
        if retry and state is JobState.FAILED and job.attempt < job.max_attempts:
            _queue_later(job, workspace.now())
        else:
            end(job, state, workspace.now())
        job.error = error


def give_up(job: Job, at: datetime, error: str, *, spend: bool = True) -> None:
    """Fence an attempt that came to nothing: the job is queued again, later each time, or lost with its last attempt.

    Its process group stays recorded until somebody has seen it dead. Without `spend` the attempt does not count.
    """
    if not spend:
        job.max_attempts += 1
    if job.attempt < job.max_attempts:
        _queue_later(job, at)
    else:
        end(job, JobState.LOST, at)
    job.error = error


def give_back(job: Job, error: str) -> None:
    """Fence an attempt that has to end although nothing is wrong: it does not count, and another may begin at once."""
    job.max_attempts += 1
    job.state, job.error = JobState.QUEUED, error


def end(job: Job, state: JobState, at: datetime) -> None:
    """Put a job into its last state."""
    job.state, job.finished_at = state, at


def with_recorded_group(tx: Session) -> list[Job]:
    """Jobs whose process group may still have living members."""
    return list(tx.exec(select(Job).where(col(Job.process_group).is_not(None))))


def running(tx: Session) -> list[Job]:
    """Jobs that are claimed."""
    return list(tx.exec(select(Job).where(Job.state == JobState.RUNNING)))


def _queue_later(job: Job, at: datetime) -> None:
    # The exponent has an end: attempts that are not spent go on for weeks.
    delay = min(FIRST_RETRY_SECONDS * 2 ** min(job.attempt - 1, 16), LONGEST_RETRY_SECONDS)
    job.state, job.not_before = JobState.QUEUED, at + timedelta(seconds=delay)


def _own(tx: Session, job_id: int, attempt: int) -> Job:
    job = tx.get(Job, job_id)
    if job is None or job.attempt != attempt or job.state is not JobState.RUNNING:
        raise FencedError(
            f"Attempt {attempt} of job {job_id} was given up and another one may be running: its writes are no longer "
            "taken. `quarterdeck jobs` shows what became of it."
        )
    return job
