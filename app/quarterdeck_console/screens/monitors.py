"""Pane 9: monitors, what their last windows said, and how often they were right."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck_console.alert_words import UNITS, against_holdout
from quarterdeck_console.formatting import DASH, Page, clean, day, duration, number, state, text
from quarterdeck_console.screens import kpis, window_columns
from quarterdeck_console.screens.alert_text import skewed
from quarterdeck_console.screens.pane import MOVES, Pane, RollbackTarget, TextPage
from quarterdeck_console.themes import ACCENT, BAD, GOOD, MUTED, WARN
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quarterdeck.monitoring.queries import MonitorRow, ResultRow
    from quarterdeck.workspace import Workspace

STRIP = {"quiet": ("●", GOOD), "found": ("✖", BAD), "inconclusive": ("▲", WARN)}
METRICS = ("quality", "estimate")
"""Aspects whose windows have one figure, and not one for each column."""
SIGNALS = ("traffic", "across", "fairness", "skew")
"""Aspects whose windows have a row for each signal."""
HOW = {"cbpe": "from the probabilities alone (CBPE)", "dle": "by a model of the losses (DLE)"}
BLIND = (
    "It cannot see that inputs mean something else now (concept drift), nor judge regions that the holdout never saw."
)
DETECTORS = {"adwin": "ADWIN", "page_hinkley": "Page-Hinkley"}
WINDOWS = 500


def strip(verdicts: Sequence[str]) -> Text:
    """Verdicts as one character each, the newest to the right."""
    line = Text(no_wrap=True)
    for verdict in verdicts:
        line.append(*STRIP.get(verdict, ("·", MUTED)))
    return line if verdicts else text(None)


def precision(row: MonitorRow) -> Text:
    """What people said of its alerts."""
    judged = row.real + row.noise
    if not judged:
        return text(None)
    share = row.real / judged
    return text(f"{share:.0%} of {judged}", GOOD if share >= 0.5 else WARN)


def last(row: MonitorRow) -> Text:
    """The worse one of what was last said of the inputs and of the quality; of one that fails, that it does."""
    if row.failure:
        return text("✖ fails", BAD)
    said = [verdicts[-1] for verdicts in (row.strip, row.quality) if verdicts]
    return state(min(said, key=list(STRIP)[::-1].index)) if said else text(None)


class MonitorsPane(Pane):
    name = "monitors"
    title = "Monitors"
    empty = (
        'No monitors.\n[monitors.NAME] in quarterdeck.toml watches a deployment:\ndeployment = "fraud", window = "1d"'
    )
    keys = MOVES
    columns: ClassVar[tuple[Column, ...]] = (
        Column("MONITOR", lambda r: text(r.name, ACCENT), least=8),
        Column("DEPLOYMENT", lambda r: text(r.deployment), least=8),
        Column("LAST", lambda r: last(r)),
        Column("INPUTS", lambda r: strip(r.strip)),
        Column("QUALITY", lambda r: strip(r.quality), priority=2),
        Column("ALERTS", lambda r: text(r.open_alerts or " ", BAD), right=True),
        Column("REAL", precision, priority=2),
        Column("UNTIL", lambda r: text(day(r.last_window_end) if r.last_window_end else None, MUTED), priority=3),
        Column("LENGTH", lambda r: text(r.window, MUTED), priority=4),
    )

    def read(self, workspace: Workspace, limit: int) -> Sequence[MonitorRow]:
        from quarterdeck.monitoring.queries import monitors
        from quarterdeck.runner.looks import failures

        return monitors(workspace, failures(workspace))

    def key(self, row: Any) -> str:
        return f"monitor/{row.name}"

    def enter(self, row: Any) -> Pane:
        return WindowsPane(row.name)

    def deployment(self, row: Any) -> str | None:
        return None if row is None else str(row.deployment)

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget:
        return RollbackTarget(row.deployment)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        settings = workspace.settings.monitors[row.name]
        page = Page().title(row.name, f"watches {row.deployment}")
        if row.failure:
            page.line(f"It fails: {clean(row.failure)}", BAD)
        unjudged = Text("nobody has judged one yet: A on an alert", MUTED)
        page.field("real alerts", precision(row) if row.real + row.noise else unjudged)
        kpis.newest(page, workspace, row.deployment)
        page.heading("Settings").fields(
            {name: _as_set(value) for name, value in settings.model_dump().items() if value not in (None, (), "")}
        )
        return page.text


def _as_set(value: object) -> object:
    """A setting as quarterdeck.toml has it."""

    from quarterdeck.values import as_written

    if isinstance(value, timedelta):
        return as_written(value)
    if isinstance(value, datetime):
        return day(value)
    return f"[{', '.join(str(one) for one in value)}]" if isinstance(value, tuple) else value


class WindowsPane(Pane):
    name = "windows"
    title = "Windows"
    empty = "No window was judged yet: it has to end first, by the event time of what comes after it."
    keys = ("move.enter", "row.describe", "go.filter", "go.back", "go.help")
    newest_first = True
    columns = (
        Column("FROM", lambda r: text(day(r.window_start))),
        Column("WHAT", lambda r: text(r.aspect)),
        Column("VERSION", lambda r: text(f"v{r.version}", ACCENT if r.served else MUTED)),
        Column("VERDICT", lambda r: state(r.verdict)),
        Column("WORST", lambda r: worst(r), least=16, fair=32),
        Column("ROWS", lambda r: text(number(r.n_current)), right=True),
        Column("LABELLED", lambda r: text(number(r.n_labelled) if r.aspect == "quality" else None), priority=3),
    )

    def __init__(self, monitor: str) -> None:
        self._monitor = monitor

    @property
    def crumb(self) -> str:
        return self._monitor

    def read(self, workspace: Workspace, limit: int) -> Sequence[ResultRow]:
        from quarterdeck.monitoring.queries import results

        return results(workspace, monitor=self._monitor, limit=limit or WINDOWS)

    def key(self, row: Any) -> str:
        return f"window/{self._monitor}/{row.window_start.isoformat()}/{row.aspect}/{row.version}"

    def dim(self, row: Any) -> bool:
        return not row.served

    def enter(self, row: Any) -> TextPage:
        return TextPage(f"{day(row.window_start)} {row.aspect} v{row.version}", lambda workspace: describe(row))

    def detail(self, workspace: Workspace, row: Any) -> Text:
        return describe(row, narrow=True)


def worst(row: ResultRow) -> Text:
    """The column or the signal that stands out most; for quality the metric."""
    from quarterdeck.monitoring.sampled import off

    if not row.scores:
        return text("nothing to compare with" if row.aspect == "inputs" else None, MUTED)
    style = BAD if row.verdict == "found" else ""
    if row.aspect in METRICS:
        score = row.scores[0]
        known = score["value"] is not None and score["baseline"] is not None
        return text(f"{score['metric']} {against_holdout(score['loss']) if known else 'cannot be judged'}", style)
    found = [one["column"] for one in row.scores if one["verdict"] == "drifted"]
    if row.aspect in SIGNALS:
        quiet = f"AUC {number(row.scores[0]['auc'])}" if row.aspect == "across" else "nothing stands out"
        return text(", ".join(found) or quiet, style or MUTED)
    score = max(row.scores, key=lambda one: (one["verdict"] == "drifted", one["effect"]))
    return text(f"{score['column']} {score['effect']:.2g} {UNITS[score['measure']]}{off(score)}", style or MUTED)


def describe(row: ResultRow, *, narrow: bool = False) -> Text:
    """A window with all its figures; `narrow` leaves out those that do not fit beside a table."""
    from quarterdeck.monitoring.sampled import judged_by

    page = Page().title(f"{row.monitor}, {row.aspect} of version {row.version}", state(row.verdict))
    page.field("window", f"{day(row.window_start)} to {day(row.window_end)} (event time)")
    page.field("rows", number(row.n_current))
    if row.n_reference:
        page.field("reference", f"{number(row.n_reference)} rows")
    if judged_by(row.scores):
        page.field("judged by", judged_by(row.scores), WARN)
    if not row.served:
        page.field("served", "no: judged beside, to tell whether going back would help", MUTED)
    if row.aspect in METRICS:
        score = row.scores[0]
        if row.aspect == "quality":
            page.field("labelled", f"{row.n_labelled:,} ({score['coverage']:.0%})")
        else:
            page.field("estimated", HOW[score["how"]]).line(BLIND, WARN)
        _metric(page, score)
        money = score.get("cost")
        if money is not None:
            more = "more" if money["a_day"] >= 0 else "less"
            page.field(
                "costs",
                f"{money['currency']} {abs(money['a_day']):,.0f} a day {more} than on its holdout "
                f"({money['low']:,.0f} to {money['high']:,.0f} more, with 95%)",
            )
        _errors(page, score)
        _reliability(page, score.get("reliability"))
        return page.text
    if row.aspect == "traffic":
        return _traffic(page, row)
    if row.aspect == "across":
        return _across(page, row)
    if row.aspect == "fairness":
        return _fairness(page, row)
    if row.aspect == "skew":
        page.heading("Served, and what the data for training has of the same rows")
        skewed(page, row.scores)
        return page.text
    window_columns.draw(page, row.scores, narrow=narrow)
    return page.text


def _metric(page: Page, score: dict[str, Any]) -> None:
    """A metric with where it lies, and beside its holdout, in words."""
    known = score["value"] is not None
    words = f"{number(score['value'])} (95%: {number(score['low'])} to {number(score['high'])})"
    page.field(score["metric"], words if known else "not defined on these rows")
    if score["baseline"] is None:
        page.field("on its holdout", "not known, so nothing to compare with", MUTED)
    else:
        page.field("on its holdout", number(score["baseline"]) + known * f": {against_holdout(score['loss'])} now")


def _across(page: Page, row: ResultRow) -> Text:
    """What the columns show together."""
    apart, away = row.scores
    interval = f"AUC {number(apart['auc'])} ({number(apart['low'])} to {number(apart['high'])})"
    page.heading("All columns that did not move by themselves, together")
    page.field("told apart", f"{apart['verdict']}: {interval}").field("most by", ", ".join(apart["columns"]))
    distance = f"{number(away['current'])}, {number(away['reference'])} in the reference"
    page.field("off the plane", f"{away['verdict']}: {distance} ({number(away['effect'])} sigma)")
    return page.text


def _fairness(page: Page, row: ResultRow) -> Text:
    """How groups are treated."""
    for one in row.scores:
        page.heading(f"{one['column']}: {one['measure'].replace('_', ' ')}, allowed are {number(one['bound'])}")
        if one["verdict"] == "inconclusive":
            page.line("Fewer than two groups have rows enough to be compared.", MUTED)
            continue
        interval = f"{number(one['difference'])} ({number(one['low'])} to {number(one['high'])})"
        page.field("difference", interval, BAD if one["verdict"] == "drifted" else "")
        rates = sorted(one["rates"].items(), key=lambda pair: -pair[1])
        page.table(("GROUP", one["rate"].upper()), ([name, f"{rate:.1%}"] for name, rate in rates))
    return page.text


def _traffic(page: Page, row: ResultRow) -> Text:
    """Whether what should come comes."""
    page.heading("What comes, and how it was before")
    names = ("SIGNAL", "VERDICT", "NOW", "USUAL")
    page.table(names, ([one["column"], one["verdict"], *_signal(one)] for one in row.scores))
    return page.text


def _signal(score: dict[str, Any]) -> tuple[str, str]:
    """A signal's figure and the usual one, in its own unit."""
    form: Callable[[float], str] = number
    if score["column"] in ("rejections", "errors", "fallbacks"):
        form = "{:.1%}".format
    elif score["column"] == "volume":
        form = "{:,.0f}".format
    else:
        form = duration
    if score["column"] == "silence" and not score["value"]:
        return "none", DASH
    return form(score["value"]), DASH if score["usual"] is None else form(score["usual"])


