"""One tick of one schedule: what it puts into the queue, and what becomes of it while earlier work goes on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from quarterdeck.errors import NotFoundError, RefusedError
from quarterdeck.pipelines import submission
from quarterdeck.pipelines.schedule import Overlap, Schedule, Target
from quarterdeck.pipelines.submission import MANUAL
from quarterdeck.runner import control, queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.terms import terms_of, terms_of_run
from quarterdeck.workspace import Workspace

TRIGGER = "schedule/"
"""How the trigger of a run begins that a tick has asked for."""
_UNDER_WAY = (JobState.QUEUED, JobState.RUNNING)


def fire(tx: Session, workspace: Workspace, row: Schedule, moment: datetime) -> bool:
    """The tick of `moment`; False when that tick, or a later one, was there already, or its work was left out.

    The work and the note of the tick are one transaction, so a tick happens once whoever repeats it.
    """
    if row.last_tick is not None and row.last_tick >= moment:
        return False
    row.last_tick = moment
    return start(tx, workspace, row, moment, trigger=f"{TRIGGER}{row.name}")


def run_now(workspace: Workspace, name: str, *, actor: str | None = None) -> int:
    """Start what schedule `name` starts, now and whatever it waits for; returns the number of the job.

    Raises:
        NotFoundError: there is no such schedule.
        RefusedError: its earlier work goes on, and its overlap policy leaves others out.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("run now") as tx:
        row = tx.exec(select(Schedule).where(Schedule.name == name)).first()
        if row is None:
            raise NotFoundError(f"There is no schedule '{name}'. `quarterdeck schedules` lists them.")
        if not start(tx, workspace, row, workspace.now(), trigger=MANUAL, actor=actor or workspace.actor):
            (earlier, *_) = _under_way(tx, row)
            raise RefusedError(f"job/{earlier.id} of schedule '{name}' goes on ({earlier.state}). Wait, or cancel it.")
        job = tx.exec(select(Job).where(Job.schedule == name).order_by(col(Job.id).desc())).first()
        assert job is not None
        workspace.record(tx, "schedule.run_now", f"schedule/{name}", {"job": job.id}, actor=actor)
        return job.id or 0


def start(
    tx: Session, workspace: Workspace, row: Schedule, moment: datetime, *, trigger: str, actor: str | None = None
) -> bool:
    """Queue what the schedule starts, unless earlier work goes on and its overlap policy leaves the tick out."""
    # Those that queue wait by the rule of admission: there is nothing to look for.
    earlier = () if row.overlap is Overlap.QUEUE else _under_way(tx, row)
    if earlier and row.overlap is Overlap.SKIP:
        if row.target_kind is Target.PIPELINE:
            because = {"tick": moment.isoformat(), "because": f"job/{earlier[0].id}"}
            workspace.record(tx, "schedule.skipped", f"schedule/{row.name}", because)
        return False
    if earlier and row.overlap is Overlap.REPLACE:
        for job in earlier:
            control.cancel_in(tx, workspace, job, f"schedule/{row.name}")
        data = {"tick": moment.isoformat(), "cancelled": [f"job/{job.id}" for job in earlier]}
        workspace.record(tx, "schedule.replaced", f"schedule/{row.name}", data)
    if row.target_kind is Target.PIPELINE:
        return _start_run(tx, workspace, row, moment, trigger, actor or row.name)
    kind = JobKind.MONITOR if row.target_kind is Target.MONITOR else JobKind.HOUSEKEEPING
    payload = {"monitor" if kind is JobKind.MONITOR else "task": row.target}
    # One attempt: the next tick does the same work.
    terms = terms_of(workspace, max_attempts=1)
    key = f"{row.name}@{moment:%FT%T.%f}Z"
    return queue.enqueue(tx, workspace, kind, key, _subject(row), payload, terms, schedule=row.name, tick=moment)


def _start_run(tx: Session, workspace: Workspace, row: Schedule, moment: datetime, trigger: str, actor: str) -> bool:
    run = submission.submit_in(tx, workspace, row.target, row.parameters, trigger=trigger, actor=actor)
    terms = terms_of_run(workspace, row.target, automatic=trigger != MANUAL)
    name = run.reference
    return queue.enqueue(tx, workspace, JobKind.RUN, name, name, {"run": run.id}, terms, schedule=row.name, tick=moment)


def _under_way(tx: Session, row: Schedule) -> Sequence[Job]:
    ours = Job.schedule == row.name
    if row.target_kind is not Target.PIPELINE:
        ours |= Job.subject == _subject(row)
    return tx.exec(select(Job).where(ours, col(Job.state).in_(_UNDER_WAY)).order_by(col(Job.id))).all()


def _subject(row: Schedule) -> str:
    return f"{row.target_kind}/{row.target}"
