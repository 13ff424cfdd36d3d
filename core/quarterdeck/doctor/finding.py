"""What the doctor says, and the workspace as it is examined: perhaps broken, and never changed by it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sqlalchemy import StaticPool, create_engine
from sqlmodel import Session

from quarterdeck.settings import Settings


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Works, and somebody should look."""
    PROBLEM = "problem"
    """Something is broken, lost, or about to be."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and what to do about it, on one line each."""

    name: str
    state: State
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    state: State
    found: str
    advice: str = ""


def ok(found: str, advice: str = "") -> Outcome:
    return Outcome(State.OK, found, advice)


def warning(found: str, advice: str) -> Outcome:
    return Outcome(State.WARNING, found, advice)


def problem(found: str, advice: str) -> Outcome:
    return Outcome(State.PROBLEM, found, advice)


@dataclass(frozen=True, slots=True)
class Patient:
    """A workspace under examination."""

    root: Path
    folder: Path
    """Its state; it may not be there."""
    settings: Settings
    """The defaults where quarterdeck.toml cannot be read."""
    settings_error: str | None
    full: bool
    """Read everything, however long that takes."""
    now: datetime

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[sqlite3.Connection]:
        """A connection to `state` or `traffic` that leaves no trace, not even SQLite's own files beside it.

        Raises:
            sqlite3.Error: it is not there, or cannot be read.
        """
        path = self.folder / f"{name}.db"
        # Nobody has it open then. Looked at in the usual way, the file would get a log and an index of it.
        log, index = (path.with_name(f"{path.name}-{end}") for end in ("wal", "shm"))
        empty = not log.exists() or (log.stat().st_size == 0 and not index.exists())
        alone = "&immutable=1" if empty else ""
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro{alone}", uri=True, timeout=5)
        try:
            yield connection
        finally:
            connection.close()

    @contextlib.contextmanager
    def session(self, name: str) -> Iterator[Session]:
        """`open`, for what reads rows as entities.

        Raises:
            sqlite3.Error, DBAPIError: it is not there, or cannot be read.
        """
        with self.open(name) as connection:
            engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
            with Session(engine) as tx:
                yield tx


Check = Callable[[Patient], Outcome]


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def some(names: list[str], most: int = 3) -> str:
    """The first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def every_file(root: Path) -> Iterator[Path]:
    """All that is in a folder, at any depth."""
    for place, folders, names in os.walk(root):
        yield from (Path(place) / name for name in (*folders, *names))


def age(path: Path) -> float:
    """Seconds since a file was changed; 0 when it went while we looked."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0
