"""The schedules of a workspace: Schedule rows mirrored into APScheduler, and ticks written to the queue."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.base import SchedulerNotRunningError
from apscheduler.triggers.base import BaseTrigger
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from quarterdeck.errors import BusyError, DiskError, QuarterdeckError
from quarterdeck.pipelines import pausing
from quarterdeck.pipelines.schedule import Misfire, Schedule
from quarterdeck.runner import ticking
from quarterdeck.runner.clockwork import Clockwork, Due
from quarterdeck.runner.narration import say
from quarterdeck.triggers import Every, cron_trigger, fire_after
from quarterdeck.workspace import Workspace

ON_TIME = timedelta(seconds=30)
"""A tick that is later than this was missed: nobody ran, the machine slept or the clock was set."""
TICKS_IN_ONE_TRANSACTION = 50
LONGEST_CATCH_UP = 1000
"""Ticks of one schedule that `misfire = "each"` makes up for at most."""


@dataclass(frozen=True, slots=True)
class _Mirrored:
    """What of a row decides when it fires. Rows in which only this is the same are left alone."""

    name: str
    cron: str | None
    every_seconds: float | None
    timezone: str
    paused: bool
    anchor: datetime
    misfire: Misfire
    grace: timedelta

    def trigger(self) -> BaseTrigger | None:
        """When it fires; None for a schedule that is paused or follows data instead of the clock."""
        if self.paused:
            return None
        if self.cron is not None:
            return cron_trigger(self.cron, self.timezone)
        if self.every_seconds is not None:
            return Every(self.anchor, timedelta(seconds=self.every_seconds))
        return None

    def to_fire(self, moments: Sequence[datetime], now: datetime) -> list[datetime]:
        """Which of the moments that are due are fired, by the schedule's misfire policy and its grace."""
        within = [moment for moment in moments if now - moment <= self.grace]
        if self.misfire is Misfire.EACH:
            return within[-LONGEST_CATCH_UP:]
        if self.misfire is Misfire.SKIP:
            within = [moment for moment in within if now - moment <= ON_TIME]
        return within[-1:]


