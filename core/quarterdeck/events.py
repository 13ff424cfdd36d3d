"""The event table: audit log, news feed and undo history at once, append-only, each row with the hash of the last."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, json_column, time_column, timestamp
from quarterdeck.errors import QuarterdeckError

GENESIS = "0" * 64


class ChainBrokenError(QuarterdeckError):
    """The event chain is broken: a row was changed or removed. Compare with a backup of state.db."""


class Event(Entity, table=True):
    """One thing that happened, written in the transaction that made it happen."""

    __table_args__ = (Index("ix_event_subject", "subject"), Index("ix_event_kind", "kind"))

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=time_column(required=True))
    actor: str
    kind: str
    """What happened, past tense after the noun: `deployment.rolled_back`."""
    subject: str
    """What it happened to, as people type it: `deployment/fraud`."""
    data: dict[str, Any] = Field(sa_column=json_column())
    previous: str = ""
    digest: str = ""

    def computed_digest(self) -> str:
        """SHA-256 over the row's fields and the digest of the row before, as canonical JSON."""
        fields = [self.previous, timestamp(self.at), self.actor, self.kind, self.subject, self.data]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Entry:
    """An event that has no place in the chain yet."""

    at: datetime
    actor: str
    kind: str
    subject: str
    data: Mapping[str, Any] = field(default_factory=dict)


def record(tx: Session, *entries: Entry) -> list[Event]:
    """Append events to the chain, in their order, inside the transaction that makes the changes."""
    last = tx.exec(select(Event.digest).order_by(col(Event.id).desc()).limit(1)).first() or GENESIS
    made: list[Event] = []
    for entry in entries:
        # A round trip through JSON first: what is hashed must be what will be read back.
        data = json.loads(json.dumps(dict(entry.data), default=str))
        event = Event(at=entry.at, actor=entry.actor, kind=entry.kind, subject=entry.subject, data=data)
        event.previous = last
        last = event.digest = event.computed_digest()
        made.append(event)
    tx.add_all(made)
    tx.flush()
    return made


def after(tx: Session, event_id: int, limit: int = 500) -> list[Event]:
    """The events that follow `event_id`, oldest first."""
    return list(tx.exec(select(Event).where(col(Event.id) > event_id).order_by(col(Event.id)).limit(limit)))


def newest(tx: Session, limit: int = 100, subject: str | None = None) -> list[Event]:
    """The newest events, newest first; of one subject when it is given."""
    query = select(Event)
    if subject is not None:
        query = query.where(Event.subject == subject)
    return list(tx.exec(query.order_by(col(Event.id).desc()).limit(limit)))


def last_id(tx: Session) -> int:
    """The id of the newest event, 0 when there is none."""
    return tx.exec(select(Event.id).order_by(col(Event.id).desc()).limit(1)).first() or 0


def verify(tx: Session) -> int:
    """Walk the whole chain and return its length.

    Raises:
        ChainBrokenError: a row does not fit the one before it; the message names the row.
    """
    previous, count, expected_id = GENESIS, 0, 1
    for entry in tx.exec(select(Event).order_by(col(Event.id)).execution_options(yield_per=1000)):
        if entry.previous != previous or entry.computed_digest() != entry.digest or entry.id != expected_id:
            raise ChainBrokenError(
                f"The event chain is broken at event {expected_id}: that row or the one before it was changed "
                "or removed. Compare .quarterdeck/state.db with a backup."
            )
        previous, count, expected_id = entry.digest, count + 1, expected_id + 1
    return count


def current_actor() -> str:
    """The person at the keyboard: behind `sudo` where that can be known, else the process's user."""
    user = os.getuid()
    # Anybody can set the variable; only who is root now can have come by sudo.
    behind = os.environ.get("SUDO_USER") if user == 0 else None
    try:
        return behind or pwd.getpwuid(user).pw_name
    except KeyError:
        return f"uid {user}"
