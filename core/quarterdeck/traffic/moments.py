"""The times that people and other systems send: what they may say, and within which bounds they are believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
AHEAD = timedelta(days=1)
"""How far clocks may differ. Windows are judged up to the newest event time: one far ahead would end all judging."""


def instant(value: Any) -> datetime:
    """`value`, ISO 8601 text or a datetime, in UTC; taken as UTC when it names no zone.

    Raises:
        ValueError: it is something else. The message goes on after the name of the place that holds it.
    """
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        given = f"{value[:60]!r}" if isinstance(value, str) else f"a value of type {type(value).__name__}"
        raise ValueError(f"takes a time as ISO 8601 text, like 2026-01-05T12:00:00Z, not {given}") from None


def moment(value: Any, now: datetime) -> datetime:
    """`value` as `instant` reads it, where it may be the time of something that happened.

    Raises:
        ValueError: it is no time, before 1970, or more than a day after `now`. The message goes on after the name of
            the place that holds it.
    """
    found = instant(value)
    if found < EARLIEST:
        raise ValueError(f"is {found.isoformat()}: a time before 1970 is taken for a mistake")
    if found > now + AHEAD:
        raise ValueError(
            f"is {found.isoformat()}: that is more than a day ahead of now, {now.isoformat('T', 'seconds')}"
        )
    return found
