"""An alert's own page: what it is, since when, what is behind it, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message

from quarterdeck_console.formatting import Page
from quarterdeck_console.keymap import ALERT, Key, bindings, by_id
from quarterdeck_console.reacting import reaction_lines
from quarterdeck_console.reading import Reader
from quarterdeck_console.screens import alert_text, plot
from quarterdeck_console.screens.pane import Pane
from quarterdeck_console.screens.view import View
from quarterdeck_console.themes import MUTED
from quarterdeck_console.widgets.table import Row
from quarterdeck_console.widgets.text_view import TextView

if TYPE_CHECKING:
    from quarterdeck.deployments.analysis import RollbackPlan
    from quarterdeck.monitoring.incident import Incident
    from quarterdeck.monitoring.portrait import Portrait
    from quarterdeck.monitoring.queries import AlertRow, ResultRow
    from quarterdeck.monitoring.timeline import Timeline
    from quarterdeck.settings.monitoring import MonitorSettings
    from quarterdeck.workspace import Workspace

WINDOWS = 12
READ_WINDOWS = 200
Portraits = dict[str, "Portrait"]


@dataclass(frozen=True, slots=True)
class Picture:
    """All that the page shows, but for the rows of the window."""

    row: AlertRow
    settings: MonitorSettings | None
    incident: Incident
    timeline: Timeline
    windows: tuple[ResultRow, ...]
    """Of the alert's own aspect, where it has a figure over windows; oldest first."""
    plan: RollbackPlan | str | None
    """None for a resolved alert: there is nothing to mend."""
    reactions: tuple[str, ...]
    """A line for each policy that follows it."""


def read_picture(workspace: Workspace, alert_id: int) -> Picture:
    """Runs in a thread."""
    from quarterdeck.deployments import analysis
    from quarterdeck.errors import QuarterdeckError
    from quarterdeck.monitoring.incident import incident
    from quarterdeck.monitoring.queries import alert, results
    from quarterdeck.monitoring.timeline import timeline

    row = alert(workspace, alert_id)
    windows: list[ResultRow] = []
    if row.kind in (*alert_text.METRICS, "predictions"):
        found = results(workspace, monitor=row.monitor, limit=READ_WINDOWS)
        windows = [window for window in found if window.served and window.aspect == row.kind][:WINDOWS]
    plan: RollbackPlan | str | None = None
    if row.state != "resolved":
        try:
            plan = analysis.plan(workspace, row.deployment, alert=alert_id)
        except QuarterdeckError as error:
            plan = str(error)
    return Picture(
        row=row,
        settings=workspace.settings.monitors.get(row.monitor),
        incident=incident(workspace, alert_id),
        timeline=timeline(workspace, alert_id),
        windows=tuple(reversed(windows)),
        plan=plan,
        reactions=tuple(reaction_lines(workspace, alert_id)),
    )


def read_portraits(workspace: Workspace, alert_id: int) -> Portraits | str:
    """Runs in a thread; a sentence where the rows cannot be compared."""
    from quarterdeck.errors import QuarterdeckError
    from quarterdeck.monitoring.portrait import portraits

    try:
        return portraits(workspace, alert_id)
    except QuarterdeckError as error:
        return str(error)


