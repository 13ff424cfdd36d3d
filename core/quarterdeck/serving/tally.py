"""How many predictions a worker has answered, and what became of how many: kept where a kill spares it."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path

from quarterdeck.traffic.repetitions import Source

_NAME, _COUNTS = 240, struct.Struct("=QQ")
_RECORD = _NAME + _COUNTS.size
_SOURCE = ("deployment", "version", "variant")
MOST_SOURCES = 4096
"""What the file has room for; further ones are counted in memory alone."""


class Tally:
    """Two counters for each source of predictions, in a file of one worker.

    The file is mapped into memory: counting is no system call, and what was counted stays in the kernel when the
    process is killed. On a full disk the counters are kept in memory alone.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(exist_ok=True)
        self._places: dict[Source, int] = {}
        self._counts: dict[Source, list[int]] = {}
        self._map = _mapped(file, MOST_SOURCES * _RECORD)
        for place in range(0, len(self._map), _RECORD):
            named = bytes(self._map[place : place + _NAME]).rstrip(b"\0").decode(errors="replace").split(" ")
            if len(named) != len(_SOURCE) or not named[1].isdecimal():
                break  # The end, or a file that was damaged: what stands behind is not known then.
            source = named[0], int(named[1]), named[2]
            self._places[source] = place
            self._counts[source] = list(_COUNTS.unpack_from(self._map, place + _NAME))

    def unsettled(self) -> dict[Source, int]:
        """Predictions of which nothing is known: after a start, those that went with the worker that was killed."""
        return {source: counts[0] - counts[1] for source, counts in self._counts.items() if counts[0] > counts[1]}

    def answered(self, source: Source, rows: int) -> None:
        self._add(source, 0, rows)

    def settled(self, source: Source, rows: int) -> None:
        """So many were written down, or written down as lost."""
        self._add(source, 1, rows)

    def close(self) -> None:
        self._map.close()

    def _add(self, source: Source, which: int, rows: int) -> None:
        counts = self._counts.get(source)
        if counts is None:
            counts = self._enter(source)
        counts[which] += rows
        place = self._places.get(source)
        if place is not None:
            _COUNTS.pack_into(self._map, place + _NAME, *counts)

    def _enter(self, source: Source) -> list[int]:
        place = len(self._places) * _RECORD
        if place + _RECORD <= len(self._map):
            self._places[source] = place
            # None of the three has a space in it, and a deployment's name has at most 100 characters.
            self._map[place : place + _NAME] = " ".join(map(str, source)).encode().ljust(_NAME, b"\0")
        counts = self._counts[source] = [0, 0]
        return counts


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
