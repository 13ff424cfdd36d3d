"""Whether a supervised process still works, judged by signs of life that a stopped or deadlocked one cannot give.

A gateway worker's event loop writes a byte a second to its supervisor; a runner renews its lease. How long a sign has
been missing is counted in time in which the supervisor itself ran: a machine that slept, or a supervisor that was
stopped along with the others, accuses nobody on waking.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quarterdeck.disk import free_bytes
from quarterdeck.processes import ProcessIdentity, is_alive
from quarterdeck.runner.children import Child
from quarterdeck.runner.supervision import Health

GATEWAY_SECONDS = 15.0
"""A gateway worker that is silent for longer is hung: it beats every second, so many beats are missing."""
START_SECONDS = 180.0
"""A process that gave no sign at all since it started gets this long: imports are slow on a busy machine."""
LONGEST_STEP_SECONDS = 2.0
FULL_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a sign of life may be missing, in seconds. The runner's own measure is its lease."""

    gateway: float = GATEWAY_SECONDS
    start: float = START_SECONDS


class RanTime:
    """Seconds in which this process itself ran, to within a step: what it slept through counts for nearly nothing."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._last = time.monotonic()

    def now(self) -> float:
        """Called at least every second."""
        now = time.monotonic()
        self._seconds += min(now - self._last, LONGEST_STEP_SECONDS)
        self._last = now
        return self._seconds


class GatewayHealth:
    """Judges one gateway worker by its beats."""

    def __init__(self, child: Child, patience: Patience) -> None:
        self._child = child
        self._patience = patience
        self._of: ProcessIdentity | None = None
        self._beaten = False
        self._sign_at = 0.0

    def judge(self, now: float) -> str | None:
        """Set the child's health; why it has to be killed, where it has to be. `now` is a `RanTime`."""
        child = self._child
        if child.identity is None:
            return None
        if child.identity != self._of:
            self._of, self._beaten, self._sign_at = child.identity, False, now
        if child.has_beaten():
            self._beaten, self._sign_at = True, now
        silent = now - self._sign_at
        child.health = Health.HEALTHY if self._beaten else Health.STARTING
        if silent <= (self._patience.gateway if self._beaten else self._patience.start):
            return None
        return f"it gave no sign of life for {silent:.0f} s, so it was stopped or hung"


@dataclass(frozen=True, slots=True)
class _Lease:
    holder: ProcessIdentity
    until: str


class RunnerHealth:
    """Judges the runner by the heartbeats of its lease."""

    def __init__(self, child: Child, folder: Path, lease_seconds: float, patience: Patience) -> None:
        self._child = child
        self._folder = folder
        self._lease_seconds = lease_seconds
        self._patience = patience
        self._of: ProcessIdentity | None = None
        self._seen: _Lease | None = None
        self._allowed = 0.0
        self._sign_at = 0.0

    def judge(self, now: float) -> str | None:
        """Set the child's health; why it has to be killed, where it has to be. `now` is a `RanTime`."""
        child = self._child
        if child.identity is None:
            return None
        if child.identity != self._of:
            self._of, self._seen, self._sign_at, self._allowed = child.identity, None, now, self._patience.start
        try:
            lease = _read_lease(self._folder / "state.db")
        except sqlite3.Error:
            self._sign_at = now  # Nobody can tell, so nobody is accused.
            return None
        if lease is not None and lease.holder == child.identity:
            return self._judge_holder(lease, now)
        if lease is not None and is_alive(lease.holder):
            child.health, self._sign_at = Health.STANDBY, now
            return None
        child.health = Health.STARTING
        if now - self._sign_at <= self._allowed:
            return None
        return f"it has not worked, nor stood by, for {now - self._sign_at:.0f} s: it was stopped, or it hung"

    def _judge_holder(self, lease: _Lease, now: float) -> str | None:
        child = self._child
        if lease != self._seen:
            self._seen, self._sign_at, child.health = lease, now, Health.HEALTHY
            # The settings may have changed since the supervisor read them.
            self._allowed = max(self._lease_seconds, _seconds_until(lease.until))
        silent = now - self._sign_at
        if silent <= self._allowed:
            return None
        if _is_hindered(self._folder, child.pid):
            child.health, self._sign_at = Health.WAITING, now
            return None
        return f"it has not renewed its lease for {silent:.0f} s, so it was stopped or hung"


def _read_lease(path: Path) -> _Lease | None:
    """The lease row of state.db; None when there is none yet.

    Raises:
        sqlite3.Error: the file cannot be read now.
    """
    # Opened for each look: a file that was restored from a backup is another file. It takes a third of a millisecond.
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)
    try:
        query = "SELECT pid, process_started, boot_id, lease_until FROM runner_lease"
        row = connection.execute(query).fetchone()
    finally:
        connection.close()
    return None if row is None else _Lease(ProcessIdentity(int(row[0]), float(row[1]), str(row[2])), str(row[3]))


def _seconds_until(moment: str) -> float:
    try:
        return (datetime.fromisoformat(moment) - datetime.now(UTC)).total_seconds()
    except ValueError:
        return 0.0


def _is_hindered(folder: Path, pid: int | None) -> bool:
    """Whether something keeps even a runner that works well from renewing its lease."""
    if free_bytes(folder) < FULL_BYTES:
        return True
    holder = write_lock_holder(folder / "state.lock")
    return holder is not None and holder[0] != pid


def write_lock_holder(path: Path) -> tuple[int, str] | None:
    """Process and verb of who holds a write lock at this moment; None when nobody does. Pid 0 where that is unknown."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, verb = os.pread(handle, 200, 0).decode(errors="replace").strip().partition(" ")
        return (int(pid) if pid.isdecimal() else 0), verb
    finally:
        os.close(handle)
    return None
