"""Pane 4: alerts, worst first, and the evidence of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck_console.formatting import DASH, Page, clean, day, moment, number, state, text
from quarterdeck_console.reacting import reaction_lines
from quarterdeck_console.screens.pane import Pane, RollbackTarget, TextPage
from quarterdeck_console.themes import ACCENT, BAD, FAINT, GOOD, MUTED, WARN
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.monitoring.incident import Incident
    from quarterdeck.monitoring.queries import AlertRow, ResultRow
    from quarterdeck.workspace import Workspace

WINDOWS = 12
METRICS = ("quality", "estimate")
"""Kinds that are about one metric, and not about columns."""
ASPECTS = {kind: kind for kind in (*METRICS, "predictions")}
"""Which windows tell of an alert's kind: those of inputs where it is not said here."""
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
    keys = ("move.enter", "write.roll_back", "write.acknowledge", "row.describe", "go.filter", "go.command", "go.help")
    columns: ClassVar[tuple[Column, ...]] = (
        Column("ID", lambda r: text(r.id, MUTED), right=True, priority=3),
        Column("SEVERITY", lambda r: state(r.severity)),
        Column("DEPLOYMENT", lambda r: text(f"{r.deployment} v{r.version}", ACCENT), least=8),
        Column("KIND", lambda r: text(r.kind)),
        Column("COLUMNS", lambda r: text(", ".join(r.columns)), least=8),
        Column("IN", lambda r: text(r.slice or " ", WARN), priority=2),
        Column("SINCE", lambda r: text(day(r.onset)), priority=2),
        Column("SCORE", lambda r: text(number(r.score)), right=True, priority=4),
        Column("STATE", lambda r: _state(r), priority=2),
        Column("SUMMARY", lambda r: text(r.summary, MUTED), priority=6, least=20),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[AlertRow]:
        return read_alerts(workspace)

    def key(self, row: Any) -> str:
        return f"alert/{row.id}"

    def dim(self, row: Any) -> bool:
        return bool(row.state == "resolved")

    def enter(self, row: Any) -> TextPage:
        def read(workspace: Workspace) -> Text:
            from quarterdeck.monitoring.queries import alert

            return self.detail(workspace, alert(workspace, row.id))

        return TextPage(f"alert {row.id}", read)

    def alert(self, row: Any) -> int | None:
        return int(row.id)

    def deployment(self, row: Any) -> str | None:
        return None if row is None else str(row.deployment)

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget:
        return RollbackTarget(row.deployment, alert=row.id)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        from quarterdeck.monitoring.incident import incident
        from quarterdeck.monitoring.queries import results

        page = Page().title(row.summary, state(row.severity))
        page.field("deployment", f"{row.deployment} v{row.version}", ACCENT).field("monitor", row.monitor)
        page.field("kind", row.kind).field("columns", ", ".join(row.columns))
        page.field("slice", row.slice, WARN).field("since", f"{day(row.onset)} (event time)")
        page.field("state", _state(row)).field("opened", moment(row.opened_at))
        if row.resolved_at:
            page.field("resolved", moment(row.resolved_at))
        if row.reopened:
            page.field("came back", "once" if row.reopened == 1 else f"{row.reopened} times")
        if row.silenced_until:
            page.field("tells nobody", f"until {moment(row.silenced_until)}", WARN)
        page.field("owner", row.owner).field("runbook", row.runbook, ACCENT).field("ticket", row.ticket, ACCENT)
        if row.acknowledged_by:
            page.field("taken on by", f"{row.acknowledged_by}: {row.judgement}")
        page.field("report", f"quarterdeck report {row.id}" if row.report else "being made, or not needed")
        for line in reaction_lines(workspace, row.id):
            page.field("reaction", line)
        _evidence(page, row)
        windows = results(workspace, monitor=row.monitor, limit=200)
        _timeline(page, row, [w for w in windows if _about(w, row)][:WINDOWS])
        _happened(page, incident(workspace, row.id))
        page.line("").line(
            "R asks whether a rollback would help, before anything changes. A takes the alert on; :silence 2h REASON "
            "lets it rest, :note TEXT writes something down.",
            MUTED,
        )
        return page.text


def _evidence(page: Page, row: AlertRow) -> None:
    page.heading("Evidence in the newest window")
    for column, score in row.evidence.items():
        if not isinstance(score, dict):
            page.field(column, number(score))
            continue
        page.line(clean(column), "bold")
        for name, value in score.items():
            if isinstance(value, str | int | float) and name != "column":
                page.field(f"  {name.replace('_', ' ')}", number(value))


def _happened(page: Page, found: Incident) -> None:
    """What happened to it, and around it."""
    page.heading("What happened")
    for one in found.timeline:
        words = Text.assemble((f"{moment(one.at):<17} ", MUTED), (f"{clean(one.actor):<10} ", MUTED))
        page.line(words.append(clean(one.what), "" if one.own else MUTED))


def _about(window: ResultRow, row: AlertRow) -> bool:
    return window.served and window.aspect == ASPECTS.get(row.kind, "inputs")


def _timeline(page: Page, row: AlertRow, windows: list[ResultRow]) -> None:
    """One line for each window, oldest first: what it said about the first column of the alert."""
    page.heading("Windows, oldest first")
    if not windows:
        page.line("None was judged yet.", MUTED)
    figures = [(window, _figure(window, row)) for window in reversed(windows)]
    largest = max((abs(figure) for _, figure in figures if figure is not None), default=0.0)
    for window, figure in figures:
        bar = round(12 * abs(figure) / largest) if figure is not None and largest else 0
        line = Text.assemble((f"{day(window.window_start):<17}", MUTED), (f"v{window.version:<3} ", ACCENT))
        line.append_text(state(window.verdict)).append(" " * max(1, 15 - len(window.verdict)))
        line.append("█" * bar, BAD if window.verdict == "found" else GOOD).append(" ")
        line.append(number(figure) if figure is not None else DASH, "" if figure is not None else FAINT)
        page.line(line.append(f"  n={window.n_current:,}", MUTED))


def _figure(window: ResultRow, row: AlertRow) -> float | None:
    for score in window.scores:
        if row.kind in METRICS:
            return score.get("value")
        if score.get("column", score.get("name")) == (row.columns[0] if row.columns else None):
            value = score.get("effect", score.get("distance"))
            return None if value is None else float(value)
    return None


def _state(row: AlertRow) -> Text:
    style = {"open": BAD, "acknowledged": WARN, "silenced": MUTED, "resolved": GOOD}.get(row.state, "")
    words = f"{row.state}: {row.judgement}" if row.judgement and row.state == "acknowledged" else row.state
    return text(words, MUTED if row.severity == "informational" and row.state == "open" else style)
