"""A clock that another process can set: the machine's time and an offset from a file."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quarterdeck import bootstrap
from quarterdeck.ports import Ports
from quarterdeck.workspace import Workspace

OFFSET_FILE = "clock-offset"


@dataclasses.dataclass(frozen=True)
class SteppedClock:
    """The machine's clock, moved by as many seconds as the file says."""

    file: Path

    def now(self) -> datetime:
        try:
            offset = float(self.file.read_text())
        except (FileNotFoundError, ValueError):
            offset = 0.0
        return datetime.now(UTC) + timedelta(seconds=offset)


def step(root: Path, seconds: float) -> None:
    """Set the clock of the workspace in `root` forth or back."""
    file = root.parent / OFFSET_FILE
    before = float(file.read_text()) if file.exists() else 0.0
    fresh = file.with_suffix(".new")
    fresh.write_text(str(before + seconds))
    fresh.replace(file)


def open_workspace(root: Path) -> Workspace:
    """As the composition root does, with that clock."""
    return bootstrap.open_workspace(root, ports=ports(root))


def ports(root: Path) -> Ports:
    return dataclasses.replace(bootstrap.system_ports(), clock=SteppedClock(root.parent / OFFSET_FILE))
