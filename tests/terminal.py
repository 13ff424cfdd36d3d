"""The real console in a real pseudo-terminal: keys go in, the screen is read as a person reads it."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

# Modes and queries with a private marker that pyte takes for plain ones, or prints.
_NOT_FOR_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1bP.*?\x1b\\", re.DOTALL)
ENTER, ESCAPE = "\r", "\x1b"
DEAF_SECONDS = 0.4
"""Longer than the confirm strip is deaf after it opened."""


class Terminal:
    """Starts `command`; `with` ends it, however the block is left."""

    def __init__(
        self, command: Sequence[str], *, size: tuple[int, int], folder: Path, environment: Mapping[str, str]
    ) -> None:
        columns, lines = size
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self._ended = False
        # pexpect sets the size only after the start, which may be seconds later on a busy machine.
        sized = f'stty rows {lines} cols {columns} && exec "$@"'
        # Test runners export the size of their own terminal, which would go over that of ours.
        inherited = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
        self._child = pexpect.spawn(
            "/bin/sh",
            ["-c", sized, "sh", *command],
            dimensions=(lines, columns),
            cwd=str(folder),
            env={**inherited, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"},
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
        return "\n".join(line.rstrip() for line in self.screen.display)

    def press(self, *keys: str) -> None:
        for key in keys:
            self._child.send(key)

    def until(self, shown: str | Callable[[str], bool], *, seconds: float = 60) -> str:
        """Read until the words, or what the function looks for, are on the screen; the screen."""
        holds = (lambda words: shown in words) if isinstance(shown, str) else shown
        deadline = time.monotonic() + seconds
        while not holds(self.words):
            assert not self._ended, f"it ended before {shown!r} was shown:\n{self.words}"
            assert time.monotonic() < deadline, f"{shown!r} was not shown within {seconds:g} s:\n{self.words}"
            self._take(0.05)
        return self.words

    def until_quiet(self, quiet: float, *, seconds: float = 60) -> None:
        """Read until nothing came for `quiet` seconds."""
        deadline = time.monotonic() + seconds
        while self.listen(quiet):
            assert time.monotonic() < deadline, f"it never was quiet:\n{self.words}"

    def listen(self, seconds: float) -> int:
        """The bytes that arrive within `seconds`."""
        deadline, count = time.monotonic() + seconds, 0
        while (left := deadline - time.monotonic()) > 0 and not self._ended:
            count += self._take(left)
        return count

    def until_ended(self, *, seconds: float = 60) -> tuple[int | None, str]:
        """Read to the end: the exit status, and what is on the screen then."""
        deadline = time.monotonic() + seconds
        while not self._ended:
            assert time.monotonic() < deadline, f"it did not end within {seconds:g} s:\n{self.words}"
            self._take(0.05)
        self._child.wait()
        return self._child.exitstatus, self.words

    def hang_up(self) -> None:
        """The terminal goes away, as when an SSH session drops: the kernel sends SIGHUP. Wait for the end."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._child.child_fd)
        os.close(nothing)
        self._child.wait()

    def _take(self, seconds: float) -> int:
        handle = self._child.child_fd
        if not select.select([handle], [], [], seconds)[0]:
            return 0
        data = b""
        with suppress(OSError):  # Linux reports the end of a pseudo-terminal so.
            data = os.read(handle, 1 << 16)
        self._ended = not data
        self._stream.feed(_NOT_FOR_PYTE.sub(b"", data))
        return len(data)
