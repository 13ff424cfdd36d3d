"""How far in event time the traffic of a deployment was at a moment of the clock."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import Session

from quarterdeck.database import timestamp
from quarterdeck.traffic import segments
from quarterdeck.traffic.segments import Row, rows_here
from quarterdeck.workspace import Workspace

ARRIVALS = 200
"""So many of the newest are looked at: a few late ones among them must not set the clock back."""
SEGMENTS = 3


def event_time_at(workspace: Workspace, deployment: str, at: datetime) -> datetime:
    """`at`, a moment of the clock, as event time: less the lag of what had arrived by then, probes aside.

    The lag is that of the newest event among the last 200 arrivals; before the first arrival it is that of the first.
    Where events arrive as they happen that is `at` itself; where a past is played or delivered in batches it is the
    place in that past. A lag is never negative. `at` where there is no traffic.
    """

    def read(tx: Session) -> list[Row]:
        return _before(workspace, tx, deployment, timestamp(at)) or _first(tx, deployment)

    arrived = segments.snapshot(workspace, read)
    if not arrived:
        return at
    event, received = (datetime.fromisoformat(time) for time in max(arrived))
    return at - max(received - event, timedelta())


def _before(workspace: Workspace, tx: Session, deployment: str, until: str) -> list[Row]:
    """Event time and arrival of the last arrivals before `until`."""
    sql = """
        SELECT event_time, received_at FROM prediction
        WHERE deployment = :deployment AND received_at <= :until AND NOT probe ORDER BY received_at DESC LIMIT :limit
    """
    found = rows_here(tx, sql, {"deployment": deployment, "until": until, "limit": ARRIVALS})
    newest = f"first_received <= :until ORDER BY last_received DESC LIMIT {SEGMENTS}"
    for segment in segments.find(tx, deployment, newest, until=until):
        if segment.last_received <= until:
            found.append((segment.last_event, segment.last_received))
        else:
            span = {"received_at": (segment.first_received, until)}
            found += segments.rows_of(workspace, segment, ("event_time", "received_at"), between=span)
    return sorted(found, key=lambda row: row[1])[-ARRIVALS:]


def _first(tx: Session, deployment: str) -> list[Row]:
    sql = """
        SELECT event_time, received_at FROM prediction
        WHERE deployment = :deployment AND NOT probe ORDER BY received_at LIMIT 1
    """
    found = rows_here(tx, sql, {"deployment": deployment})
    for segment in segments.find(tx, deployment, "1 ORDER BY first_received LIMIT 1"):
        found.append((segment.first_event, segment.first_received))
    return sorted(found, key=lambda row: row[1])[:1]
