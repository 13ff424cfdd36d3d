"""A monitor: what quarterdeck.toml says of it, and which windows of event time it cuts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from quarterdeck.errors import NotFoundError
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.values import as_written
from quarterdeck.workspace import Workspace

WEEK = timedelta(weeks=1)
LEAST_STEP = timedelta(microseconds=1)
FirstEvents = Callable[[datetime | None, int], list[datetime]]
"""The oldest event times from a moment on (from the start of all when it is None), at most so many, in order."""


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open stretch of event time that a window covers: start <= t < end."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Monitor:
    name: str
    settings: MonitorSettings

    def next_window(self, after: Span | None, events: FirstEvents) -> Span | None:
        """The first window behind `after` that holds a prediction; None where there is none yet."""
        if self.settings.rows is not None:
            times = events(None if after is None else after.end, self.settings.rows)
            return Span(times[0], times[-1] + LEAST_STEP) if len(times) == self.settings.rows else None
        slide = self.settings.slide
        if after is None or slide is None:
            found = events(None if after is None else after.end, 1)
            return self._at(found[0]) if found else None
        found = events(after.start + slide, 1)
        if not found:
            return None
        # The first of the overlapping ones that reaches the event.
        behind = max(after.start + slide, _floor(found[0] - self.settings.window, self._origin, slide) + slide)
        return Span(behind, behind + self.settings.window)

    def is_closed(self, window: Span, watermark: datetime) -> bool:
        """Whether events have been seen that are later than the window's end by the grace."""
        return window.end + self.settings.grace <= watermark

    def takes(self, moment: datetime) -> bool:
        """Whether that event time is in the hours of the day that are watched."""
        hours = self.settings.hours
        if hours is None:
            return True
        hour, (first, end) = moment.astimezone(ZoneInfo(self.settings.timezone)).hour, hours
        return first <= hour < end if first < end else hour >= first or hour < end

    def past_weeks(self, window: Span) -> list[Span]:
        """The same weekdays and hours before a window, the newest first: `reference_weeks` of them, none twice."""
        weeks = max(1, -((window.start - window.end) // WEEK))
        return [
            Span(window.start - WEEK * weeks * number, window.end - WEEK * weeks * number)
            for number in range(1, self.settings.reference_weeks + 1)
        ]

    @property
    def patience(self) -> timedelta | None:
        """How far back the windows lie in which a finding must persist; None where they have no length."""
        settings = self.settings
        if settings.rows is not None or settings.calendar is not None:
            return None
        return (settings.slide or settings.window) * settings.persistence[1]

    @property
    def length(self) -> str:
        """A window in words."""
        settings = self.settings
        if settings.rows is not None:
            return f"{settings.rows:,} predictions"
        if settings.calendar is not None:
            return f"a {settings.calendar} in {settings.timezone}"
        window = as_written(settings.window)
        return window if settings.slide is None else f"{window}, every {as_written(settings.slide)}"

    @property
    def _origin(self) -> datetime:
        return self.settings.origin.astimezone(UTC)

    def _at(self, moment: datetime) -> Span:
        """The window that holds `moment`; of overlapping ones the last."""
        if self.settings.calendar is not None:
            return _calendar_span(moment, self.settings.calendar, ZoneInfo(self.settings.timezone))
        start = _floor(moment, self._origin, self.settings.slide or self.settings.window)
        return Span(start, start + self.settings.window)


def _floor(moment: datetime, origin: datetime, step: timedelta) -> datetime:
    return origin + (moment - origin) // step * step


def _calendar_span(moment: datetime, unit: str, zone: ZoneInfo) -> Span:
    """The hour, day, week (from Monday) or month of a zone that holds `moment`, in UTC: a day may have 23 hours."""
    local = moment.astimezone(zone)
    if unit == "hour":
        # Counted back on the clock of all the world: an hour that a zone has twice is two windows.
        past = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        start = moment.astimezone(UTC) - past
        return Span(start, start + timedelta(hours=1))
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if unit == "month":
        first = first.replace(day=1)
        end = (first + timedelta(days=32)).replace(day=1)
    else:
        first -= timedelta(days=first.weekday() if unit == "week" else 0)
        end = first + timedelta(days=7 if unit == "week" else 1)
    return Span(first.astimezone(UTC), end.astimezone(UTC))


def find_monitor(workspace: Workspace, name: str) -> Monitor:
    """The monitor called `name` in quarterdeck.toml.

    Raises:
        NotFoundError: there is none; the message lists those that exist.
    """
    settings = workspace.settings.monitors.get(name)
    if settings is None:
        names = ", ".join(sorted(workspace.settings.monitors)) or "none yet"
        raise NotFoundError(
            f"There is no monitor '{name}'. Known: {names}. "
            f'Add one to {workspace.settings_file}: [monitors.{name}] deployment = "...".'
        )
    return Monitor(name, settings)