def _errors(page: Page, score: dict[str, Any]) -> None:
    """Where the answers got worse, and since when."""
    from quarterdeck.monitoring.finding import LOSSES

    if score.get("slice"):
        page.field("worst in", score["slice"], BAD)
    change = score.get("change")
    if change is not None:
        figures = f"{number(change['before'])} on the holdout, {number(change['now'])} in this window"
        page.field("errors", f"rose ({DETECTORS[change['detector']]}) since {change['at'][:16]}: {figures}", WARN)
    if not score.get("slices"):
        return
    page.heading(f"Slices by {LOSSES[score['measure']]}, the gravest first")
    columns: dict[str, Callable[[dict[str, Any]], object]] = {
        "SLICE": lambda one: one["slice"],
        "VERDICT": lambda one: one.get("verdict") or DASH,
        "ROWS": lambda one: number(one["n_current"]),
        "HOLDOUT": lambda one: number(one["before"]),
        "NOW": lambda one: number(one["after"]),
        "Q": lambda one: number(one["q_value"]),
    }
    page.table(columns, ([tell(one) for tell in columns.values()] for one in score["slices"]))


def _reliability(page: Page, found: dict[str, Any] | None) -> None:
    """How often probabilities came true."""
    if found is None:
        return
    words = "calibrated" if found["calibrated"] else "not calibrated"
    page.heading("Probabilities and what came true")
    page.field(
        "error",
        f"{number(found['error'])}, up to {number(found['by_chance'])} by chance: {words}",
        GOOD if found["calibrated"] else WARN,
    )
    columns = {"SAID": "said", "CAME TRUE": "came", "ROWS": "rows"}
    page.table(columns, ([number(one[name]) for name in columns.values()] for one in found["bins"]))
