"""The lock of one file that several processes write: the kernel's own queue, with the holder's name inside."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quarterdeck.errors import BusyError

LOCK_PATIENCE_SECONDS = 5.0
HOLDER_BYTES = 120


class WriteLock:
    """The advisory lock of one database file: first come, first served, with the holder's pid and verb inside.

    SQLite's own busy handler is unfair under many writers; the kernel's queue of waiters is not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def held(self, verb: str, patience: float = LOCK_PATIENCE_SECONDS) -> Iterator[None]:
        """Hold the lock while the block runs.

        Raises:
            BusyError: it was not free within `patience` seconds; the message names the holder.
        """
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._try(handle):
            os.close(handle)
            handle = self._wait(patience)
        try:
            # Padded to one length: truncating the file at every write would cost as much as the commit.
            os.pwrite(handle, f"{os.getpid()} {verb}".encode()[:HOLDER_BYTES].ljust(HOLDER_BYTES), 0)
            yield
        finally:
            # Given back by name, not by closing alone: a process that was forked meanwhile has a copy of the handle.
            fcntl.flock(handle, fcntl.LOCK_UN)
            os.close(handle)
            # Whoever is next in line gets the processor: else this process often takes the lock again before them.
            os.sched_yield()

    @staticmethod
    def _try(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait(self, patience: float) -> int:
        # flock has no time limit of its own, so a thread stands in the queue; if we leave, it gives the lock back.
        guard = threading.Lock()
        done = threading.Event()
        outcome: dict[str, int] = {}
        abandoned = False

        def stand_in_line() -> None:
            handle = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            fcntl.flock(handle, fcntl.LOCK_EX)
            with guard:
                if abandoned:
                    os.close(handle)
                else:
                    outcome["handle"] = handle
            done.set()

        threading.Thread(target=stand_in_line, name="write-lock", daemon=True).start()
        try:
            done.wait(patience)
        except BaseException:
            # A signal that ends this thread's work must not leave the lock with the one who stands in line for it.
            with guard:
                abandoned = True
                if "handle" in outcome:
                    os.close(outcome["handle"])
            raise
        with guard:
            if "handle" in outcome:
                return outcome["handle"]
            abandoned = True
        holder = self.path.read_text(errors="replace").strip()
        pid, _, verb = holder.partition(" ")
        raise BusyError(
            f"{self.path.name} is held by process {pid or '?'} ({verb or 'unknown verb'}) for more than "
            f"{patience:g} s. If that process is stopped or hangs, continue or end it, then try again."
        )
