"""Pane 4: alerts, worst first, and the evidence of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck_console.formatting import Page, text
from quarterdeck_console.reacting import reaction_lines
from quarterdeck_console.screens import alert_text, plot
from quarterdeck_console.screens.pane import AlertPage, Pane, RollbackTarget
from quarterdeck_console.themes import ACCENT, MUTED
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.monitoring.queries import AlertRow
    from quarterdeck.workspace import Workspace

SEVERITIES = {"page": 0, "warning": 1, "informational": 2}


def read_alerts(workspace: Workspace) -> list[AlertRow]:
    """All alerts: those that are open first, worst first; the resolved ones, newest first, after them."""
    from quarterdeck.monitoring.queries import alerts

    found = alerts(workspace, all=True)
    active = [row for row in found if row.state != "resolved"]
    ended = [row for row in found if row.state == "resolved"]
    active.sort(key=lambda row: (SEVERITIES.get(row.severity, 9), -row.score, row.id))
    return active + sorted(ended, key=lambda row: -row.id)


class AlertsPane(Pane):
    name = "alerts"
    title = "Drift & alerts"
    empty = (
        "No alerts.\n"
        "Monitors judge each window once it is complete; [monitors.NAME] in quarterdeck.toml watches a deployment.\n"
        "A window with too little data is inconclusive, never quiet."
    )
    keys = (
        "move.enter",
        "write.roll_back",
        "write.acknowledge",
        "write.silence",
        "row.report",
        "go.filter",
        "go.command",
        "go.help",
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column("ID", lambda r: text(r.id, MUTED), right=True),
        Column("SEVERITY", lambda r: alert_text.severity(r)),
        Column("WHAT", lambda r: alert_text.what(r, beside_cost=True), least=15, fair=30),
        Column("ON", lambda r: text(f"{r.deployment} v{r.version}", ACCENT), least=8, fair=16),
        Column("SINCE", lambda r: alert_text.since(r)),
        Column("SURE", lambda r: alert_text.sure(r)),
        Column("COSTS", lambda r: alert_text.cost(r), least=9, fair=20),
        Column("STATE", lambda r: alert_text.standing(r), priority=3),
        Column("KIND", lambda r: text(r.kind), priority=5),
        Column("SUMMARY", lambda r: text(r.summary, MUTED), priority=6, least=20),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[AlertRow]:
        return read_alerts(workspace)

    def key(self, row: Any) -> str:
        return f"alert/{row.id}"

    def dim(self, row: Any) -> bool:
        return bool(row.state == "resolved")

    def enter(self, row: Any) -> AlertPage:
        return AlertPage(row.id)

    def alert(self, row: Any) -> int | None:
        return int(row.id)

    def deployment(self, row: Any) -> str | None:
        return None if row is None else str(row.deployment)

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget:
        return RollbackTarget(row.deployment, alert=row.id)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        from quarterdeck.monitoring.incident import incident
        from quarterdeck.monitoring.timeline import timeline

        page = Page()
        found = incident(workspace, row.id)
        alert_text.head(page, row)
        alert_text.reactions(page, reaction_lines(workspace, row.id))
        alert_text.business(page, found.kpis, row.id)
        alert_text.evidence(page, row, None, narrow=True)
        alert_text.suspects(page, found.suspects)
        plot.timeline(page, timeline(workspace, row.id), width=plot.NARROW)
        alert_text.people(page, row)
        alert_text.happened(page, found)
        return page.text
