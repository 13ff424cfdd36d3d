"""How many predictions a worker has answered, and what became of how many: kept where a kill spares it."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

_NAME, _COUNTS = 240, struct.Struct("<QQ")
_RECORD = _NAME + _COUNTS.size


class Tally:
    """Two counters for each deployment, in a file of one worker.

    They are written by `pwrite`, which costs a microsecond and stays in the kernel when the process is killed. On a
    full disk they are kept in memory alone.
    """

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(exist_ok=True)
        self._handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._places: dict[str, int] = {}
        self._counts: dict[str, list[int]] = {}
        content = os.pread(self._handle, 1 << 24, 0)
        for place in range(0, len(content) - _RECORD + 1, _RECORD):
            name = content[place : place + _NAME].rstrip(b"\0").decode(errors="replace")
            self._places[name] = place
            self._counts[name] = list(_COUNTS.unpack_from(content, place + _NAME))

    def unsettled(self) -> dict[str, int]:
        """Predictions of which nothing is known: after a start, those that went with the worker that was killed."""
        return {name: answered - settled for name, (answered, settled) in self._counts.items() if answered > settled}

    def answered(self, deployment: str, rows: int) -> None:
        self._add(deployment, 0, rows)

    def settled(self, deployment: str, rows: int) -> None:
        """So many were written down, or written down as lost."""
        self._add(deployment, 1, rows)

    def close(self) -> None:
        os.close(self._handle)

    def _add(self, deployment: str, which: int, rows: int) -> None:
        counts = self._counts.get(deployment)
        if counts is None:
            counts = self._counts[deployment] = [0, 0]
            self._places[deployment] = (len(self._counts) - 1) * _RECORD
        counts[which] += rows
        record = deployment.encode().ljust(_NAME, b"\0")[:_NAME] + _COUNTS.pack(*counts)
        with contextlib.suppress(OSError):
            os.pwrite(self._handle, record, self._places[deployment])
