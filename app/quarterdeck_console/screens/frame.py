"""What every full screen has: the first line, the banner, the confirm strip, crumbs and footer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.screen import Screen
from textual.widget import Widget

from quarterdeck_console.widgets.confirm import ConfirmStrip, Question
from quarterdeck_console.widgets.footer import Crumbs, Footer
from quarterdeck_console.widgets.header import Header, Status
from quarterdeck_console.widgets.line import Line
from quarterdeck_console.widgets.prompt import Prompt

if TYPE_CHECKING:
    from quarterdeck_console.app import QuarterdeckApp


class Frame(Screen[None]):
    """A header above, a footer below, and a body between them."""

    late_tools = False
    """Leave the confirm strip and the prompt out of the first paint: see `mount_tools`."""
    # Textual declares these two as variables of the instance.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (35, "-tall")]  # noqa: RUF012
    DEFAULT_CSS = """
    Frame { background: $background; color: $foreground; layout: vertical; }
    Frame Header { background: #141c26; }
    Frame #banner { background: #1d2b3a; color: $warning; display: none; }
    Frame #body { height: 1fr; }
    Frame Crumbs { background: #141c26; }
    """

    @property
    def console_app(self) -> QuarterdeckApp:
        return cast("QuarterdeckApp", self.app)

    def compose(self) -> ComposeResult:
        yield Header(id="header")
        yield Line(id="banner")
        with Container(id="body"):
            yield from self.body()
        if not self.late_tools:
            yield from self._tools()
        yield Crumbs(id="crumbs")
        yield Footer(id="footer")

    def _tools(self) -> tuple[Widget, ...]:
        return Prompt(id="prompt"), ConfirmStrip(id="strip")

    def mount_tools(self) -> None:
        """Add what nobody can use before the workspace is open, once the first screen has been painted."""
        if not self.query(ConfirmStrip):
            self.mount(*self._tools(), before="#crumbs")

    def body(self) -> Iterable[Widget]:
        """What is between header and footer."""
        return ()

    def show_status(self, status: Status, banner: str | None) -> None:
        self.query_one(Header).status = status
        line = self.query_one("#banner", Line)
        line.display = bool(banner)
        line.show(f" {banner or ''}")

    def say(self, words: str, *, bad: bool = False) -> None:
        """One line for the person, until the next key."""
        self.query_one(Crumbs).say(words, bad=bad)

    def ask(self, question: Question) -> None:
        self.query_one(ConfirmStrip).ask(question)

    @property
    def asking(self) -> bool:
        return any(strip.question is not None for strip in self.query(ConfirmStrip))

    def state_changed(self) -> None:
        """Somebody committed."""

    def traffic_changed(self) -> None:
        """Predictions arrived."""
