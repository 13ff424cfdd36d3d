"""A process that is kept running: started, written down before it may begin, and started again when it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from quarterdeck.processes import ProcessIdentity, identity_of, kill_group
from quarterdeck.runner.supervision import Health, Supervised

FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
LAST_LINES = 5
TAIL_BYTES = 4096
NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""What a service manager tells the supervisor alone."""


@dataclass(slots=True)
class Child:
    """A process that is kept running. `look` does whatever is due; `let_go` allows a started one to begin."""

    name: str
    command: list[str]
    log: Path
    handles: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    """By the monotonic clock, as are the other times here."""
    delay: float = FIRST_DELAY_SECONDS
    start_at: float = 0.0
    identity: ProcessIdentity | None = field(default=None)
    since: datetime | None = None
    starts: int = 0
    health: Health = Health.DOWN
    last_end: str | None = None
    last_end_at: datetime | None = None
    _link: socket.socket | None = None
    _may_begin: bool = False
    _log_begins: int = 0
    """Where in its log the present process begins."""
    _sentence: str | None = None
    """Why it was killed by its supervisor."""
    _deaths: int = 0
    """In a row, without a healthy time between them."""
    _told: list[str] = field(default_factory=list)
    """The last lines of its log that were told the last time."""

    def start(self) -> None:
        """Start it. It waits for `let_go`, and ends by itself if its supervisor ends before that.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        try:
            with self.log.open("ab") as log:
                self._log_begins = log.tell()
                # A session of its own: Ctrl-C reaches the supervisor alone, which then stops everything in order.
                self.process = subprocess.Popen(
                    [*self.command, "--link", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(*self.handles, theirs.fileno()),
                    start_new_session=True,
                    env={key: value for key, value in os.environ.items() if key not in NOT_FOR_CHILDREN},
                )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        self._link, self._may_begin = ours, False
        self.started, self.since = time.monotonic(), datetime.now(UTC)
        self.identity = identity_of(self.process.pid)
        self.starts += 1
        self.health, self._sentence = Health.STARTING, None

    def let_go(self) -> None:
        """Allow it to begin. Call this once it is written down: nobody is left running whom nobody knows of."""
        if self._link is not None and not self._may_begin:
            self._may_begin = True
            with contextlib.suppress(OSError):
                self._link.send(b"g")

    def has_beaten(self) -> bool:
        """Whether it gave a sign of life since the last time this was asked."""
        beaten = False
        with contextlib.suppress(OSError):
            while self._link is not None and self._link.recv(4096):
                beaten = True
        return beaten

    def look(self) -> str | None:
        """Start it again when it is due; what to tell when it ended."""
        now = time.monotonic()
        if self.process is None:
            return self._start_if_due(now)
        status = self.process.poll()
        if status is None:
            return None
        if now - self.started >= HEALTHY_SECONDS:
            self.delay, self._deaths = FIRST_DELAY_SECONDS, 0
        return self._ended(now, self._sentence or f"ended ({_reason(status)})")

    def kill(self, why: str) -> None:
        """End it and its group at once; `why` is told when it has ended."""
        self._sentence, self.health = f"was killed: {why}", Health.HUNG
        if self.identity is not None:
            kill_group(self.identity.pid, self.identity.started, self.identity.boot_id)

    def forget(self) -> None:
        """It is stopped for good."""
        self.process, self.identity, self.since, self.health = None, None, None, Health.DOWN
        if self._link is not None:
            self._link.close()
            self._link = None

    @property
    def pid(self) -> int | None:
        return self.identity.pid if self.identity is not None else None

    def row(self) -> Supervised:
        """What is written down of it."""
        return Supervised(
            name=self.name,
            health=self.health,
            identity=self.identity,
            since=self.since,
            restarts=max(0, self.starts - 1),
            last_end=self.last_end,
            last_end_at=self.last_end_at,
        )

    def _start_if_due(self, now: float) -> str | None:
        if now < self.start_at:
            return None
        try:
            self.start()
        except OSError as error:
            self.last_end, self.last_end_at = f"could not be started ({error})", datetime.now(UTC)
            return self._said(f"{self.name} could not be started ({error})", "trying again", self._later(now), "")
        return None

    def _ended(self, now: float, how: str) -> str | None:
        if self.identity is not None:
            # A fork server whose runner died would go by itself, and a stopped one would not.
            kill_group(self.identity.pid, self.identity.started, self.identity.boot_id)
        self.forget()
        self.last_end, self.last_end_at = how, datetime.now(UTC)
        lines = last_lines(self.log, self._log_begins)
        # Times and numbers of processes differ each time and say nothing new.
        shape = [re.sub(r"\d+", "0", line) for line in lines]
        new, self._told = shape != self._told, shape
        tail = "".join(f"\n    {line}" for line in lines) if new else ""
        return self._said(f"{self.name} {how}", "starting it again", self._later(now), f" Its log: {self.log}{tail}")

    def _said(self, what: str, next_step: str, delay: float, more: str) -> str | None:
        """One message for each death while the delay grows, then at the 10th, 100th, ... in a row."""
        self._deaths += 1
        steady = delay >= LONGEST_DELAY_SECONDS and self._deaths > 1
        if steady and self._deaths != 10 ** (len(str(self._deaths)) - 1) and not more.partition("\n")[2]:
            return None
        times = f" ({self._deaths} times in a row by now)" if self._deaths > 1 else ""
        return f"{what}; {next_step} in {delay:g} s{times}.{more}"

    def _later(self, now: float) -> float:
        """Put the next start off, longer each time; by how many seconds."""
        delay = self.delay
        self.start_at, self.delay = now + delay, min(delay * 2, LONGEST_DELAY_SECONDS)
        return delay


def last_lines(log: Path, start: int = 0, count: int = LAST_LINES) -> list[str]:
    """The last lines of a log that are not empty, from its byte `start` on; none when it cannot be read."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            # A log that is shorter than it was has been continued in a fresh file.
            file.seek(max(start if start <= size else 0, size - TAIL_BYTES))
            text = file.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]


def _reason(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"  # A real-time signal has no name.
