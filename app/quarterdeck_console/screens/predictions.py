"""The predictions of a deployment, newest first; those that one looks for; and one of them, explained."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text

from quarterdeck.errors import UsageError
from quarterdeck_console.formatting import day, moment, number, text
from quarterdeck_console.screens.pane import Pane, RollbackTarget, TextPage
from quarterdeck_console.screens.prediction import PredictionPage, described
from quarterdeck_console.themes import ACCENT, BAD, GOOD, MUTED
from quarterdeck_console.widgets.table import Column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quarterdeck.traffic.queries import PredictionRow, Sought
    from quarterdeck.workspace import Workspace
    from quarterdeck_console.screens.console import ConsoleScreen
    from quarterdeck_console.widgets.table import Row

WHAT = "an id, a key of your own, or a time such as 2026-01-05, 2026-01-05T12:00 or 2026-01-05..2026-01-07"
LONGEST = 16
"""Characters of an id or a key in the crumbs."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


class PredictionsPane(Pane):
    """All of a deployment, or of one revision or version of it."""

    name = "predictions"
    title = "Predictions"
    empty = "No predictions are recorded here yet."
    keys = ("move.enter", "write.roll_back", "row.raw", "row.copy", "go.filter", "go.back", "go.command", "go.help")
    live_traffic = True
    newest_first = True
    columns: ClassVar[tuple[Column, ...]] = (
        Column("RECEIVED", lambda r: text(moment(r.received_at))),
        Column("EVENT TIME", lambda r: text(day(r.event_time)), priority=3),
        Column("VERSION", lambda r: text(f"v{r.version}", ACCENT)),
        Column("PREDICTION", lambda r: text(number(r.prediction))),
        Column("SCORE", lambda r: text(number(r.probabilities[-1]) if r.probabilities else ""), right=True, priority=2),
        Column("LABEL", lambda r: _label(r)),
        Column("MS", lambda r: text(f"{r.latency_ms:.2f}" if r.latency_ms else ""), right=True, priority=4),
        Column("KEY OR ID", lambda r: text(r.key or r.id, MUTED), priority=2, least=8),
        Column("", lambda r: text("probe" if r.probe else " ", MUTED), priority=4),
    )

    def __init__(self, deployment: str, *, revision: int | None = None, version: int | None = None) -> None:
        self._deployment = deployment
        self._revision, self._version = revision, version

    @property
    def crumb(self) -> str:
        if self._revision is not None:
            return f"predictions of revision {self._revision}"
        return "predictions" if self._version is None else f"predictions of v{self._version}"

    def read(self, workspace: Workspace, limit: int) -> Sequence[PredictionRow]:
        from quarterdeck.traffic.queries import Sought, recent

        sought = Sought(revision=self._revision, version=self._version)
        return recent(workspace, self._deployment, limit, sought)

    def key(self, row: Any) -> str:
        return f"prediction/{row.id}"

    def dim(self, row: Any) -> bool:
        return bool(row.probe)

    def deployment(self, row: Any) -> str | None:
        return self._deployment

    def enter(self, row: Any) -> TextPage:
        page = PredictionPage(self._deployment, row)
        name = str(row.key or row.id)
        return TextPage(name if len(name) <= LONGEST else f"{name[:LONGEST]}…", page.read, page.explain)

    def rollback_target(self, workspace: Workspace, row: Any) -> RollbackTarget:
        return RollbackTarget(self._deployment)

    def detail(self, workspace: Workspace, row: Any) -> Text:
        return described(workspace, self._deployment, row)


class FoundPane(PredictionsPane):
    """What `:find` found; it stays as it is."""

    live_traffic = False
    newest_first = False

    def __init__(self, deployment: str, words: str, searches: Sequence[Sought]) -> None:
        super().__init__(deployment)
        self._words, self._searches = words, searches

    @property
    def crumb(self) -> str:
        return f"find {self._words}"

    @property
    def empty(self) -> str:  # type: ignore[override]  # a pane's own words, where others have one for all
        return f"Nothing is recorded for {self._words}.\n:find takes {WHAT}."

    def read(self, workspace: Workspace, limit: int) -> Sequence[PredictionRow]:
        from quarterdeck.traffic.queries import recent

        found = (recent(workspace, self._deployment, limit, sought) for sought in self._searches)
        return next((rows for rows in found if rows), [])


def searches_of(words: str) -> list[Sought]:
    """What `:find WORDS` looks for, one after the other until something is found.

    A time where it reads as one, from first to last as FROM..TO; else an id, then a key. `id:` and `key:` say which.
    """
    from quarterdeck.traffic.queries import Sought

    kind, colon, rest = words.partition(":")
    if colon and kind in ("id", "key") and rest:
        return [Sought(id=rest) if kind == "id" else Sought(key=rest)]
    start, dots, end = words.partition("..")
    first, last = _span(start), _span(end if dots else start)
    if last is not None and (first is not None or not dots):
        return [Sought(start=first[0] if dots and first else None, end=last[1])]
    return [Sought(id=words), Sought(key=words)]


def _span(words: str) -> tuple[datetime, datetime] | None:
    """The day, minute or second that a time names, in UTC: its begin and its end. None where it is no time."""
    from quarterdeck.traffic.moments import instant

    try:
        begin = instant(words.strip()) if _DAY.match(words) else None
    except ValueError:
        return None
    if begin is None:
        return None
    if _DAY.fullmatch(words):
        return begin, begin + timedelta(days=1)
    return begin, begin + timedelta(seconds=1 if begin.second or begin.microsecond else 60)


def list_newest(screen: ConsoleScreen, pane: Pane | None, row: Row | None) -> None:
    """Show the newest predictions of the deployment that the row is about."""
    name = _deployment(screen, pane, row, "v shows")
    if name is not None:
        screen.enter(PredictionsPane(name))


def find(screen: ConsoleScreen, pane: Pane | None, row: Row | None, words: str) -> None:
    """Show what `:find WORDS` finds among all predictions of the deployment that the row is about."""
    if screen.console_app.workspace is None:
        screen.say("The workspace is being opened: one moment.")
        return
    name = _deployment(screen, pane, row, ":find searches")
    if name is None:
        return
    try:
        searches = searches_of(words)
    except UsageError as error:
        screen.say(str(error), bad=True)
        return
    screen.enter(FoundPane(name, words, searches))


def _deployment(screen: ConsoleScreen, pane: Pane | None, row: Row | None, does: str) -> str | None:
    name = pane.deployment(row.source if row else None) if pane is not None else None
    if name is None:
        screen.say(f"{does} the predictions of a deployment: press 5 and choose one.", bad=True)
    return name


def _label(row: Any) -> Text:
    if row.label is None:
        return text(None)
    return text(number(row.label), GOOD if row.label == row.prediction else BAD)
