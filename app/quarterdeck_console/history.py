"""What panes and the command line read of the event log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class EventRow:
    """One thing that happened."""

    id: int
    at: datetime
    actor: str
    kind: str
    subject: str
    data: dict[str, Any]
    previous: str
    digest: str


def newest_events(workspace: Workspace, limit: int) -> list[EventRow]:
    """The newest events, newest first."""
    from quarterdeck.events import newest

    with workspace.state.read() as tx:
        return [
            EventRow(
                id=event.id or 0,
                at=event.at,
                actor=event.actor,
                kind=event.kind,
                subject=event.subject,
                data=dict(event.data),
                previous=event.previous,
                digest=event.digest,
            )
            for event in newest(tx, limit)
        ]
