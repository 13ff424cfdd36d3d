"""The logs of a job's attempts: where they are, and what is in them, while they are written and afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlmodel import select

from quarterdeck import logs
from quarterdeck.errors import NotFoundError
from quarterdeck.runner.control import find_job
from quarterdeck.runner.job import Job, JobState
from quarterdeck.runner.worker import JOB_LOGS
from quarterdeck.workspace import Workspace

AttemptLine = tuple[int, logs.Line]
"""The number of an attempt, and a line of its log."""


def job_of_run(workspace: Workspace, run_id: int) -> int | None:
    """The number of the job that executes a pipeline run; None while the run has none yet."""
    with workspace.state.read() as tx:
        return tx.exec(select(Job.id).where(Job.key == f"run/{run_id}")).first()


def log_path(workspace: Workspace, job_id: int, attempt: int) -> Path:
    """Where the log of an attempt is, or will be."""
    return workspace.logs / JOB_LOGS / f"{job_id}-{attempt}.log"


def read_log(
    workspace: Workspace, job_id: int, *, attempt: int | None = None, last: int | None = None
) -> Iterator[AttemptLine]:
    """The lines of an attempt's log as it is now, the newest attempt's by default; with `last` only so many.

    Raises:
        NotFoundError: there is no such job, it has no such attempt, or the attempt has no log.
    """
    job = _look(workspace, job_id)
    number = _newest(workspace, job) if attempt is None else attempt
    if number > job.attempt:
        raise NotFoundError(f"job/{job_id} has had {job.attempt} attempt(s): there is no attempt {attempt} yet.")
    path = log_path(workspace, job_id, number)
    if job.attempt and not path.exists() and not logs.rotated(path).exists():
        raise NotFoundError(
            f"The log of attempt {number} of job/{job_id} is not there: the attempt did not begin (`quarterdeck logs "
            "runner` says why), or housekeeping has removed it (`[housekeeping] keep_logs`)."
        )
    if not job.attempt:
        raise NotFoundError(
            f"job/{job_id} has no log yet: it has not started. `quarterdeck jobs` shows what it waits for."
        )
    for line in logs.follow(path, is_over=lambda: True, secrets=_secrets(workspace), last=last):
        yield number, line


def follow_log(
    workspace: Workspace, job_id: int, *, attempt: int | None = None, last: int | None = None
) -> Iterator[AttemptLine]:
    """The lines of an attempt's log, and those that come; then of the next attempts', until the job has ended.

    With `attempt`, of that one alone. With `last`, of the lines that are there already only so many are given.

    Raises:
        NotFoundError: there is no such job.
    """
    number = attempt or max(1, _newest(workspace, _look(workspace, job_id)))
    while True:
        for line in logs.follow(
            log_path(workspace, job_id, number),
            is_over=lambda number=number: _is_over(_look(workspace, job_id), number),  # type: ignore[misc]
            secrets=_secrets(workspace),
            last=last,
        ):
            yield number, line
        job = _look(workspace, job_id)
        if attempt is not None or (not job.state.under_way and job.attempt <= number):
            return
        number, last = number + 1, None


def _is_over(job: Job, attempt: int) -> bool:
    return not job.state.under_way or job.attempt > attempt or (job.attempt == attempt and job.state is JobState.QUEUED)


def _look(workspace: Workspace, job_id: int) -> Job:
    with workspace.state.read() as tx:
        return find_job(tx, job_id)


def _newest(workspace: Workspace, job: Job) -> int:
    """The newest attempt that has a log, or the newest of all: one that could not begin has none."""
    written = (n for n in range(job.attempt, 0, -1) if log_path(workspace, job.id or 0, n).exists())
    return next(written, job.attempt)


def _secrets(workspace: Workspace) -> tuple[str, ...]:
    return logs.secrets_of(workspace.settings.logs.mask)
