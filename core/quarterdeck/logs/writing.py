"""Writing a log: whole lines, each in one write to a file that is opened for appending."""

from __future__ import annotations

import contextlib
import fcntl
import io
import logging
import math
import os
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.logs.lines import prefix, rotated, visible
from quarterdeck.logs.masking import Mask

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PROGRESS_SECONDS = 5.0
"""A progress bar that is redrawn in place gets a line this often, and one for its end."""
LONGEST_BYTES = 1 << 20
"""A line that is longer, and was not written at once, is written in pieces."""
_CURSOR_UP = b"\x1b[A"


def open_for_appending(path: Path) -> int:
    """A handle on the log, which is made if it is not there, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


class Log:
    """A log and the handles of this process that lead to it.

    Several threads and processes may write to one log. Whoever sees that it has become too large moves it aside, and
    the others follow with their next line, or go on writing to the old file if they are no Python.
    """

    def __init__(self, path: Path, handles: Sequence[int], mask: Mask, max_bytes: int) -> None:
        self.path = path
        self.mask = mask
        self._handles = handles
        self._max_bytes = max_bytes
        self._torn = False
        self._about = os.fstat(handles[0])

    def write(self, handle: int, level: str, text: bytes) -> None:
        """Write the lines of `text`, masked, with time and level, in one piece.

        Raises:
            OSError: the disk is full, or failed.
        """
        begin = prefix(level)
        data = b"".join(begin + visible(line) + b"\n" for line in self.mask(text).split(b"\n"))
        rest = memoryview(b"\n" + data if self._torn else data)
        while rest:
            written = os.write(handle, rest)
            # Should the next write find no room, half a line stands there.
            self._torn = written < len(rest)
            rest = rest[written:]
        about = os.fstat(handle)
        # A handle that leads elsewhere was redirected by the code that runs here, and that file is not ours to move.
        if 0 < self._max_bytes <= about.st_size and os.path.samestat(about, self._about):
            # Where there is no room for a fresh file the old one goes on.
            with contextlib.suppress(OSError):
                self._go_on_afresh(about)

    def _go_on_afresh(self, old: os.stat_result) -> None:
        lock = open_for_appending(self.path)
        try:
            # By several processes that share the log only one moves it. Not waited for: the holder may be this thread,
            # in the midst of this when a signal's handler writes.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(old, self.path.stat()):
                self.path.replace(rotated(self.path))
            fresh = open_for_appending(self.path)
            try:
                for handle in self._handles:
                    if os.path.samestat(old, os.fstat(handle)):
                        os.dup2(fresh, handle, inheritable=os.get_inheritable(handle))
                self._about = os.fstat(fresh)
            finally:
                os.close(fresh)
        finally:
            os.close(lock)


@dataclass(slots=True)
class _Begun:
    """A line that one thread has begun."""

    text: bytearray = field(default_factory=bytearray)
    shown: bool = False
    """Some of it was written already, as a line."""
    progress_at: float = -math.inf
    rows_up: int = 0
    feed: bytes = b""
    """A line feed of which the next byte will tell whether it ends the line."""

    def flattened(self, data: bytes) -> bytes:
        """Progress bars below each other are one line, though the cursor goes down and up between them."""
        if not self.rows_up and _CURSOR_UP not in data:
            return data
        parts = re.split(rb"(\x1b\[A|\n)", self.feed + data)
        flat, self.feed = bytearray(), b""
        for place, part in enumerate(parts):
            if part == _CURSOR_UP:
                self.rows_up += 1
                flat += b"\r"
            elif part != b"\n" or not self.rows_up or b"\r" not in (self.text + flat).rpartition(b"\n")[2]:
                flat += part
            elif place == len(parts) - 2 and not parts[-1]:
                self.feed = part
            else:
                self.rows_up -= 1
                flat += b"\r" if parts[place + 1][:1] in (b"\r", b"") else b"\n"
        return bytes(flat)


class LineWriter(io.BufferedIOBase):
    """The bytes under `sys.stdout` or `sys.stderr`: lines go to the log when they end.

    A line that has not ended is kept for its thread, so that the words of several threads do not mix. It is written
    when the thread flushes, as a line of its own, and what follows is another one: nothing that was flushed is lost by
    a kill. A flush is put off while the end of the text may be the beginning of a secret.

    A carriage return goes back to the line's beginning, as on a terminal: the last state of a progress bar is written
    when its line ends, and one state every `PROGRESS_SECONDS` before that.
    """

    mode = "wb"

    def __init__(self, log: Log, handle: int, level: str, name: str) -> None:
        self.name = name
        self._log = log
        self._handle = handle
        self._level = level
        self._begun: dict[int, _Begun] = {}
        # The child of a fork would write once more what other lines of the parent hold.
        os.register_at_fork(after_in_child=self._begun.clear)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._handle

    def tell_line(self, level: str, text: str) -> None:
        """Write lines of another level."""
        self._log.write(self._handle, level, text.encode("utf-8", "backslashreplace"))

    def write(self, data: ReadableBuffer, /) -> int:
        if self.closed:
            raise ValueError("write to closed file")
        data = bytes(data)
        begun = self._begun.setdefault(threading.get_ident(), _Begun())
        ended, newline, rest = begun.flattened(data).rpartition(b"\n")
        if newline:
            self._end(begun, ended, rest)
        else:
            begun.text += rest
        if b"\r" in rest:
            self._show_progress(begun)
        if len(begun.text) > LONGEST_BYTES:
            self._cut(begun)
        return len(data)

    def _end(self, begun: _Begun, ended: bytes, rest: bytes) -> None:
        first, newline, others = ended.partition(b"\n")
        first = bytes(begun.text) + first
        was_shown = begun.shown
        # Set before the write: if that fails, and is tried again, nothing is written twice.
        begun.text, begun.shown = bytearray(rest), False
        if not was_shown or visible(first).strip():
            self._log.write(self._handle, self._level, first + newline + others)
        elif newline:
            self._log.write(self._handle, self._level, others)

    def flush(self) -> None:
        begun = None if self.closed else self._begun.get(threading.get_ident())
        if begun is None or not begun.text:
            return
        if b"\r" in begun.text:
            self._show_progress(begun)
        elif not self._log.mask.begun(bytes(begun.text)):
            self._show(begun)

    def _show_progress(self, begun: _Begun) -> None:
        state = visible(bytes(begun.text))
        begun.text[:] = b"\r" + state + (b"\r" if begun.text.endswith(b"\r") else b"")
        if time.monotonic() - begun.progress_at >= PROGRESS_SECONDS and not self._log.mask.begun(state):
            self._show(begun)

    def _show(self, begun: _Begun) -> None:
        text = bytes(begun.text)
        if text.strip():
            begun.text, begun.shown, begun.progress_at = bytearray(), True, time.monotonic()
            self._log.write(self._handle, self._level, text)

    def _cut(self, begun: _Begun) -> None:
        size = len(begun.text) - self._log.mask.begun(bytes(begun.text))
        text, begun.text, begun.shown = bytes(begun.text[:size]), begun.text[size:], True
        self._log.write(self._handle, self._level, text)

    def drain(self) -> None:
        """Write what all threads have begun: this process ends."""
        for begun in list(self._begun.values()):
            self._show(begun)

    def close(self) -> None:
        if not self.closed:
            self.drain()
        super().close()


class LogHandler(logging.Handler):
    """Writes logging's records, each in one piece with its traceback."""

    def __init__(self, log: Log, handle: int) -> None:
        super().__init__()
        self._log = log
        self._handle = handle
        self.setFormatter(_Named())

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record).rstrip("\n").encode("utf-8", "backslashreplace")
            self._log.write(self._handle, record.levelname, text)
        except Exception:
            self.handleError(record)


class _Named(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        return record.message if record.name == "root" else f"{record.name}: {record.message}"
