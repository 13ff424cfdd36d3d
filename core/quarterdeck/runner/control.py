"""What people do to jobs: cancel one, and try one again."""

from __future__ import annotations

from sqlmodel import Session

from quarterdeck.errors import NotFoundError, RefusedError
from quarterdeck.pipelines import ending
from quarterdeck.pipelines.run import RunState, find_run
from quarterdeck.runner import queue
from quarterdeck.runner.job import AGAIN, Job, JobKind, JobState
from quarterdeck.workspace import Workspace

MORE_ATTEMPTS = 2
ASK_AGAIN = frozenset({JobKind.REPLAY})
"""Their result was written down as failed: a new one is asked for where the first one was."""


def cancel(workspace: Workspace, job_id: int, *, actor: str | None = None) -> None:
    """Cancel a job: one that is queued at once, one that runs by asking the runner to end its processes.

    Raises:
        NotFoundError: there is no such job.
        RefusedError: it has ended already.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("cancel") as tx:
        job = find_job(tx, job_id)
        if not job.state.under_way:
            raise RefusedError(f"Job {job_id} has ended already ({job.state}): there is nothing to cancel.")
        cancel_in(tx, workspace, job, actor or workspace.actor)
        workspace.record(tx, "job.cancelled", f"job/{job_id}", {"of": job.subject}, actor=actor)


def cancel_in(tx: Session, workspace: Workspace, job: Job, actor: str) -> None:
    """Cancel inside the caller's transaction; a job that has ended is left alone."""
    if job.state is JobState.QUEUED:
        queue.end(job, JobState.CANCELLED, workspace.now())
        if job.kind is JobKind.RUN:
            # The runner that was to end the run may be gone since; a run that has ended is left alone.
            ending.mark_cancelled(tx, workspace, int(job.payload["run"]), actor)
    elif job.state is JobState.RUNNING:
        # The loop sees it, and ends the process group.
        job.cancel_requested_by = actor


def retry(workspace: Workspace, job_id: int, *, actor: str | None = None) -> None:
    """Put a job that failed, was lost or was cancelled back into the queue, with fresh attempts.

    Raises:
        NotFoundError: there is no such job.
        RefusedError: it has not ended, or has succeeded, or is of a kind that is asked for anew.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("retry") as tx:
        job = find_job(tx, job_id)
        if job.state not in AGAIN:
            raise RefusedError(
                f"Job {job_id} is {job.state}: only one that failed, died or was cancelled is tried again."
            )
        if job.kind in ASK_AGAIN:
            raise RefusedError(f"Job {job_id} is a {job.kind}: ask for a new one where you asked for this one.")
        if job.kind is JobKind.RUN and find_run(tx, run := int(job.payload["run"])).state is not RunState.QUEUED:
            ending.reopen(tx, workspace, run, actor=actor)
        job.state, job.not_before = JobState.QUEUED, workspace.now()
        job.failures, job.max_attempts = 0, job.attempt + MORE_ATTEMPTS
        job.finished_at = job.cancel_requested_by = job.error = None
        workspace.record(tx, "job.retried", f"job/{job_id}", {"of": job.subject}, actor=actor)


def find_job(tx: Session, job_id: int) -> Job:
    """The job with that number.

    Raises:
        NotFoundError: there is none.
    """
    job = tx.get(Job, job_id)
    if job is None:
        raise NotFoundError(f"There is no job {job_id}. `quarterdeck jobs` lists them.")
    return job
