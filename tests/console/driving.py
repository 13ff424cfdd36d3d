"""Pressing keys and waiting for what they bring."""

from __future__ import annotations

import time
from collections.abc import Callable

from textual.events import Key
from textual.pilot import Pilot
from textual.widget import Widget

from quarterdeck_console.app import QuarterdeckApp
from quarterdeck_console.screens.console import ConsoleScreen
from quarterdeck_console.screens.rollback import RollbackScreen
from quarterdeck_console.widgets.confirm import ConfirmStrip
from quarterdeck_console.widgets.footer import Crumbs
from quarterdeck_console.widgets.table import Row, Table
from quarterdeck_console.widgets.text_view import TextView


async def settled(pilot: Pilot[int], condition: Callable[[], bool], seconds: float = 20) -> None:
    """Let the app work until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the screen did not get there:\n" + words(pilot)
        await pilot.pause(0.02)
    await pilot.pause()


def app_of(pilot: Pilot[int]) -> QuarterdeckApp:
    assert isinstance(pilot.app, QuarterdeckApp)
    return pilot.app


def console_of(pilot: Pilot[int]) -> ConsoleScreen:
    assert isinstance(pilot.app.screen, ConsoleScreen)
    return pilot.app.screen


def table_of(pilot: Pilot[int]) -> Table:
    return console_of(pilot).view.query_one("#table", Table)


def words(pilot: Pilot[int]) -> str:
    """Everything that is written on the screen."""
    lines = []
    for widget in pilot.app.screen.walk_children():
        if isinstance(widget, Widget) and widget.display and not widget.children:
            lines += [widget.render_line(y).text.rstrip() for y in range(widget.size.height)]
    return "\n".join(lines)


def burst(pilot: Pilot[int], *keys: str) -> None:
    """All keys at once, as they arrive over a slow line; `pilot.press` waits after each."""
    for key in keys:
        pilot.app.post_message(Key(key, None))


def said(pilot: Pilot[int]) -> str:
    return " ".join(pilot.app.screen.query_one(Crumbs).words.plain.split())


async def go(pilot: Pilot[int], pane: str) -> Table:
    """Press a pane's digit and wait for its rows."""
    await pilot.press(pane)
    await settled(pilot, lambda: bool(console_of(pilot).view.query("#table")) and table_of(pilot).loaded)
    await settled(pilot, lambda: table_of(pilot).has_focus)
    return table_of(pilot)


async def plan(pilot: Pilot[int], deployment: str, key: str = "R") -> RollbackScreen:
    """Open the plan of a deployment from its pane."""
    table = await go(pilot, "5")
    assert table.move_to(f"deployment/{deployment}")
    await pilot.press(key)
    await settled(pilot, lambda: isinstance(pilot.app.screen, RollbackScreen))
    screen = pilot.app.screen
    assert isinstance(screen, RollbackScreen)
    await settled(pilot, lambda: screen.table.loaded)
    if screen.table.rows:
        await settled(pilot, lambda: bool(screen.query_one("#comparison", TextView).text.plain))
    return screen


def strip_of(pilot: Pilot[int]) -> ConfirmStrip:
    return pilot.app.screen.query_one(ConfirmStrip)


async def listening(pilot: Pilot[int]) -> None:
    """Wait until the confirm strip takes keys."""
    await settled(pilot, lambda: strip_of(pilot).listens)


async def answer(pilot: Pilot[int], key: str) -> None:
    """Wait until the confirm strip takes keys, and press one."""
    await listening(pilot)
    await pilot.press(key)


def current(table: Table) -> Row:
    """The row under the cursor."""
    assert table.current is not None
    return table.current
