"""A deployment's business KPIs in a detail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from quarterdeck_console.formatting import Page, clean, day
from quarterdeck_console.themes import MUTED

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace


def newest(page: Page, workspace: Workspace, deployment: str) -> None:
    """The last figure of each KPI, its time, and how often it is fetched; nothing where there is none."""
    from quarterdeck.errors import NotFoundError
    from quarterdeck.monitoring.kpis import figure, kpis

    try:
        found = kpis(workspace, deployment)
    except NotFoundError:
        return
    page.heading("KPIs")
    wide = max(len(clean(row.name)) for row in found)
    for row in found:
        line = Text("no point yet" if row.newest is None else clean(figure(row.newest, row.unit)))
        if row.last is not None:
            line.append(f"  {day(row.last)}", MUTED)
        if row.every is not None:
            line.append(f"  every {row.every}", MUTED)
        page.field(row.name, line, width=max(14, wide))
