"""The queue of jobs: inserted once by key, claimed by the runner that has the lease, fenced by attempt number."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.errors import FencedError
from quarterdeck.processes import ProcessIdentity
from quarterdeck.runner import admission, lease
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.terms import Terms
from quarterdeck.workspace import Workspace

FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Work:
    """A job that is asked for."""

    kind: JobKind
    key: str
    """There is never a second job with the same one."""
    subject: str
    payload: Mapping[str, Any]
    terms: Terms
    schedule: str | None = None
    """The schedule that asks for it, and the moment for which that fired."""
    tick: datetime | None = None


def enqueue(tx: Session, workspace: Workspace, *wanted: Work) -> int:
    """Insert a job for each work whose key is new, and return how many those are."""
    keys = [work.key for work in wanted]
    there = set(tx.exec(select(Job.key).where(col(Job.key).in_(keys))))
    new = {work.key: work for work in wanted if work.key not in there}
    now = workspace.now()
    tx.add_all(
        Job(
            kind=work.kind,
            key=work.key,
            subject=work.subject,
            payload=dict(work.payload),
            state=JobState.QUEUED,
            schedule=work.schedule,
            tick=work.tick,
            not_before=now,
            created_at=now,
            **work.terms.columns(),
        )
        for work in new.values()
    )
    tx.flush()
    return len(new)


def claim(workspace: Workspace, me: ProcessIdentity) -> Job | None:
    """Take a job that is due and may start, as a new attempt under the runner `me`; None when there is none.

    The highest priority goes first, then what is due for longest. A job whose recorded process group has not been
    seen dead is not claimed: two attempts never run at once.

    Raises:
        FencedError: another runner has taken over.
    """
    now = workspace.now()
    # A look first: an idle runner must not stand in the way of those who write.
    with workspace.state.read() as tx:
        if _next_due(tx, workspace, now) is None:
            return None
    with workspace.state.write("claim") as tx:
        lease.hold(tx, me)
        job = _next_due(tx, workspace, now)
        if job is None:
            return None
        job.state = JobState.RUNNING
        job.attempt += 1
        job.started_at, job.finished_at = now, None
        job.error = None
        job.cpu_seconds = job.memory_bytes = job.peak_memory_bytes = None
    return job


def _next_due(tx: Session, workspace: Workspace, now: datetime) -> Job | None:
    queued = select(Job).where(Job.state == JobState.QUEUED, col(Job.not_before) <= now)
    if tx.exec(queued.limit(1)).first() is None:
        return None
    order = (col(Job.priority).desc(), col(Job.not_before), col(Job.id))
    return tx.exec(queued.where(*admission.look(tx, workspace).open_jobs()).order_by(*order).limit(1)).first()


def fence_for(job_id: int, attempt: int) -> Callable[[Session], None]:
    """A check that every write of this attempt makes in its own transaction.

    The check raises FencedError once the attempt was given up.
    """

    def fence(tx: Session) -> None:
        own(tx, job_id, attempt)

    return fence


def record_process(workspace: Workspace, job_id: int, attempt: int, leader: ProcessIdentity, log: str) -> None:
    """Note the process group of an attempt as it starts, so that whoever takes over can kill it.

    Raises:
        FencedError: the attempt was given up in the meantime.
    """
    with workspace.state.write("start job") as tx:
        job = own(tx, job_id, attempt)
        job.process_group, job.process_started, job.boot_id = leader.pid, leader.started, leader.boot_id
        job.log = log


def own(tx: Session, job_id: int, attempt: int) -> Job:
    """The job, if this attempt of it is still under way.

    Raises:
        FencedError: the attempt was given up in the meantime.
    """
    job = tx.get(Job, job_id)
    if job is None or job.attempt != attempt or job.state is not JobState.RUNNING:
        raise FencedError(
            f"Attempt {attempt} of job {job_id} was given up and another one may be running: its writes are no longer "
            "taken. `quarterdeck jobs` shows what became of it."
        )
    return job


def fail(job: Job, at: datetime, error: str) -> bool:
    """End an attempt that failed; True when it is tried again, later each time, because failures are left."""
    job.failures += 1
    again = job.failures <= job.retries
    if again:
        job.max_attempts += 1  # Attempts are for processes that die.
        _queue_later(job, at, job.failures)
    else:
        end(job, JobState.DEAD if job.retries else JobState.FAILED, at)
    job.error = error
    return again


def give_up(job: Job, at: datetime, error: str, *, spend: bool = True) -> None:
    """Fence an attempt that came to nothing: the job is queued again, later each time, or lost with its last attempt.

    Its process group stays recorded until somebody has seen it dead. Without `spend` the attempt does not count.
    """
    if not spend:
        job.max_attempts += 1
    if job.attempt < job.max_attempts:
        _queue_later(job, at, job.attempt)
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


def _queue_later(job: Job, at: datetime, times: int) -> None:
    # The exponent has an end: attempts that are not spent go on for weeks. The jitter keeps what failed together,
    # because one receiver was down, from coming back together.
    delay = min(FIRST_RETRY_SECONDS * 2 ** min(times - 1, 16), LONGEST_RETRY_SECONDS)
    job.state, job.not_before = JobState.QUEUED, at + timedelta(seconds=random.uniform(delay / 2, delay))
