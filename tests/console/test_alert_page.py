"""An alert's own page: its line, evidence, plot, timeline, suspects, the answer about a rollback, and its report."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot

from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.queries import alert, alerts
from quarterdeck.monitoring.reporting import make_report
from quarterdeck.traffic.series import add_points
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens import reports
from quarterdeck_console.screens.alert_view import AlertView
from quarterdeck_console.screens.console import ConsoleScreen
from quarterdeck_console.screens.rollback import RollbackScreen
from quarterdeck_console.widgets.footer import Footer
from quarterdeck_console.widgets.prompt import Prompt
from quarterdeck_console.widgets.text_view import TextView
from tests.console.conftest import Console
from tests.console.driving import answer, console_of, go, said, settled, table_of, words
from tests.console.seeding import add_runner, clock_of
from tests.waiting import wait_for
from tests.watched import HOUR, START, close, label, rows, send, serve, watch


@pytest.fixture
def drifted(empty: Workspace) -> Workspace:
    """Both `amount` and `age` of deployment `d` moved in the third window, in every channel; version 2 serves it."""
    deck = watch(empty, tolerance=0.5)
    serve(deck, rows(1000, seed=1), importances={"amount": 0.8, "age": 0.2, "channel": 0.0}, metrics={"roc_auc": 0.8})
    clock = clock_of(deck)
    clock.advance(minutes=1)
    send(deck, rows(300, seed=2), 0)
    clock.advance(minutes=1)
    serve(deck, rows(1000, seed=3), importances={"amount": 0.8, "age": 0.2, "channel": 0.0}, metrics={"roc_auc": 0.8})
    for window in range(1, 3):
        clock.advance(minutes=1)
        moved = rows(300, seed=10 + window, shift=40)
        moved["age"] += 30
        ids = send(deck, moved, window, version=2, scores=np.tile([0.2, 0.8, 0.4], 100))
        label(deck, ids, [int(value) for value in np.tile([0, 1, 1], 100)])
    clock.advance(minutes=1)
    close(deck, 2)
    evaluate(deck, "m")
    (row,) = alerts(deck)
    assert (row.kind, row.columns) == ("drift", ("amount", "age"))
    return deck


def page_of(pilot: Pilot[int]) -> str:
    """All that the page says, whether it fits the screen or not."""
    view = console_of(pilot).view
    assert isinstance(view, AlertView)
    return "\n".join(part.text.plain for part in view.query(TextView))


def footer_of(pilot: Pilot[int]) -> list[str]:
    return re.split(r" {2,}", pilot.app.screen.query_one(Footer).words.plain.strip())


async def open_page(pilot: Pilot[int]) -> None:
    await go(pilot, "4")
    await pilot.press("enter")
    await settled(pilot, lambda: isinstance(console_of(pilot).view, AlertView) and "Suspects" in page_of(pilot))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_the_line_says_what_since_when_how_sure_and_what_it_costs(
    drifted: Workspace, console: Console, size: tuple[int, int]
) -> None:
    async with console(drifted, size) as pilot:
        table = await go(pilot, "4")
        line = next(text for text in words(pilot).splitlines() if "✖ page" in text)
        assert line.split()[0] == "1"
        for part in ("amount, age", "d v2", "01-05 01:00", "q<0.001", "no worse"):
            assert part in line
        assert len(table.rows) == 1


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_the_page_tells_what_is_behind_it_and_would_a_rollback_help(
    drifted: Workspace, console: Console, size: tuple[int, int]
) -> None:
    async with console(drifted, size) as pilot:
        await open_page(pilot)
        await settled(pilot, lambda: "reference of v2" in page_of(pilot))
        # What one has to know at night needs no scrolling.
        for part in ("alert/1", "since 2026-01-05 01:00", " better, by labels", "Would a rollback help?", "S  let it"):
            assert part in words(pilot)
        assert {"A acknowledge", "S silence", "C comment", "b report", "? help"} <= set(footer_of(pilot))
        page = page_of(pilot)
        for part in (
            "since 2026-01-05 01:00",
            "amount: reference of v2 and 2026-01-05 02:00 to 2026-01-05 03:00",
            "reference n=1,000, 0.0% missing; window n=300, 0.0% missing",
            "▼ onset 2026-01-05 01:00",
            "version 2 was deployed",
            "1. monitor/m: amount, age",
            "strange to version 2 and to version 1 alike: it comes from upstream",
            "Would a rollback help?  unknown, because there is no earlier revision that could serve",
            "R  plan a rollback",
            "not made yet: b asks for it",
            "What happened, and notes",
        ):
            assert part in page
        # In a strip, oldest left: quiet, and found twice.
        (strip,) = [line for line in page.splitlines() if line.startswith("inputs")]
        assert strip.split()[1:] == ["●", "✖", "✖"]
        assert all(len(line) <= size[0] for line in words(pilot).splitlines())
        await pilot.press("G")
        await settled(pilot, lambda: "opened" in words(pilot))


async def test_down_and_up_choose_the_column_that_is_plotted(drifted: Workspace, console: Console) -> None:
    async with console(drifted, (80, 24)) as pilot:
        await open_page(pilot)
        await settled(pilot, lambda: "> amount" in page_of(pilot))
        await pilot.press("down")
        await settled(pilot, lambda: "age: reference of v2" in page_of(pilot))
        assert "> age" in page_of(pilot)
        await pilot.press("up")
        await settled(pilot, lambda: "amount: reference of v2" in page_of(pilot))
        await pilot.press("j")
        await settled(pilot, lambda: "✖ page  amount" not in words(pilot))


async def test_keys_that_write_work_on_the_page(drifted: Workspace, console: Console) -> None:
    async with console(drifted) as pilot:
        await open_page(pilot)
        await pilot.press("A")
        await answer(pilot, "r")
        await settled(pilot, lambda: "acknowledged: real" in page_of(pilot))
        await pilot.press("C")
        await settled(pilot, lambda: pilot.app.screen.query_one(Prompt).display)
        await pilot.press(*"told the shop", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "told the shop" in page_of(pilot))
        await pilot.press("S", *"it is being mended", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "tells nobody until" in page_of(pilot))
        await pilot.press("R")
        await settled(pilot, lambda: isinstance(pilot.app.screen, RollbackScreen))
        await settled(pilot, lambda: "Would it help?" in words(pilot))
        await pilot.press("escape")
        await settled(pilot, lambda: isinstance(pilot.app.screen, ConsoleScreen))
        await pilot.press("escape")
        await settled(pilot, lambda: table_of(pilot).has_focus)
        line = next(text for text in words(pilot).splitlines() if "amount, age" in text)
        assert "◌ page" in line


async def test_an_alert_on_a_metric_shows_it_over_its_windows(seeded: Workspace, console: Console) -> None:
    async with console(seeded, (80, 24)) as pilot:
        table = await go(pilot, "4")
        assert table.move_to("alert/2")
        await pilot.press("enter")
        await settled(pilot, lambda: isinstance(console_of(pilot).view, AlertView) and "Suspects" in page_of(pilot))
        assert "roc_auc over the last windows" in page_of(pilot)
        assert "No window says anything of it." in page_of(pilot)


async def test_b_opens_the_report_in_the_browser_that_is_named(
    drifted: Workspace, console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("BROWSER", str(browser))
    make_report(drifted, 1)
    async with console(drifted) as pilot:
        await open_page(pilot)
        await pilot.press("b")
        await settled(pilot, lambda: "opens in the browser" in said(pilot))
    wait_for(lambda: opened.exists() and bool(opened.read_text()), seconds=20, what="the browser")
    assert opened.read_text().strip() == str(drifted.folder / "reports" / "alert-1.html")
    assert reports.written(drifted, 1) == drifted.folder / "reports" / "alert-1.html"
    with (drifted.folder / "reports" / "alert-1.html").open() as page:
        assert page.read() == "<html>1000 against 600</html>"


async def test_without_a_browser_b_says_where_the_report_is_and_one_that_is_not_there_is_asked_for(
    drifted: Workspace, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    async with console(drifted, (200, 40)) as pilot:
        await go(pilot, "5")
        await pilot.press("b")
        await settled(pilot, lambda: "press 4 and choose one" in said(pilot))
        await go(pilot, "4")
        await pilot.press("b")
        await settled(pilot, lambda: "needs a runner" in said(pilot))
        add_runner(drifted)
        await pilot.press("b")
        await settled(pilot, lambda: "opens by itself" in said(pilot))
        make_report(drifted, 1)
        await settled(pilot, lambda: "No browser here; the report is" in said(pilot))
    assert alert(drifted, 1).report is not None
    assert (drifted.folder / "reports" / "alert-1.html").exists()


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_the_business_stands_on_the_same_timeline_and_beside_the_monitor(
    drifted: Workspace, console: Console, size: tuple[int, int]
) -> None:
    points = [(START + hour * HOUR, value) for hour, value in ((0.0, 12.0), (0.5, 14.0), (1.0, 40.0), (2.5, 50.0))]
    add_points(drifted, "d", "chargebacks", points, verb="test")
    line = "chargebacks 13 -> 45 since the onset (n=2, 2)"
    async with console(drifted, size) as pilot:
        await go(pilot, "4")
        await settled(pilot, lambda: size[0] < 120 or line[:30] in words(pilot))
        await open_page(pilot)
        assert line in page_of(pilot)
        (strip,) = [line for line in page_of(pilot).splitlines() if line.startswith("chargebacks ") and "█" in line]
        assert strip.split()[1:] == ["▁", "▆", "█"]
        for pane in ("9", "5"):
            await go(pilot, pane)
            await pilot.press("d")
            await settled(pilot, lambda: "chargebacks" in words(pilot) and "50" in words(pilot))
            await pilot.press("escape")
