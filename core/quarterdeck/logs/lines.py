"""The lines of a log: a time in UTC, a level and a text; or a text alone, which a subprocess wrote by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

OUT = "OUT"
"""The level of what is written to stdout."""
ERR = "ERR"
"""The level of what is written to stderr, which need not be an error: progress bars are."""
LEVEL_WIDTH = 8
PREFIX = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\S.{7}) ")
PREFIX_LENGTH = 24 + 1 + LEVEL_WIDTH + 1


@dataclass(frozen=True, slots=True)
class Line:
    """One line as people read it."""

    text: str
    time: datetime | None = None
    """None for what a subprocess or a C library wrote to the file by itself; so is the level."""
    level: str | None = None
    """OUT, ERR, or the level of a logging record."""

    def __str__(self) -> str:
        if self.time is None:
            return self.text
        return f"{_moment(self.time)} {self.level or '':<{LEVEL_WIDTH}} {self.text}"


def prefix(level: str) -> bytes:
    """What stands before the text of a line that is written now."""
    return f"{_moment(datetime.now(UTC))} {level:<{LEVEL_WIDTH}.{LEVEL_WIDTH}} ".encode("ascii", "replace")


def visible(line: bytes) -> bytes:
    """What a terminal would show of a line with carriage returns: the last part between them that is not blank."""
    if b"\r" not in line:
        return line
    return next((part for part in reversed(line.split(b"\r")) if part.strip()), b"")


def parse(line: bytes) -> Iterator[tuple[bytes, datetime | None, str | None]]:
    """Text, time and level of a line without its end.

    What a subprocess wrote without ending its line, and the line that was written next, are two.
    """
    match = PREFIX.match(line)
    if match is None and (match := PREFIX.search(line)) is not None:
        yield visible(line[: match.start()]), None, None
    if match is None:
        yield visible(line), None, None
        return
    try:
        time = datetime.fromisoformat(match[1].decode("ascii"))
    except ValueError:  # Somebody's text looks like a time, of a thirteenth month.
        yield visible(line[match.start() :]), None, None
        return
    yield visible(line[match.end() :]), time, match[2].decode("ascii", "replace").strip()


def rotated(path: Path) -> Path:
    """Where the log `path` is kept once it was continued in a fresh file."""
    return path.with_name(f"{path.name}.1")


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
