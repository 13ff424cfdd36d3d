"""How many predictions a worker has answered, and what became of how many: kept where a kill spares it."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from pathlib import Path

_NAME, _COUNTS = 240, struct.Struct("=QQ")
_RECORD = _NAME + _COUNTS.size
MOST_DEPLOYMENTS = 4096
"""What the file has room for; further ones are counted in memory alone."""


class Tally:
    """Two counters for each deployment, in a file of one worker.

    The file is mapped into memory: counting is no system call, and what was counted stays in the kernel when the
    process is killed. On a full disk the counters are kept in memory alone.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(exist_ok=True)
        self._places: dict[str, int] = {}
        self._counts: dict[str, list[int]] = {}
        self._map = _mapped(file, MOST_DEPLOYMENTS * _RECORD)
        for place in range(0, len(self._map), _RECORD):
            name = bytes(self._map[place : place + _NAME]).rstrip(b"\0").decode(errors="replace")
            if not name:
                break
            self._places[name] = place
            self._counts[name] = list(_COUNTS.unpack_from(self._map, place + _NAME))

    def unsettled(self) -> dict[str, int]:
        """Predictions of which nothing is known: after a start, those that went with the worker that was killed."""
        return {name: answered - settled for name, (answered, settled) in self._counts.items() if answered > settled}

    def answered(self, deployment: str, rows: int) -> None:
        self._add(deployment, 0, rows)

    def settled(self, deployment: str, rows: int) -> None:
        """So many were written down, or written down as lost."""
        self._add(deployment, 1, rows)

    def close(self) -> None:
        self._map.close()

    def _add(self, deployment: str, which: int, rows: int) -> None:
        counts = self._counts.get(deployment)
        if counts is None:
            counts = self._enter(deployment)
        counts[which] += rows
        place = self._places.get(deployment)
        if place is not None:
            _COUNTS.pack_into(self._map, place + _NAME, *counts)

    def _enter(self, deployment: str) -> list[int]:
        place = len(self._places) * _RECORD
        if place + _RECORD <= len(self._map):
            self._places[deployment] = place
            self._map[place : place + _NAME] = deployment.encode()[:_NAME].ljust(_NAME, b"\0")
        counts = self._counts[deployment] = [0, 0]
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