class Scheduler:
    """Fires the ticks of a workspace, from a thread of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._mirror: dict[int, tuple[_Mirrored, BaseTrigger | None]] = {}
        self._owed: dict[int, list[datetime]] = {}
        """Ticks that could not be written, by schedule."""
        self._lock = threading.RLock()
        self._clockwork = Clockwork(workspace.now, self._fire)

    def start(self) -> None:
        """Mirror the rows, make up for what was missed while nobody ran, and go on from there."""
        self._clockwork.start()
        self.reconcile()

    def stop(self) -> None:
        try:
            self._clockwork.shutdown(wait=True)
        except SchedulerNotRunningError:
            return  # It was never started: the runner failed before.

    def reconcile(self) -> None:
        """Follow the rows as they are now. A row that did not change keeps its place in time."""
        with self.workspace.state.read() as tx:
            rows = _mirrored(tx)
        with self._lock:
            for schedule_id in self._mirror.keys() - rows.keys():
                self._forget(schedule_id)
            known = {schedule_id: mirrored for schedule_id, (mirrored, _) in self._mirror.items()}
            changed = {schedule_id: row for schedule_id, row in rows.items() if known.get(schedule_id) != row}
            triggers = {schedule_id: _trigger(row) for schedule_id, row in changed.items()}
            for schedule_id, row in changed.items():
                self._forget(schedule_id)
                self._mirror[schedule_id] = (row, triggers[schedule_id])
            self._begin(triggers)

    def look(self) -> None:
        """Called every second: the machine may have slept, or the clock may have been set, or a tick may be owed."""
        with self._lock:
            owed, self._owed = self._owed, {}
        if owed:
            self._write(owed)
        self._clockwork.wakeup()

    def _begin(self, triggers: dict[int, BaseTrigger | None]) -> None:
        """Let new and changed schedules fire, first for what they missed."""
        now, missed = self.workspace.now(), {}
        with self.workspace.state.read() as tx:
            for schedule_id, trigger in triggers.items():
                row = tx.get(Schedule, schedule_id)
                if row is not None and trigger is not None:
                    due = missed_ticks(row, trigger, now)
                    missed[schedule_id] = self._mirror[schedule_id][0].to_fire(due, now)
        try:
            self._write_next(triggers, now)
        except QuarterdeckError:
            for schedule_id in triggers:
                self._forget(schedule_id)  # Seen as changed again at the next look.
            raise
        for schedule_id, trigger in triggers.items():
            if trigger is not None:
                self._clockwork.put(schedule_id, trigger, now)
        self._write({schedule_id: moments for schedule_id, moments in missed.items() if moments})

    def _fire(self, due: Due) -> None:
        # In the clockwork's thread.
        now = self.workspace.now()
        with self._lock:
            mirrored = {key: self._mirror[key] for key in due if key in self._mirror}
        chosen = {key: row.to_fire(due[key], now) for key, (row, _) in mirrored.items()}
        self._write({key: moments for key, moments in chosen.items() if moments})
        left_out = {key: trigger for key, (_, trigger) in mirrored.items() if not chosen[key]}
        try:
            self._write_next(left_out, now)
        except QuarterdeckError as error:
            say("runner", str(error))  # What is shown as the next tick is behind; the tick itself is not.

    def _write(self, due: Due) -> None:
        """Put ticks into the queue, oldest first; what cannot be written now is owed and tried again."""
        ticks = sorted((moment, schedule_id) for schedule_id, moments in due.items() for moment in moments)
        for start in range(0, len(ticks), TICKS_IN_ONE_TRANSACTION):
            batch = ticks[start : start + TICKS_IN_ONE_TRANSACTION]
            try:
                self._write_batch(batch)
            except (BusyError, DiskError, OperationalError) as error:
                self._owe(ticks[start:], error)
                return
            except Exception as error:
                if len(batch) == 1:
                    self._owe(batch, error)
                else:
                    for tick in batch:  # The others do not wait for the one that cannot be written.
                        self._write({tick[1]: [tick[0]]})

    def _owe(self, ticks: Sequence[tuple[datetime, int]], error: Exception) -> None:
        with self._lock:
            for moment, schedule_id in ticks:
                self._owed.setdefault(schedule_id, []).append(moment)
        say("runner", f"{len(ticks)} ticks of schedules wait to be written: {error}")

    def _write_batch(self, ticks: Sequence[tuple[datetime, int]]) -> None:
        with self.workspace.state.write("tick") as tx:
            now = self.workspace.now()
            ids = {schedule_id for _, schedule_id in ticks}
            rows = {row.id: row for row in tx.exec(select(Schedule).where(col(Schedule.id).in_(ids)))}
            wanted = [(row, moment) for moment, key in ticks if (row := rows.get(key)) is not None and not row.paused]
            ticking.fire(tx, self.workspace, *wanted)
            for row, moment in wanted:
                _, trigger = self._mirror.get(row.id or 0, (None, None))
                row.next_tick = fire_after(trigger, max(moment, now)) if trigger else None

    def _write_next(self, triggers: dict[int, BaseTrigger | None], now: datetime) -> None:
        """Note when each fires next, where that is not what its row says."""
        following = {key: fire_after(trigger, now) if trigger else None for key, trigger in triggers.items()}
        with self.workspace.state.read() as tx:
            rows = [tx.get(Schedule, key) for key in following]
            stale = [row.id for row in rows if row is not None and row.next_tick != following[row.id or 0]]
        if stale:
            with self.workspace.state.write("schedule") as tx:
                for key in stale:
                    row = tx.get(Schedule, key)
                    if row is not None:
                        row.next_tick = following[key or 0]

    def _forget(self, schedule_id: int) -> None:
        self._mirror.pop(schedule_id, None)
        self._owed.pop(schedule_id, None)
        self._clockwork.drop(schedule_id)


def missed_ticks(row: Schedule, trigger: BaseTrigger, now: datetime) -> list[datetime]:
    """The ticks within the grace that should have happened and did not, by the row's own anchor and last tick."""
    since = max(row.anchor, row.last_tick or row.anchor, now - timedelta(seconds=row.grace_seconds))
    if isinstance(trigger, Every):
        since = max(since, now - LONGEST_CATCH_UP * trigger.interval)
    fire, missed = fire_after(trigger, since), list[datetime]()
    while fire is not None and fire <= now:
        missed.append(fire.astimezone(UTC))
        fire = trigger.get_next_fire_time(fire, fire)
    return missed


def _trigger(row: _Mirrored) -> BaseTrigger | None:
    try:
        return row.trigger()
    except QuarterdeckError as error:
        say("runner", f"schedule {row.name}: {error}")
        return None


def _mirrored(tx: Session) -> dict[int, _Mirrored]:
    paused = pausing.pauses(tx, "schedule")
    return {
        row.id or 0: _Mirrored(
            name=row.name,
            cron=row.cron,
            every_seconds=row.every_seconds,
            timezone=row.timezone,
            paused=row.paused or row.name in paused,
            anchor=row.anchor,
            misfire=row.misfire,
            grace=timedelta(seconds=row.grace_seconds),
        )
        for row in tx.exec(select(Schedule))
    }
