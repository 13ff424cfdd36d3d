"""What the runner looks after beside its jobs: room on the disk, error budgets, and a sign of life to the outside."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from enum import StrEnum

from sqlalchemy.exc import OperationalError

from quarterdeck.disk import Reserve, free_bytes
from quarterdeck.errors import QuarterdeckError
from quarterdeck.events import newest
from quarterdeck.monitoring.burning import watch_budgets
from quarterdeck.runner.narration import say
from quarterdeck.workspace import Workspace

RESERVE_SECONDS = 10.0
BUDGET_SECONDS = 60.0


class DiskLevel(StrEnum):
    """How much room the disk has, by `[disk]` of the settings."""

    ENOUGH = "enough"
    NO_RECORDING = "no recording"
    """Predictions are answered and counted, and no longer recorded."""
    NO_JOBS = "no jobs"
    """No further jobs start either."""


def disk_level(workspace: Workspace, free: int) -> DiskLevel:
    """The level at `free` bytes."""
    limits = workspace.settings.disk
    if free < limits.stop_jobs:
        return DiskLevel.NO_JOBS
    return DiskLevel.NO_RECORDING if free < limits.stop_recording else DiskLevel.ENOUGH


class DiskWatch:
    """Tells the workspace, once, when the disk gets low and when it has room again; keeps the reserve filled."""

    def __init__(self) -> None:
        self._level: DiskLevel | None = None
        self._reserve_at = 0.0

    def look(self, workspace: Workspace) -> None:
        """Called every second.

        Raises:
            DiskError: not even the reserve was enough to write it down; the next look tries again.
        """
        free = free_bytes(workspace.folder)
        level = disk_level(workspace, free)
        if self._level is None:
            self._level = self._told(workspace)
        if level is not self._level:
            self._tell(workspace, level, free)
            self._level = level
        if level is DiskLevel.ENOUGH and time.monotonic() >= self._reserve_at:
            self._reserve_at = time.monotonic() + RESERVE_SECONDS
            limits = workspace.settings.disk
            with suppress(OSError):  # Somebody else was faster: there is less room than a moment ago.
                Reserve(workspace.folder).fill(limits.reserve, leave=limits.stop_recording)

    @staticmethod
    def _told(workspace: Workspace) -> DiskLevel:
        """What was said last, by this runner or the one before."""
        with workspace.state.read() as tx:
            told = newest(tx, 1, "disk")
        return DiskLevel(told[0].data["level"]) if told else DiskLevel.ENOUGH

    @staticmethod
    def _tell(workspace: Workspace, level: DiskLevel, free: int) -> None:
        kind = "disk.recovered" if level is DiskLevel.ENOUGH else "disk.low"
        with workspace.state.write("disk") as tx:
            workspace.record(tx, kind, "disk", {"level": str(level), "free_bytes": free})
        say("runner", f"disk: {free / 1e6:,.0f} MB left ({level})")


class BudgetWatch:
    """Looks once a minute whether an error budget burns too fast."""

    def __init__(self) -> None:
        self._next = 0.0

    def look(self, workspace: Workspace) -> None:
        """Called every second. What goes wrong is told of, and nothing else waits for it."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + BUDGET_SECONDS
        try:
            watch_budgets(workspace)
        except (QuarterdeckError, OperationalError) as error:
            say("runner", f"error budgets: {error}")


class SignOfLife:
    """POSTs to `runner.heartbeat_url`, from a thread of its own: an answer may take its time."""

    def __init__(self) -> None:
        self._next = 0.0
        self._thread: threading.Thread | None = None
        self._failed = False

    def send_if_due(self, workspace: Workspace) -> None:
        settings = workspace.settings.runner
        busy = self._thread is not None and self._thread.is_alive()
        if settings.heartbeat_url is None or busy or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + settings.heartbeat_every.total_seconds()
        arguments = (workspace, settings.heartbeat_url)
        self._thread = threading.Thread(target=self._send, args=arguments, name="sign-of-life", daemon=True)
        self._thread.start()

    def _send(self, workspace: Workspace, url: str) -> None:
        now = workspace.now()
        payload = {"workspace": workspace.settings.workspace.name, "runner": "alive", "at": now.isoformat()}
        try:
            workspace.ports.notifier.send(url, payload, idempotency_key=f"alive-{now.timestamp():.0f}")
            failed = False
        except QuarterdeckError as error:
            failed = True
            if not self._failed:
                say("runner", f"heartbeat_url: {error}")
        if self._failed and not failed:
            say("runner", "heartbeat_url answers again")
        self._failed = failed
