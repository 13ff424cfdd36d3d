"""A monitor: what quarterdeck.toml says of it, and which windows of event time it cuts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from quarterdeck.errors import NotFoundError
from quarterdeck.settings.serving import MonitorSettings
from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open stretch of event time that a window covers: start <= t < end."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Monitor:
    name: str
    settings: MonitorSettings

    def window_at(self, moment: datetime) -> Span:
        """The window that holds `moment`. Windows touch, do not overlap, and one begins at `origin`."""
        origin = self.settings.origin.astimezone(UTC)
        start = origin + (moment - origin) // self.settings.window * self.settings.window
        return Span(start, start + self.settings.window)

    def is_closed(self, window: Span, watermark: datetime) -> bool:
        """Whether events have been seen that are later than the window's end by the grace."""
        return window.end + self.settings.grace <= watermark

    @property
    def patience(self) -> timedelta:
        """How far back the windows lie in which a finding must persist."""
        return self.settings.window * self.settings.persistence[1]


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
