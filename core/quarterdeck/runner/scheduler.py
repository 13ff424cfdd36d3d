"""APScheduler with an in-memory store that mirrors the Schedule rows. A tick only puts a job into the queue."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.base import BaseExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from sqlmodel import Session, col, select

from quarterdeck.errors import QuarterdeckError
from quarterdeck.pipelines import submission
from quarterdeck.pipelines.schedule import Schedule, Target
from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.narration import say
from quarterdeck.runner.triggers import Every, cron_trigger, fire_after
from quarterdeck.workspace import Workspace

MISFIRE_GRACE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Mirrored:
    """What of a row decides when it fires. Rows in which only this is the same are left alone."""

    id: int
    name: str
    cron: str | None
    every_seconds: float | None
    timezone: str
    paused: bool
    anchor: datetime

    def trigger(self) -> BaseTrigger | None:
        """When it fires; None for a schedule that is paused or follows data instead of the clock."""
        if self.paused:
            return None
        if self.cron is not None:
            return cron_trigger(self.cron, self.timezone)
        if self.every_seconds is not None:
            return Every(self.anchor, timedelta(seconds=self.every_seconds))
        return None


class Scheduler:
    """Fires the ticks of a workspace, from a thread of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._mirror: dict[int, _Mirrored] = {}
        self._owed: dict[int, datetime] = {}
        self._lock = threading.Lock()
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": _Ticker(self)},
            job_defaults={"coalesce": True, "misfire_grace_time": int(MISFIRE_GRACE.total_seconds())},
        )

    def start(self) -> None:
        """Mirror the rows, fire once for what was missed while nobody ran, and go on from there."""
        self._scheduler.start()
        self.reconcile()

    def stop(self) -> None:
        self._scheduler.shutdown(wait=True)

    def reconcile(self) -> None:
        """Follow the rows as they are now. A row that did not change keeps its place in time."""
        with self.workspace.state.read() as tx:
            rows = {row.id: row for row in _mirrored(tx)}
        for schedule_id in self._mirror.keys() - rows.keys():
            self._drop(schedule_id)
        changed = [row for row in rows.values() if self._mirror.get(row.id) != row]
        for row in changed:
            self._drop(row.id)
            self._mirror[row.id] = row
            try:
                self._add(row)
            except Exception:
                del self._mirror[row.id]  # Seen as changed again at the next look.
                raise

    def look(self) -> None:
        """Called every second: the machine may have slept, or the clock may have been set, or a tick may be owed."""
        with self._lock:
            owed = dict(self._owed)
        for schedule_id, fire_time in owed.items():
            self.fire(schedule_id, fire_time)
        self._scheduler.wakeup()

    def fire(self, schedule_id: int, fire_time: datetime) -> None:
        """One tick. A tick that cannot be written now is owed and tried again."""
        row = self._mirror.get(schedule_id)
        following = row.trigger() if row else None
        try:
            tick(self.workspace, schedule_id, fire_time, following)
            with self._lock:
                self._owed.pop(schedule_id, None)
        except Exception as error:
            with self._lock:
                self._owed[schedule_id] = fire_time
            say("runner", f"schedule {row.name if row else schedule_id}: {error}")

    def _drop(self, schedule_id: int) -> None:
        self._mirror.pop(schedule_id, None)
        with self._lock:
            self._owed.pop(schedule_id, None)
        if self._scheduler.get_job(str(schedule_id)) is not None:
            self._scheduler.remove_job(str(schedule_id))

    def _add(self, row: _Mirrored) -> None:
        try:
            trigger = row.trigger()
        except QuarterdeckError as error:
            say("runner", f"schedule {row.name}: {error}")
            return
        if trigger is None:
            _note_next(self.workspace, row.id, None)
            return
        missed = missed_tick(self.workspace, row.id, trigger)
        if missed is not None:
            self.fire(row.id, missed)
        _note_next(self.workspace, row.id, fire_after(trigger, self.workspace.now()))
        self._scheduler.add_job(_nothing, trigger, id=str(row.id), replace_existing=True)


class _Ticker(BaseExecutor):  # type: ignore[misc]  # APScheduler is not typed
    """Runs ticks in the scheduler's thread, and tells them for which moment they are: APScheduler's own do not."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__()
        self._target = scheduler

    def submit_job(self, job: Any, run_times: list[datetime]) -> None:
        self._do_submit_job(job, run_times)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        fire_time = run_times[-1].astimezone(UTC)
        if datetime.now(UTC) - fire_time <= MISFIRE_GRACE:
            self._target.fire(int(job.id), fire_time)


def tick(workspace: Workspace, schedule_id: int, fire_time: datetime, trigger: BaseTrigger | None = None) -> bool:
    """Put the work of one tick into the queue; False when that tick, or a later one, was there already.

    The work and the note of the tick are one transaction, so a tick happens once whoever repeats it.
    """
    with workspace.state.write("tick") as tx:
        row = tx.get(Schedule, schedule_id)
        if row is None or row.paused or (row.last_tick is not None and row.last_tick >= fire_time):
            return False
        row.last_tick = fire_time
        row.next_tick = fire_after(trigger, max(fire_time, workspace.now())) if trigger else None
        return start_target(tx, workspace, row, trigger=f"schedule/{row.name}", key=f"{row.name}@{fire_time:%FT%TZ}")


def start_target(tx: Session, workspace: Workspace, row: Schedule, *, trigger: str, key: str) -> bool:
    """Queue what a schedule starts: a run of its pipeline, or a look of its monitor unless one is under way."""
    if row.target_kind is Target.PIPELINE:
        run = submission.submit_in(tx, workspace, row.target, row.parameters, trigger=trigger, actor=row.name)
        return queue.enqueue(tx, workspace, JobKind.RUN, run.reference, run.reference, {"run": run.id})
    subject = f"monitor/{row.target}"
    under_way = select(Job.id).where(Job.subject == subject, col(Job.state).in_([JobState.QUEUED, JobState.RUNNING]))
    if tx.exec(under_way).first() is not None:
        return False
    return queue.enqueue(tx, workspace, JobKind.MONITOR, key, subject, {"monitor": row.target}, max_attempts=1)


def missed_tick(workspace: Workspace, schedule_id: int, trigger: BaseTrigger) -> datetime | None:
    """The last tick that should have happened within the grace and did not, by the row's own anchor and last tick."""
    now = workspace.now()
    with workspace.state.read() as tx:
        row = tx.get(Schedule, schedule_id)
    if row is None:
        return None
    since = max(row.anchor, row.last_tick or row.anchor, now - MISFIRE_GRACE)
    fire, missed = fire_after(trigger, since), None
    while fire is not None and fire <= now:
        missed, fire = fire, trigger.get_next_fire_time(fire, fire)
    return missed.astimezone(UTC) if missed else None


def _note_next(workspace: Workspace, schedule_id: int, moment: datetime | None) -> None:
    with workspace.state.write("schedule") as tx:
        row = tx.get(Schedule, schedule_id)
        if row is not None:
            row.next_tick = moment


def _mirrored(tx: Session) -> list[_Mirrored]:
    rows = tx.exec(
        select(
            Schedule.id,
            Schedule.name,
            Schedule.cron,
            Schedule.every_seconds,
            Schedule.timezone,
            Schedule.paused,
            Schedule.anchor,
        )  # type: ignore[call-overload]  # SQLModel's select() is typed for four columns at most
    )
    return [_Mirrored(*row) for row in rows]


def _nothing() -> None:
    """APScheduler wants a function for each job; the ticker needs only the job's id and time."""
