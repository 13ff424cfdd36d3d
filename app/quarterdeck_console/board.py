"""Jobs and schedules in the order in which one looks at them, for the console and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quarterdeck.pipelines.queries import ScheduleRow
    from quarterdeck.runner.queries import JobRow
    from quarterdeck.workspace import Workspace

RESULTS = 10
"""How many of a schedule's newest jobs its strip shows."""
LATE = timedelta(minutes=1)
"""A tick that is this late has nobody who fires it."""


class Section(StrEnum):
    """The parts of the board, in their order."""

    RUNNING = "running"
    QUEUED = "queued"
    TROUBLED = "needs a person"
    SCHEDULES = "schedules"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A schedule with the states of its newest jobs, oldest first."""

    row: ScheduleRow
    results: tuple[str, ...]
    overdue: bool

    @property
    def state(self) -> str:
        if self.row.paused or self.row.paused_by:
            return "paused"
        if self.overdue:
            return "overdue"
        return "held" if self.row.held_by else "waiting"


@dataclass(frozen=True, slots=True)
class Board:
    """What runs, what waits, what needs a person, what comes, and what ended."""

    now: datetime
    running: tuple[JobRow, ...]
    queued: tuple[JobRow, ...]
    """In the order in which they are taken."""
    troubled: tuple[JobRow, ...]
    """See `jobs_for_a_person`."""
    schedules: tuple[Scheduled, ...]
    ended: tuple[JobRow, ...]
    """Newest first."""


def read_board(workspace: Workspace, limit: int, *, states: Sequence[str] = (), schedule: str | None = None) -> Board:
    """The board with at most `limit` jobs beside those that need a person; of `states` and of one schedule only."""
    from quarterdeck.runner.queries import jobs, jobs_for_a_person

    found = jobs(workspace, limit, states=states, schedule=schedule)
    troubled = [
        job
        for job in jobs_for_a_person(workspace)
        if (not states or job.state in states) and schedule in (None, job.schedule)
    ]
    told = {job.id for job in troubled}
    queued = [job for job in found if job.state == "queued"]
    return Board(
        now=workspace.now(),
        running=tuple(job for job in found if job.state == "running"),
        queued=tuple(sorted(queued, key=lambda job: (-job.priority, job.not_before, job.id))),
        troubled=tuple(troubled),
        schedules=() if states else tuple(read_schedules(workspace, schedule)),
        ended=tuple(job for job in found if not job.state.under_way and job.id not in told),
    )


def read_schedules(workspace: Workspace, name: str | None = None) -> list[Scheduled]:
    """The schedules by name, or the one called `name`."""
    from quarterdeck.pipelines.queries import schedules
    from quarterdeck.runner.queries import last_results

    now, results = workspace.now(), last_results(workspace, RESULTS)
    return [
        Scheduled(
            row=row,
            results=tuple(results.get(row.name, ())),
            overdue=row.next_tick is not None and now - row.next_tick > LATE,
        )
        for row in schedules(workspace)
        if name in (None, row.name)
    ]


def next_fires(row: ScheduleRow, now: datetime, count: int = 5) -> list[datetime]:
    """When a schedule fires next, in UTC; nothing while it is paused, and for one that follows data.

    Raises:
        UsageError: its crontab line or its time zone is none.
    """
    from quarterdeck.triggers import Every, cron_trigger, fire_after

    if row.paused or row.paused_by or (row.cron is None and row.every_seconds is None):
        return []
    if row.cron is not None:
        trigger = cron_trigger(row.cron, row.timezone)
    else:
        trigger = Every(row.anchor, timedelta(seconds=row.every_seconds or 0))
    fires: list[datetime] = []
    fire = fire_after(trigger, now)
    while fire is not None and len(fires) < count:
        fires.append(fire)
        fire = fire_after(trigger, fire)
    return fires


def timing(row: ScheduleRow) -> str:
    """What makes it fire: `0 2 * * *`, `every 1h30m`, `on data payments`."""
    if row.cron is not None:
        return row.cron
    return f"every {span(row.every_seconds)}" if row.every_seconds is not None else f"on data {row.on_data}"


def span(seconds: float) -> str:
    """A length of time as the settings write it: `90s` is `1m30s`."""
    parts, rest = [], round(seconds, 3)
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        whole, rest = divmod(rest, length)
        parts += [f"{whole:g}{unit}"] if whole else []
    if rest or not parts:
        parts.append(f"{rest:g}s" if rest >= 1 or not rest else f"{rest * 1000:g}ms")
    return "".join(parts)


def what_of(job: JobRow) -> str:
    """What a job works on: `run/12 nightly`, `monitor/fraud`."""
    return f"{job.subject} {job.pipeline}" if job.pipeline else job.subject
