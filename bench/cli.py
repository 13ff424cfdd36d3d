"""The command line: each time a process of its own, from its start to its end."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.deck import ENVIRONMENT, QUARTERDECK
from bench.rows import Budget, Row

TIMES = 5


def measure() -> list[Row]:
    """`--version`, `--help`, and `status` of a small workspace."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as folder:
        root = Path(folder) / "bench"
        subprocess.run([QUARTERDECK, "init", str(root)], check=True, capture_output=True, env=ENVIRONMENT)
        return [
            _row("--version", ["--version"], 0.3),
            _row("--help", ["--help"], 0.3),
            _row("status", ["-w", str(root), "status"], 1.5),
        ]


def _row(case: str, arguments: Sequence[str], limit: float) -> Row:
    once([QUARTERDECK, *arguments])
    walls, processors = zip(*(once([QUARTERDECK, *arguments]) for _ in range(TIMES)), strict=True)
    note = f"{median(processors):.2f} s of CPU"
    return Row("cli", case, median(walls), "s", Budget("under", limit), note=note)


def once(command: Sequence[str]) -> tuple[float, float]:
    """Run it to its end: seconds, and seconds of CPU."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    # wait4 tells what this one process has used.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return seconds, usage.ru_utime + usage.ru_stime
