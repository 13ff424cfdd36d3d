"""The newest events, below every table on a tall screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quarterdeck_console.formatting import moment, text
from quarterdeck_console.history import newest_events
from quarterdeck_console.screens.audit import summary_of
from quarterdeck_console.themes import ACCENT, MUTED
from quarterdeck_console.widgets.table import Column, Row, Table

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace

NEWS_ROWS = 6
NEWS_COLUMNS = (
    Column("TIME", lambda e: text(moment(e.at), MUTED)),
    Column("WHAT", lambda e: text(e.kind)),
    Column("ON", lambda e: text(e.subject, ACCENT)),
    Column("BY", lambda e: text(e.actor, MUTED)),
    Column("", lambda e: text(summary_of(e) or " ", MUTED), least=10),
)


def news_table() -> Table:
    """The place for them: nobody can step into it."""
    table = Table(NEWS_COLUMNS, title="Events", empty="Nothing happened yet.", id="news")
    table.passive, table.can_focus = True, False
    return table


def read_news(workspace: Workspace) -> list[Row]:
    """The last few events, newest first."""
    return [
        Row(f"event/{event.id}", tuple(column.cell(event) for column in NEWS_COLUMNS), event)
        for event in newest_events(workspace, NEWS_ROWS)
    ]
