"""Reading a log while it is written: across fresh files, with lines that have not ended, before it is there."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from quarterdeck.logs.lines import Line, parse, rotated
from quarterdeck.logs.masking import Mask

POLL_SECONDS = 0.2
BLOCK_BYTES = 1 << 18
LONGEST_BYTES = 1 << 20
"""A line that is longer, and has not ended yet, is read in pieces."""
RUNAWAY_TIMES = 4
GAP = "... lines are missing here: the log was continued in fresh files faster than it could be read ..."


def is_runaway(path: Path, max_bytes: int) -> bool:
    """Whether a subprocess floods the log: it, or the file before it, has four times the size at which it is continued.

    Only Python code under `take_over` begins a fresh file. False where `max_bytes` is 0.
    """
    return max_bytes > 0 and any(_size(file) > RUNAWAY_TIMES * max_bytes for file in (path, rotated(path)))


def tail(path: Path, size: int, *, secrets: Iterable[str] = ()) -> list[Line]:
    """The last lines of a log, of at most `size` bytes in all; none when there is no such file. Secrets are masked."""
    follower = Follower(path, secrets=secrets, window=size)
    try:
        return [*follower.read(), *follower.rest()]
    finally:
        follower.close()


def follow(
    path: Path, *, is_over: Callable[[], bool] | None = None, secrets: Iterable[str] = (), last: int | None = None
) -> Iterator[Line]:
    """Every line that is in the log, and then each that comes, until `is_over`. Waits for a file that is not there yet.

    Looks five times a second. Of the lines that are there at first only the `last` are given, all when it is None.
    """
    follower = Follower(path, secrets=secrets)
    try:
        while True:
            # Asked before the look: what was written before the end is read then.
            over = is_over is not None and is_over()
            lines = chain(follower.read(), follower.rest() if over else ())
            yield from lines if last is None else deque(lines, maxlen=last)
            if over:
                return
            last = None
            time.sleep(POLL_SECONDS)
    finally:
        follower.close()


class Follower:
    """A place in a log. `read` goes on from there.

    Args:
        secrets: are masked.
        window: when more bytes than that were not read yet, all but the last of them are skipped.
    """

    def __init__(self, path: Path, *, secrets: Iterable[str] = (), window: int | None = None) -> None:
        self._path = path
        self._mask = Mask(secrets)
        self._window = window
        self._files: list[_File] = []

    def read(self) -> Iterator[Line]:
        """The lines that have ended since the last call. It ends at what is there now.

        Raises:
            OSError: the file is there and cannot be read.
        """
        self._look()
        self._skip()
        for file in self._files:
            if file.follows_a_gap:
                file.follows_a_gap = False
                yield Line(GAP)
            for line in file.lines(self._mask):
                yield from self._lines(line)
        # The last file but one may still grow: a subprocess that was started early writes to it.
        for file in self._files[:-2]:
            file.close()
        del self._files[:-2]

    def rest(self) -> Iterator[Line]:
        """The last line, as far as it goes: it has not ended."""
        for file in self._files:
            if file.rest:
                yield from self._lines(bytes(file.rest))

    def close(self) -> None:
        for file in self._files:
            file.close()
        self._files.clear()

    def _lines(self, line: bytes) -> Iterator[Line]:
        for text, at, level in parse(line):
            yield Line(self._mask(text).decode("utf-8", "replace"), at, level)

    def _look(self) -> None:
        """Open what is there and not open yet: usually nothing, after one `stat`."""
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return
        if not any(file.is_the(now) for file in self._files):
            # The newer one first: if it is moved aside in between it is found twice, and the next look finds more.
            newer, older = _File.open(self._path), _File.open(rotated(self._path))
            if self._files and older is not None and not any(known.is_the(older.about) for known in self._files):
                older.follows_a_gap = True
            for file in (older, newer):
                if file is not None and not any(known.is_the(file.about) for known in self._files):
                    self._files.append(file)
                elif file is not None:
                    file.close()

    def _skip(self) -> None:
        if self._window is not None:
            room = self._window
            for file in reversed(self._files):
                room -= file.skip(room)


class _File:
    """An open file, and the beginning of a line that was read from it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.about = os.fstat(handle)
        self._place = 0
        self._is_inside_a_line = False
        self.rest = bytearray()
        self.follows_a_gap = False
        """A whole file came and went between this one and the one that was read before it."""

    @classmethod
    def open(cls, path: Path) -> _File | None:
        try:
            return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return None

    def is_the(self, about: os.stat_result) -> bool:
        return os.path.samestat(self.about, about)

    def close(self) -> None:
        os.close(self._handle)

    def skip(self, room: int) -> int:
        """Leave out all but the last `room` bytes of what was not read yet; how many are left."""
        waiting = max(0, os.fstat(self._handle).st_size - self._place)
        if waiting > room:
            self._place += waiting - room
            # Nobody can tell whether a line begins exactly here, but for the byte before.
            self._is_inside_a_line = os.pread(self._handle, 1, self._place - 1) != b"\n"
            self.rest.clear()
        return min(waiting, room)

    def lines(self, mask: Mask) -> Iterator[bytes]:
        if os.fstat(self._handle).st_size < self._place:  # Somebody cut it off: it begins again.
            self._place, self._is_inside_a_line = 0, False
            self.rest.clear()
        while block := os.pread(self._handle, BLOCK_BYTES, self._place):
            self._place += len(block)
            ended, newline, rest = block.rpartition(b"\n")
            if newline:
                first, *others = (bytes(self.rest) + ended).split(b"\n")
                self.rest = bytearray(rest)
                if not self._is_inside_a_line:
                    yield first
                self._is_inside_a_line = False
                yield from others
            elif not self._is_inside_a_line:
                self.rest += rest
            if len(self.rest) > LONGEST_BYTES:
                yield self._piece(mask)

    def _piece(self, mask: Mask) -> bytes:
        """As much of a line that does not end as holds whole characters, and no beginning of a secret."""
        size = len(self.rest) - mask.begun(bytes(self.rest))
        while size > 1 and self.rest[size - 1] & 0xC0 == 0x80:
            size -= 1
        if size > 1 and self.rest[size - 1] >= 0xC0:
            size -= 1
        piece, self.rest = bytes(self.rest[:size]), self.rest[size:]
        return piece


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
