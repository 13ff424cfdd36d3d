"""Pane 1: pipelines, models, alerts and deployments on one screen, worst first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Grid

from quarterdeck_console.formatting import bars, moment, state, text
from quarterdeck_console.keymap import Key, by_id
from quarterdeck_console.reading import Reader
from quarterdeck_console.screens import alert_text
from quarterdeck_console.screens.alerts import AlertsPane, read_alerts
from quarterdeck_console.screens.deployments import DeploymentsPane, Served, rate, read_served
from quarterdeck_console.screens.pane import Pane
from quarterdeck_console.screens.pipelines import PipelinesPane, next_tick
from quarterdeck_console.screens.registry import RegistryPane, gate, newest
from quarterdeck_console.screens.view import View
from quarterdeck_console.themes import ACCENT, BAD, BUSY, FAINT, MUTED, STRONG, WARN
from quarterdeck_console.widgets.filter import matcher, nothing_passes
from quarterdeck_console.widgets.line import Line
from quarterdeck_console.widgets.table import Column, Row, Table

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace

FAILED = frozenset({"failed", "lost"})
UNHEALTHY = frozenset({"failed", "withheld"})
"""States of a deployment whose wanted version does not serve."""
PARTS, PART_SECONDS = 10, 6


class PulsePipelines(PipelinesPane):
    columns = (
        Column("PIPELINE", lambda r: text(r.name), least=8),
        Column("LAST RUN", lambda r: state(r.last_state or "never")),
        Column("FINISHED", lambda r: text(moment(r.last_finished)), priority=3),
        Column("NEXT", next_tick, priority=2),
    )
    empty = "No pipelines yet: write pipelines/train.py,\nor see one with `quarterdeck demo`."


class PulseModels(RegistryPane):
    columns = (
        Column("MODEL", lambda r: text(r.name), least=8),
        Column("NEWEST", newest),
        Column("GATE", gate),
        Column("SERVES", lambda r: text(", ".join(r.serving)), priority=2, least=8),
    )
    empty = "No models yet: press E on a pipeline,\nor `quarterdeck adopt model.skops --sample rows.csv`."


class PulseAlerts(AlertsPane):
    columns = (
        Column("ID", lambda r: text(r.id, MUTED), right=True),
        Column("SEVERITY", lambda r: alert_text.severity(r)),
        Column("WHAT", lambda r: alert_text.what(r), least=15, fair=24),
        Column("ON", lambda r: text(f"{r.deployment} v{r.version}", ACCENT), least=8),
        Column("STATE", lambda r: text(r.state, MUTED), priority=3),
    )
    empty = "No open alerts."

    def read(self, workspace: Workspace, limit: int) -> Sequence[Any]:
        return [row for row in read_alerts(workspace) if row.state != "resolved"]


@dataclass(frozen=True, slots=True)
class ServedLately(Served):
    """A deployment, and how its last minute of traffic went."""

    counts: tuple[int, ...]
    """Predictions in each six seconds, oldest first; the last part is not over yet."""


def read_lately(workspace: Workspace) -> list[ServedLately]:
    from quarterdeck.traffic.queries import sparkline

    # Whole parts, so that the line stays as it is between two looks at the same traffic.
    until = datetime.fromtimestamp((workspace.now().timestamp() // PART_SECONDS + 1) * PART_SECONDS, UTC)
    since = until - PARTS * timedelta(seconds=PART_SECONDS)
    return [
        ServedLately(row.deployment, row.traffic, tuple(sparkline(workspace, row.name, since, until, PARTS)))
        for row in read_served(workspace)
    ]


def _traffic(row: ServedLately) -> Text:
    """The last minute as a line of bars, and the rate."""
    words = rate(row)
    words.pad_left(max(0, 6 - len(words)))
    return text(bars(row.counts), MUTED).append_text(words)


class PulseDeployments(DeploymentsPane):
    columns = (
        Column("DEPLOYMENT", lambda r: text(r.name), least=8),
        Column("SERVES", lambda r: text(f"v{r.deployment.version}", ACCENT)),
        Column("STATE", lambda r: state(r.deployment.state)),
        Column("LAST CHANGE", lambda r: text(f"{r.deployment.kind} {moment(r.deployment.changed_at)}"), priority=3),
        Column("TRAFFIC", _traffic, right=True, priority=2),
    )
    empty = "No deployments yet:\n`quarterdeck deploy NAME --model MODEL --version N`."

    def read(self, workspace: Workspace, limit: int) -> Sequence[ServedLately]:
        return read_lately(workspace)


QUARTERS: tuple[Pane, ...] = (PulsePipelines(), PulseModels(), PulseAlerts(), PulseDeployments())


@dataclass(frozen=True, slots=True)
class Pulse:
    tiles: Text
    rows: tuple[list[Row], ...]


def read_pulse(workspace: Workspace) -> Pulse:
    """The four tables, the worst rows first, and the tiles above them."""
    pipelines, models, alerts, deployments = (list(pane.read(workspace, 100)) for pane in QUARTERS)
    pipelines.sort(key=lambda r: (r.last_state not in FAILED, r.last_state != "held", r.name))
    models.sort(key=lambda r: (r.model.newest_gate != "failed", r.name))
    # The alerts are read worst first: what counts is a deployment's first one.
    names = dict.fromkeys(alert.deployment for alert in alerts if alert.severity != "informational")
    troubled = {name: place for place, name in enumerate(names)}
    deployments.sort(key=lambda r: (r.deployment.state not in UNHEALTHY, troubled.get(r.name, len(troubled)), r.name))
    asking = sum(alert.severity != "informational" for alert in alerts)
    tiles = [
        (len({*troubled} | {r.name for r in deployments if r.deployment.state in UNHEALTHY}), "unhealthy", BAD),
        (asking, "alert" if asking == 1 else "alerts", BAD),
        (sum(r.deployment.state == "planned" for r in deployments), "rolling out", BUSY),
        (sum(r.last_state == "held" for r in pipelines), "held by a gate", WARN),
        (sum(r.last_state in FAILED for r in pipelines), "failed", BAD),
        (sum(_overdue(workspace, r) for r in pipelines), "overdue", WARN),
    ]
    line = Text(" ")
    for count, words, style in tiles:
        line.append(f"{count}", f"bold {style}" if count else FAINT).append(f" {words}  ", STRONG if count else MUTED)
    quarters = zip(QUARTERS, (pipelines, models, alerts, deployments), strict=True)
    return Pulse(line, tuple([pane.table_row(row) for row in rows] for pane, rows in quarters))


def _overdue(workspace: Workspace, row: Any) -> bool:
    return row.next_tick is not None and (workspace.now() - row.next_tick).total_seconds() > 60


class PulseView(View):
    """Four tables; Tab moves between them, Enter goes in."""

    # The screen's classes say how large it is, and scoped rules could not see them.
    SCOPED_CSS = False
    DEFAULT_CSS = """
    PulseView { layout: vertical; }
    PulseView Grid { grid-size: 1 4; height: 1fr; }
    PulseView Table { height: 1fr; }
    PulseView #tiles { height: 1; }
    .-wide PulseView Grid { grid-size: 2 2; grid-gutter: 1 2; }
    .-wide PulseView #tiles { height: 2; }
    """
    live_traffic = True

    def __init__(self) -> None:
        super().__init__()
        self._reader = Reader(self)
        self._last = 0
        self._rows: tuple[list[Row], ...] = ([], [], [], [])

    def compose(self) -> ComposeResult:
        yield Line(id="tiles")
        with Grid():
            for index, pane in enumerate(QUARTERS):
                yield Table(pane.columns, title=pane.title, empty=pane.empty, id=f"quarter-{index}")

    @property
    def crumb(self) -> str:
        return "pulse"

    @property
    def keys(self) -> Sequence[Key]:
        own = [key for key in self.pane.keys if key.startswith("write.")]
        return by_id("go.next_table", "move.enter", *own, "go.filter", "go.command", "go.help")

    def _table(self, index: int) -> Table:
        return self.query_one(f"#quarter-{index}", Table)

    @property
    def pane(self) -> Pane:
        return QUARTERS[self._last]

    @property
    def row(self) -> Row | None:
        return self._table(self._last).current

    def on_mount(self) -> None:
        self.stand()

    def on_descendant_focus(self) -> None:
        for index in range(4):
            if self._table(index).has_focus and index != self._last:
                self._last = index

    def take_focus(self) -> None:
        self.screen.set_focus(self._table(self._last))

    def next_table(self, step: int) -> None:
        self._last = (self._last + step) % 4
        self.screen.set_focus(self._table(self._last))

    def reload(self) -> None:
        self._reader.ask("pulse", read_pulse, self._show)

    def _show(self, pulse: Pulse) -> None:
        self.query_one("#tiles", Line).show(pulse.tiles)
        self._rows = pulse.rows
        self._apply()

    def _apply(self) -> None:
        for index, rows in enumerate(self._rows):
            keep = matcher(self.filter_words, [column.title for column in QUARTERS[index].columns])
            filtered = nothing_passes(self.filter_words, len(rows))
            self._table(index).show([row for row in rows if keep(row)], filtered=filtered)

    def set_filter(self, words: str) -> None:
        self.filter_words = words
        self._apply()
