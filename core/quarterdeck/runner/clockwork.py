"""APScheduler on the clock of the workspace: it tells which schedules are due, and for which moments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

Due = Mapping[int, Sequence[datetime]]


class Clockwork(BackgroundScheduler):  # type: ignore[misc]  # APScheduler is not typed
    """APScheduler reads the machine's clock in the one method that is replaced here, and runs jobs one by one.

    This one reads the clock that it is given, and hands everything that is due to `fire` at once: a thousand schedules
    that are due in the same second become a few transactions.
    """

    def __init__(self, now: Callable[[], datetime], fire: Callable[[Due], None]) -> None:
        super().__init__(timezone=UTC)
        self._now = now
        self._fire = fire

    def put(self, schedule_id: int, trigger: BaseTrigger, after: datetime) -> None:
        """Let a schedule fire from its first moment after `after` on, in place of what it had."""
        first = trigger.get_next_fire_time(None, after)
        self.add_job(_nothing, trigger, id=str(schedule_id), next_run_time=first, replace_existing=True)

    def drop(self, schedule_id: int) -> None:
        """Forget a schedule."""
        if self.get_job(str(schedule_id)) is not None:
            self.remove_job(str(schedule_id))

    def _process_jobs(self) -> float | None:
        """What APScheduler calls in its thread; returns the seconds until it wants to be called again."""
        now = self._now()
        due: dict[int, Sequence[datetime]] = {}
        with self._jobstores_lock:
            (store,) = self._jobstores.values()
            for job in store.get_due_jobs(now):
                moments = [moment.astimezone(UTC) for moment in job._get_run_times(now)]
                due[int(job.id)] = moments
                self._move_on(store, job, moments, now)
            following: datetime | None = store.get_next_run_time()
        if due:
            self._fire(due)
        return None if following is None else max(0.0, (following - self._now()).total_seconds())

    @staticmethod
    def _move_on(store: Any, job: Any, moments: Sequence[datetime], now: datetime) -> None:
        following = job.trigger.get_next_fire_time(moments[-1], now) if moments else None
        if following is None:
            store.remove_job(job.id)
        else:
            job._modify(next_run_time=following)
            store.update_job(job)


def _nothing() -> None:
    """APScheduler wants a function for each job; here the job's id and moments say it all."""
