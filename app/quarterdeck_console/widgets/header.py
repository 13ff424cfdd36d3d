"""The first line: where am I, as whom, what is open, what is alive. Parts drop from the least important on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from rich.text import Text
from textual import events
from textual.reactive import reactive
from textual.timer import Timer

from quarterdeck_console.formatting import clean
from quarterdeck_console.themes import BAD, BUSY, FAINT, GOOD, MUTED, OTHER_STRIPE, STRIPES, STRONG, WARN
from quarterdeck_console.widgets.line import Line

NAME_CHARACTERS = 20


@dataclass(frozen=True, slots=True)
class Status:
    """What the first line says."""

    environment: str = "development"
    read_only: bool = False
    person: str = ""
    host: str = ""
    workspace: str = ""
    loaded: bool = False
    """False until the engine has answered: nothing may look healthy before it was looked at."""
    last_change: str = ""
    pages: int = 0
    """How many of the alerts page."""
    alerts: int = 0
    operations: int = 0
    jobs: int = 0
    frozen_until: datetime | None = None
    """When the freeze ends by itself, while one is in force."""
    runner: bool | None = None
    workers: int | None = None
    webhooks: tuple[str, ...] = ()
    """Those that take nothing, by name."""
    monitors: tuple[str, ...] = ()
    """Those that fail whenever they look, by name."""
    trouble: str = ""
    """Why the screen may be out of date, and since when."""


class Header(Line):
    """Draws a Status."""

    status: reactive[Status] = reactive(Status(), repaint=False)

    _thaw: Timer | None = None

    def watch_status(self) -> None:
        self._compose_line()
        self._wait_for_thaw()

    def _wait_for_thaw(self) -> None:
        # A freeze ends without anybody writing that down: the line has to look at the clock, once.
        if self._thaw is not None:
            self._thaw.stop()
            self._thaw = None
        if (left := self._frozen_seconds()) > 0:
            self._thaw = self.set_timer(left, self._compose_line)

    def _frozen_seconds(self) -> float:
        until = self.status.frozen_until
        return 0.0 if until is None else (until - datetime.now(UTC)).total_seconds()

    def on_resize(self, event: events.Resize) -> None:
        self._compose_line()

    def _compose_line(self) -> None:
        width = self.size.width
        left, right = self._left(), self._right()
        parts = sorted({priority for priority, _ in left + right}, reverse=True)
        while parts:
            room = width - sum(part.cell_len + 2 for _, part in left + right)
            if room >= 0 or parts[0] <= 1:
                break
            left = [part for part in left if part[0] < parts[0]]
            right = [part for part in right if part[0] < parts[0]]
            parts.pop(0)
        line = Text("")
        for _, part in left:
            line.append_text(part).append("  ")
        end = Text("  ").join([part for _, part in right])
        line.append(" " * max(1, width - line.cell_len - end.cell_len - 1))
        self.show(line.append_text(end).append(" "))

    def _left(self) -> list[tuple[int, Text]]:
        s = self.status
        words, style = STRIPES.get(s.environment, (clean(s.environment).upper(), OTHER_STRIPE))
        stripe = Text(f" {words} ", style)
        if s.read_only:
            stripe.append(" READ-ONLY ", "bold #14181d on #d9a441")
        return [
            (1, stripe),
            (1, Text(clean(s.workspace), STRONG)),
            (6, Text(clean(f"{s.person}@{s.host}"), MUTED)),
        ]

    def _right(self) -> list[tuple[int, Text]]:
        s = self.status
        if s.trouble:
            return [(1, Text(clean(s.trouble), BAD))]
        if not s.loaded:
            return [(1, Text("opening ...", MUTED))]
        parts = [(5, Text(f"changed {s.last_change}", MUTED))] if s.last_change else []
        if self._frozen_seconds() > 0:
            parts.append((1, Text(f"▲ frozen until {_end(s.frozen_until)}", f"bold {WARN}")))
        parts += self._alerts()
        if s.operations:
            parts.append((2, Text(f"◐ {s.operations} rolling out", BUSY)))
        if s.jobs:
            parts.append((4, Text(f"◐ {s.jobs} running", BUSY)))
        # What is down stays on any screen.
        parts.append((1 if s.runner is False else 3, _alive("runner", None if s.runner is None else int(s.runner))))
        parts.append((1 if s.workers == 0 else 2, _alive("gateway", s.workers)))
        if s.monitors:
            parts.append((2, Text(f"✖ {_named('monitor', s.monitors)} fail{'s' * (len(s.monitors) == 1)}", BAD)))
        if s.webhooks:
            parts.append((2, Text(f"✖ {_named('webhook', s.webhooks)} down", BAD)))
        return parts

    def _alerts(self) -> list[tuple[int, Text]]:
        """The gravest stay on any screen; warnings beside pages go with what else is of less weight."""
        s = self.status
        if not s.alerts:
            return [(1, Text("● no alerts", GOOD))]
        pages, warnings = s.pages, s.alerts - s.pages
        parts = [(1, Text(f"✖ {pages} page{'s' * (pages != 1)}", f"bold {BAD}"))] if pages else []
        if warnings:
            parts.append((3 if pages else 1, Text(f"▲ {warnings} warning{'s' * (warnings != 1)}", WARN)))
        return parts


def _end(at: datetime | None) -> str:
    """Clock time to the minute, with the day when that is not today."""
    if at is None:
        return ""
    local = at.astimezone()
    return local.strftime("%H:%M" if local.date() == datetime.now().astimezone().date() else "%m-%d %H:%M")


def _named(kind: str, names: tuple[str, ...]) -> str:
    """The one by its name, or how many there are."""
    return f"{len(names)} {kind}s" if len(names) > 1 else f"{kind} {_short(names[0])}"


def _short(name: str) -> str:
    name = clean(name)
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"


def _alive(name: str, count: int | None) -> Text:
    if count is None:
        return Text(f"○ {name}", FAINT)
    if not count:
        return Text(f"✖ {name} down", BAD)
    return Text(f"● {name}" + (f" x{count}" if count > 1 else ""), GOOD)
