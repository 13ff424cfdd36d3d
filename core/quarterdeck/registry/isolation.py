"""A process that may do anything without taking us along: started, asked with a deadline, watched, and ended whole."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from quarterdeck.processes import ProcessIdentity, group_members, identity_of, kill_group, marked, memory_bytes
from quarterdeck.registry.model_host import receive, send

TICK_SECONDS = 0.2
"""How often the memory is looked at while an answer is waited for."""
DYING_SECONDS = 0.5
ENDING_SECONDS = 5.0
LAST_LINES = 20
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""One thread of computation, unless the environment says otherwise: requests come one at a time and are small."""
MARK = "QUARTERDECK_MODEL_PROCESS"
"""In the environment of a model's process, by which children are known that left its group and lost their parents."""
log = logging.getLogger("quarterdeck.model")


class IsolatedProcess:
    """One process at the other end of a socket. It dies with the thread that made it, at the latest."""

    def __init__(self, command: Sequence[str], name: str, *, folder: Path | None = None, memory: int | None = None):
        """Start `command` with the number of its socket as the last argument.

        `name` says in the log whose lines it writes; `memory` is the limit in bytes of what it and its children use.

        Raises:
            OSError: it cannot be started.
        """
        self._name = name
        self._limit = memory
        self._said: deque[str] = deque(maxlen=LAST_LINES)
        self._mark = uuid4().hex
        self._killed_for: str | None = None
        self._end: str | None = None
        self._ending, self._asking = threading.Lock(), threading.Lock()
        self._connection, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    cwd=folder,
                    start_new_session=True,
                    env=dict.fromkeys(ONE_THREAD, "1") | dict(os.environ) | {MARK: self._mark},
                )
            except OSError:
                self._connection.close()
                raise
        self.identity = identity_of(self._process.pid) or ProcessIdentity(self._process.pid, 0.0, "")
        self._handle = os.pidfd_open(self._process.pid)
        self._reader = threading.Thread(target=self._read, name=f"output of {name}", daemon=True)
        self._reader.start()

    def ask(self, message: object, seconds: float) -> Any:
        """Send `message` and return the answer.

        Raises:
            TimeoutError: there was none within `seconds`.
            EOFError, OSError: the process ended.
        """
        with self._asking:
            self._connection.settimeout(seconds)
            send(self._connection, message)
            return self._received(seconds)

    def receive(self, seconds: float) -> Any:
        """What the process sends next; otherwise as `ask`."""
        with self._asking:
            return self._received(seconds)

    def _received(self, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while not _readable(self._connection.fileno(), TICK_SECONDS):
            self.hold_to_limit()
            if time.monotonic() > deadline:
                raise TimeoutError
        # What has begun to arrive is written by one call and arrives: the rest of the time is for that.
        self._connection.settimeout(max(deadline - time.monotonic(), TICK_SECONDS))
        return receive(self._connection)

    def wait(self, seconds: float | None) -> bool:
        """Whether the process has ended, which is waited for."""
        return _readable(self._handle, seconds)

    def hold_to_limit(self) -> None:
        """Kill the process if it uses more memory than it may."""
        if self._limit is not None and (used := self.memory()) > self._limit:
            self.kill(f"it took {_megabytes(used)} of memory, and may take {_megabytes(self._limit)}")

    def memory(self) -> int:
        """Bytes that the process and its children use now, as proportional set size."""
        me = self.identity
        return sum(memory_bytes(pid) for pid in group_members(me.pid, me.started, me.boot_id, below=True))

    def kill(self, why: str) -> None:
        """End the process and its children at once; the first reason is kept."""
        self._killed_for = self._killed_for or why
        kill_group(self.identity.pid, self.identity.started, self.identity.boot_id, below=True)
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def end(self, why: str = "it was ended") -> str:
        """Make sure that the process has ended, and say how it did. May be called again, and from other threads."""
        with self._ending:
            if self._end is None:
                # One that closed its socket by dying is gone in a moment, and then says itself how.
                if not self.wait(DYING_SECONDS):
                    self.kill(why)
                status = self._process.wait(ENDING_SECONDS)
                # Children that outlive it would hold its output, and its memory.
                self.kill(_reason(status))
                for left in marked(MARK, self._mark):
                    kill_group(left.pid, left.started, left.boot_id, below=True)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(left.pid, signal.SIGKILL)
                self._reader.join(ENDING_SECONDS)
                self._end = self._told()
            return self._end

    def close(self) -> str:
        """As `end`, for the last one who uses it."""
        told = self.end()
        with self._asking:
            self._connection.close()
        os.close(self._handle)
        return told

    def _told(self) -> str:
        why = self._killed_for or "it ended"
        last = next((line for line in reversed(self._said) if line.strip()), None)
        return why if last is None or why.startswith("it ") else f"{why}; it last wrote: {last.strip()[:200]}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            while line := stream.readline(8192):
                text = line.decode(errors="replace").rstrip("\n")
                self._said.append(text)
                log.info("%s: %s", self._name, text)


def _readable(handle: int, seconds: float | None) -> bool:
    # Not select(), which takes no number above 1,023: a gateway may have that many connections.
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(None if seconds is None else seconds * 1000))


def _reason(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    name = signal.Signals(-status).name
    more = {"SIGABRT": ", as os.abort() does", "SIGKILL": ", as the kernel does when memory runs out"}.get(name, "")
    return f"ended by {name}{more}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
