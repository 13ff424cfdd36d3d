"""How many predictions a worker has answered: kept where a kill spares it."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from quarterdeck.traffic.repetitions import Source

_NAME, _COUNT = 240, struct.Struct("=Q")
_RECORD = _NAME + _COUNT.size
_SOURCE = ("deployment", "version", "variant")
_MARK = b"quarterdeck tally 2 "
MOST_SOURCES = 4096
"""What the file has room for; further ones are counted in memory alone."""


class Tally:
    """A counter for each source of predictions, in a file of one worker.

    The file is mapped into memory: counting is no system call, and what was counted stays in the kernel when the
    process is killed. On a full disk the counters are kept in memory alone.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(exist_ok=True)
        self._places: dict[Source, int] = {}
        self._counts: dict[Source, int] = {}
        self._map = _mapped(file, (1 + MOST_SOURCES) * _RECORD)
        head = bytes(self._map[:_RECORD]).rstrip(b"\0")
        if not head.startswith(_MARK):  # A new file, or one of an earlier form, whose counts say nothing here.
            head = _MARK + uuid4().hex.encode()
            self._map[:] = head.ljust(len(self._map), b"\0")
        self.id = head.removeprefix(_MARK).decode(errors="replace")
        """Of this file: in `traffic.settled` stands under it how many of the answers are written down."""
        for place in range(_RECORD, len(self._map), _RECORD):
            named = bytes(self._map[place : place + _NAME]).rstrip(b"\0").decode(errors="replace").split(" ")
            if len(named) != len(_SOURCE) or not named[1].isdecimal():
                break  # The end, or a file that was damaged: what stands behind is not known then.
            source = named[0], int(named[1]), named[2]
            self._places[source] = place
            (self._counts[source],) = _COUNT.unpack_from(self._map, place + _NAME)

    @property
    def counts(self) -> Mapping[Source, int]:
        """Predictions answered, by whoever had this file."""
        return self._counts

    def answered(self, source: Source, rows: int) -> None:
        count = self._counts.get(source)
        if count is None:
            count = self._enter(source)
        self._counts[source] = count = count + rows
        place = self._places.get(source)
        if place is not None:
            _COUNT.pack_into(self._map, place + _NAME, count)

    def close(self) -> None:
        self._map.close()

    def _enter(self, source: Source) -> int:
        place = (1 + len(self._places)) * _RECORD
        if place + _RECORD <= len(self._map):
            self._places[source] = place
            # None of the three has a space in it, and a deployment's name has at most 100 characters.
            self._map[place : place + _NAME] = " ".join(map(str, source)).encode().ljust(_NAME, b"\0")
        return 0


def _mapped(file: Path, size: int) -> mmap.mmap:
    """The file in memory; memory of no file where the disk has no room for it."""
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(OSError):
            # All of it is there from now on: to write where the disk is full would be a signal, and no error.
            os.posix_fallocate(handle, 0, size)
            return mmap.mmap(handle, size)
    finally:
        os.close(handle)
    return mmap.mmap(-1, size)
