"""How an attempt ends that came to its end: the job follows the run that it is about, which is what people read."""

from __future__ import annotations

from sqlmodel import Session, col, select

from quarterdeck.events import Event
from quarterdeck.pipelines import ending
from quarterdeck.pipelines.run import ENDED, RunState, find_run
from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.workspace import Workspace

MONITOR_FAILED, MONITOR_RECOVERED = "monitor.failed", "monitor.recovered"
NO_RESULT = "It ended without a result."


def end_attempt(tx: Session, workspace: Workspace, job: Job, error: str | None) -> None:
    """End a job's attempt that succeeded, or failed with `error`; a run that has not ended by itself ends with it."""
    if job.kind is JobKind.RUN:
        state, error = _outcome_of_run(tx, workspace, int(job.payload["run"]), error)
    else:
        state = JobState.FAILED if error else JobState.SUCCEEDED
    if job.kind is JobKind.MONITOR:
        _tell_of_monitor(tx, workspace, f"monitor/{job.payload['monitor']}", error)
    if state is not JobState.FAILED:
        queue.end(job, state, workspace.now())
        job.error = error
    elif queue.fail(job, workspace.now(), error or NO_RESULT) and job.kind is JobKind.RUN:
        ending.reopen(tx, workspace, int(job.payload["run"]))


def _tell_of_monitor(tx: Session, workspace: Workspace, subject: str, error: str | None) -> None:
    """Write down that a monitor begins to fail, or fails no more: nobody looks while it does."""
    told = select(Event.kind).where(Event.subject == subject, col(Event.kind).in_((MONITOR_FAILED, MONITOR_RECOVERED)))
    failing = tx.exec(told.order_by(col(Event.id).desc()).limit(1)).first() == MONITOR_FAILED
    if error is not None and not failing:
        workspace.record(tx, MONITOR_FAILED, subject, {"monitor": subject.partition("/")[2], "error": error})
    elif error is None and failing:
        workspace.record(tx, MONITOR_RECOVERED, subject, {"monitor": subject.partition("/")[2]})


def has_ended(tx: Session, job: Job) -> bool:
    """Whether the run that a job is about has its end, although nobody has written that of the job yet."""
    return job.kind is JobKind.RUN and find_run(tx, int(job.payload["run"])).state in ENDED


def _outcome_of_run(tx: Session, workspace: Workspace, run_id: int, error: str | None) -> tuple[JobState, str | None]:
    run = find_run(tx, run_id)
    if run.state not in ENDED:
        ending.fail(tx, workspace, run_id, error or NO_RESULT)
    if run.state is RunState.CANCELLED:
        return JobState.CANCELLED, run.error
    if run.state in (RunState.SUCCEEDED, RunState.HELD):
        return JobState.SUCCEEDED, None
    return JobState.FAILED, run.error