class AlertText(TextView):
    """The left half: scrolls, takes its partner along, and has the arrows for the columns."""

    BINDINGS = bindings(ALERT)

    class Stepped(Message):
        """Another column is asked for."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def __init__(self, partner: TextView) -> None:
        super().__init__(id="text")
        self._partner = partner

    def action_column(self, by: int) -> None:
        self.post_message(self.Stepped(by))

    def action_move(self, lines: int) -> None:
        super().action_move(lines)
        self._partner.action_move(lines)

    def action_page(self, pages: int) -> None:
        super().action_page(pages)
        self._partner.action_page(pages)

    def action_first(self) -> None:
        super().action_first()
        self._partner.action_first()

    def action_last(self) -> None:
        super().action_last()
        self._partner.action_last()


class AlertView(View):
    """One text on a narrow screen; on a wide one what it is to the left, and what to do about it to the right."""

    # The screen's classes say how large it is, and scoped rules could not see them.
    SCOPED_CSS = False
    DEFAULT_CSS = """
    AlertView Horizontal { height: 1fr; }
    AlertView #text { width: 3fr; height: 1fr; }
    AlertView #beside { width: 2fr; height: 1fr; display: none; border-left: solid #263240; padding: 0 1; }
    .-wide AlertView #beside { display: block; }
    """

    def __init__(self, alert_id: int, *, pane: Pane | None = None, row: Row | None = None) -> None:
        super().__init__()
        self._alert = alert_id
        self._pane, self._row = pane, row
        self._reader, self._rows_reader = Reader(self), Reader(self)
        self._picture: Picture | None = None
        self._portraits: Portraits | str | None = None
        self._drawn_for: object = None
        self._chosen = 0
        self._beside = TextView(id="beside", focusable=False)
        self._text = AlertText(self._beside)

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield self._text
            yield self._beside

    @property
    def crumb(self) -> str:
        return f"alert {self._alert}"

    @property
    def keys(self) -> Sequence[Key]:
        several = ("alert.next_column",) if len(self._columns) > 1 else ()
        return by_id(
            "write.roll_back",
            "write.acknowledge",
            "write.silence",
            "write.comment",
            "row.report",
            *several,
            "text.page_down",
            "go.help",
        )

    @property
    def pane(self) -> Pane | None:
        return self._pane

    @property
    def row(self) -> Row | None:
        return self._row

    @property
    def _columns(self) -> tuple[str, ...]:
        """The columns that can be plotted."""
        if self._picture is None or not isinstance(self._portraits, dict):
            return ()
        return tuple(name for name in self._picture.row.columns if name in self._portraits)

    def take_focus(self) -> None:
        self.screen.set_focus(self._text)

    def on_mount(self) -> None:
        self.stand()

    def on_resize(self) -> None:
        self._draw()

    def reload(self) -> None:
        self._reader.ask("picture", lambda workspace: read_picture(workspace, self._alert), self._show)

    def _show(self, picture: Picture) -> None:
        self._picture = picture
        row = picture.row
        # The window's rows are read again only when the alert is about another window.
        about = (row.last_window_end, row.version, row.columns, row.slice)
        if about != self._drawn_for:
            self._drawn_for = about
            self._rows_reader.ask(about, lambda workspace: read_portraits(workspace, self._alert), self._show_rows)
        self._draw()

    def _show_rows(self, found: Portraits | str) -> None:
        self._portraits = found
        self._draw()
        self.post_message(self.Renamed())

    def on_alert_text_stepped(self, message: AlertText.Stepped) -> None:
        message.stop()
        if len(self._columns) > 1:
            self._chosen = (self._chosen + message.by) % len(self._columns)
            self._draw()
        else:
            self._text.action_move(message.by)

    def _draw(self) -> None:
        picture = self._picture
        if picture is None or not self.is_attached:
            return
        left, right = Page(), Page()
        wide = self.screen.has_class("-wide")
        alert_text.head(left, picture.row)
        alert_text.reactions(left, picture.reactions)
        alert_text.business(left, picture.incident.kpis, picture.row.id)
        self._draw_next(right if wide else left, picture, in_a_line=1 if wide else 2)
        self._draw_evidence(left, picture)
        self._draw_why(right if wide else left, picture)
        self._text.show(left.text)
        self._beside.show(_without_blank(right.text))

    def _draw_next(self, page: Page, picture: Picture, *, in_a_line: int) -> None:
        """What decides at night stands before all that explains it."""
        alert_text.rollback(page, picture.plan)
        alert_text.actions(page, picture.row, in_a_line=in_a_line)

    def _draw_evidence(self, page: Page, picture: Picture) -> None:
        row, columns = picture.row, self._columns
        chosen = columns[self._chosen % len(columns)] if columns else None
        alert_text.evidence(page, row, picture.settings, chosen if len(columns) > 1 else None)
        if isinstance(self._portraits, dict) and chosen is not None:
            plot.portrait(page, self._portraits[chosen])
        elif isinstance(self._portraits, str):
            page.line("").line(f"Not plotted: {self._portraits}", MUTED)
        elif self._portraits is None and row.kind in alert_text.OF_INPUTS:
            page.line("").line("Reading the window ...", MUTED)
        if row.kind in alert_text.METRICS:
            plot.series(page, f"{row.columns[0]} over the last windows", picture.windows, "value", row.columns[0])
        elif row.kind == "predictions":
            title = f"How far {row.columns[0]} moved, over the last windows"
            plot.series(page, title, picture.windows, "effect", row.columns[0])
        plot.timeline(page, picture.timeline)

    def _draw_why(self, page: Page, picture: Picture) -> None:
        alert_text.suspects(page, picture.incident.suspects)
        alert_text.people(page, picture.row)
        alert_text.happened(page, picture.incident)


def _without_blank(text: Text) -> Text:
    """The text without the blank line that stands above its first heading."""
    return text[1:] if text.plain.startswith("\n") else text
