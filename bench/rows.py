"""What a benchmark reports: one row for each figure, with its budget and the peer beside it."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Literal

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "bench" / "results.json"
RATE = "/s"
"""The unit of figures of which more is better."""
HEADINGS = ("BENCH", "CASE", "OURS", "PEER", "RATIO", "BUDGET", "MET", "NOTE")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure has to keep to, in the row's unit."""

    bound: Literal["under", "at most", "at least"]
    limit: float

    def allows(self, value: float) -> bool:
        match self.bound:
            case "under":
                return value < self.limit
            case "at most":
                return value <= self.limit
            case "at least":
                return value >= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `ours` is None when it could not be measured, which keeps no budget; `note` says why."""

    bench: str
    case: str
    ours: float | None
    unit: str
    budget: Budget | None = None
    peer: str | None = None
    theirs: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times better we are: the peer needs more, or has a lower rate. None without a peer, and by zero."""
        if not self.theirs or not self.ours:
            return None
        return self.ours / self.theirs if self.unit == RATE else self.theirs / self.ours

    @property
    def met(self) -> bool:
        """Whether the budget is kept; a row without one is there to be read."""
        return self.budget is None or (self.ours is not None and self.budget.allows(self.ours))

    @property
    def budget_text(self) -> str | None:
        return None if self.budget is None else f"{self.budget.bound} {_with_unit(self.budget.limit, self.unit)}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "bench": self.bench,
            "case": self.case,
            "ours": self.ours,
            "unit": self.unit,
            "peer": self.peer,
            "theirs": self.theirs,
            "ratio": self.ratio,
            "budget": self.budget_text,
            "met": self.met,
            "note": self.note,
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of `values` do not exceed: with few values the largest one."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def middle(values: Sequence[float | None]) -> float | None:
    """The median; None when any of the measurements failed."""
    known = [value for value in values if value is not None]
    return median(known) if known and len(known) == len(values) else None


def circumstances() -> dict[str, Any]:
    """The machine with its load at this moment, the date, and the commit: what a figure is worth depends on them."""
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "processor": _processor(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "python": platform.python_version(),
            "load": round(os.getloadavg()[0], 2),
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
    }


def append(rows: Sequence[Row], around: dict[str, Any], path: Path = RESULTS) -> None:
    """Append one JSON object for each row, one to a line."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps({**row.as_dict(), **around}) + "\n" for row in rows)


def as_table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cells(row: Row) -> tuple[str, ...]:
    theirs = "-" if row.theirs is None else f"{row.peer} {_with_unit(row.theirs, row.unit)}"
    return (
        row.bench,
        row.case,
        "-" if row.ours is None else _with_unit(row.ours, row.unit),
        theirs,
        "-" if row.ratio is None else f"{row.ratio:.1f}",
        row.budget_text or "-",
        "-" if row.budget is None else ("yes" if row.met else "NO"),
        row.note,
    )


def _with_unit(value: float, unit: str) -> str:
    number = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number} {unit}" if unit else number


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str | None:
    """The commit, with a plus sign when the files differ from it; None outside a repository."""
    try:
        commit = _git("rev-parse", "--short", "HEAD")
        return commit + ("+" if _git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
