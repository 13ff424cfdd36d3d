"""Pane 0: the event log, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.text import Text

from quarterdeck_console.formatting import Page, clean, moment, number, raw, text
from quarterdeck_console.history import EventRow, newest_events
from quarterdeck_console.screens.pane import Pane
from quarterdeck_console.themes import ACCENT, MUTED
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.workspace import Workspace

SUMMARY_KEYS = (
    "reason",
    "because",
    "summary",
    "error",
    "judgement",
    "verdict",
    "result",
    "version",
    "pipeline",
    "gate",
    "rows",
    "milliseconds",
)


def summary_of(event: EventRow) -> str:
    """The parts of an event's data that fit on a line."""
    parts = []
    for name in SUMMARY_KEYS:
        value = event.data.get(name)
        if value not in (None, "", [], {}):
            words = number(value)
            parts.append(words if isinstance(value, str) else f"{name} {words}")
    return clean("  ".join(parts))


class AuditPane(Pane):
    name = "audit"
    title = "Audit"
    empty = "No events yet. Everything that changes this workspace is written here."
    keys = ("move.enter", "row.raw", "move.last", "go.filter", "go.command", "go.help")
    columns = (
        Column("ID", lambda e: text(e.id, MUTED), priority=3, right=True),
        Column("TIME", lambda e: text(moment(e.at))),
        Column("BY", lambda e: text(e.actor, MUTED), priority=2),
        Column("WHAT", lambda e: text(e.kind)),
        Column("ON", lambda e: text(e.subject, ACCENT)),
        Column("DETAIL", lambda e: text(summary_of(e) or " ", MUTED), least=10),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[EventRow]:
        return newest_events(workspace, limit)

    def key(self, row: Any) -> str:
        return f"event/{row.id}"

    def detail(self, workspace: Workspace, row: Any) -> Text:
        page = Page().title(row.kind, f"event {row.id}")
        page.field("at", row.at.astimezone().isoformat(timespec="milliseconds"))
        page.field("by", row.actor).field("on", row.subject, ACCENT)
        page.field("digest", row.digest[:16]).field("previous", row.previous[:16])
        if row.data:
            page.heading("Data")
            for line in raw(row.data).splitlines():
                page.line(line)
        return page.text
