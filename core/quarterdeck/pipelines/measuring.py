"""What a step costs: wall time, CPU time and peak memory."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")


@dataclass(slots=True)
class Usage:
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0

    @contextlib.contextmanager
    def measured(self) -> Iterator[None]:
        """Add what this process uses while the block runs, all its threads included."""
        # The kernel keeps the highest memory since the process began, unless told to begin anew (proc(5)).
        with contextlib.suppress(OSError):
            _RESET_PEAK.write_text("5")
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall_seconds += time.perf_counter() - wall
            self.cpu_seconds += time.process_time() - cpu
            self.peak_memory_bytes = max(self.peak_memory_bytes, _peak_memory())

    def add_child(self, cpu_seconds: float, peak_memory_bytes: int) -> None:
        """Add what a process used that was started and has ended; its peak stands for the step's."""
        self.cpu_seconds += cpu_seconds
        self.peak_memory_bytes = max(self.peak_memory_bytes, peak_memory_bytes)


def _peak_memory() -> int:
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
