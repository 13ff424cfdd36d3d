"""A program in a pseudo-terminal, and what its screen shows: when, and for how many bytes."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType

import pexpect
import pyte

COLUMNS, LINES = 140, 40
# Modes and queries with a private marker that pyte takes for plain ones, or prints.
_NOT_FOR_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\", re.DOTALL)


class Terminal:
    """Starts `command` at once; `with` ends it."""

    def __init__(self, command: Sequence[str], *, cwd: str, environment: Mapping[str, str] | None = None) -> None:
        self.screen = pyte.Screen(COLUMNS, LINES)
        self.bytes = 0
        self._stream = pyte.ByteStream(self.screen)
        self._ended = False
        variables = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})}
        self._started = time.perf_counter()
        self._child = pexpect.spawn(
            command[0],
            list(command[1:]),
            dimensions=(LINES, COLUMNS),
            cwd=cwd,
            env=variables,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close(force=True)

    @property
    def pid(self) -> int:
        assert self._child.pid is not None
        return self._child.pid

    @property
    def words(self) -> str:
        """Everything on the screen."""
        return "\n".join(self.screen.display)

    def until(self, shown: Callable[[str], bool], seconds: float) -> float | None:
        """Seconds from the start to the output that made the screen so; None when it is not within `seconds`."""
        deadline = time.perf_counter() + seconds
        while not self._ended and time.perf_counter() < deadline:
            at = self._take(0.05)
            if at is not None and shown(self.words):
                return at - self._started
        return None

    def until_quiet(self, quiet: float, seconds: float) -> float | None:
        """Seconds from the start to the last output before a pause of `quiet` seconds; None without such a pause."""
        deadline = time.perf_counter() + seconds
        last = time.perf_counter()
        while not self._ended and time.perf_counter() < deadline:
            at = self._take(0.05)
            last = last if at is None else at
            if time.perf_counter() - last >= quiet:
                return last - self._started
        return None

    def listen(self, seconds: float) -> int:
        """Bytes that arrive within `seconds`."""
        before, deadline = self.bytes, time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0 and not self._ended:
            self._take(left)
        return self.bytes - before

    def _take(self, seconds: float) -> float | None:
        """Read what is there; when it arrived, or None when nothing did."""
        handle = self._child.child_fd
        if not select.select([handle], [], [], seconds)[0]:
            return None
        at, data = time.perf_counter(), b""
        with suppress(OSError):  # Linux reports the end of a pseudo-terminal so
            data = os.read(handle, 1 << 16)
        self._ended = not data
        self.bytes += len(data)
        self._stream.feed(_NOT_FOR_PYTE.sub(b"", data))
        return at
