"""What has to stay in sight where there is little room, and keys that say why they do nothing."""

from __future__ import annotations

import pytest
from rich.text import Text

from quarterdeck.monitoring.alert import AlertKind, Severity
from quarterdeck.workspace import Workspace
from quarterdeck_console.widgets.footer import Footer
from quarterdeck_console.widgets.header import Header, Status
from quarterdeck_console.widgets.table import Column, Row, Table
from tests.console.conftest import Console
from tests.console.driving import go, said, settled, words
from tests.console.seeding import make_alert, write

SIZES = [(80, 24), (140, 40)]


@pytest.mark.parametrize("size", SIZES, ids=["80x24", "140x40"])
async def test_an_alert_is_listed_by_its_number_and_nothing_less_important_cuts_what_it_is(
    seeded: Workspace, console: Console, size: tuple[int, int]
) -> None:
    write(seeded, make_alert(12, ["seconds"], Severity.PAGE, 3.0, seeded.now(), kind=AlertKind.MISSING))
    async with console(seeded, size) as pilot:
        await go(pilot, "4")
        titles, first = words(pilot).splitlines()[1:3]
        assert titles.split() == ["ID", "SEVERITY", "WHAT", "ON", "SINCE", "SURE", "COSTS"]
        assert first.split()[:5] == ["12", "✖", "page", "seconds", "missing"]
        assert first.endswith("not known")


@pytest.mark.parametrize("pane", list("12345890"))
async def test_the_key_for_help_is_in_the_footer_of_every_pane(seeded: Workspace, console: Console, pane: str) -> None:
    async with console(seeded, (80, 24)) as pilot:
        await pilot.press(pane)
        await settled(pilot, lambda: pilot.app.screen.query_one(Footer).words.plain.endswith("? help"))
        assert pilot.app.screen.query_one(Footer).words.cell_len <= 80


async def test_a_column_shrinks_below_its_fair_share_only_when_less_important_ones_are_gone(
    seeded: Workspace, console: Console
) -> None:
    columns = (
        Column("WHAT", lambda r: Text(r), least=4, fair=20),
        Column("MORE", lambda r: Text(r), priority=2),
    )
    async with console(seeded, (80, 24)) as pilot:
        table = Table(columns)
        table.show([Row("a", (Text("w" * 20), Text("m" * 10)), None)])
        await pilot.app.screen.mount(table)
        shown = {}
        for width in (34, 33, 22, 12):
            table.styles.width = width
            await settled(pilot, lambda width=width: table.size.width == width)  # type: ignore[misc]
            shown[width] = table.render_line(1).text.split()
    assert shown[34] == ["w" * 20, "m" * 10]
    assert shown[33] == shown[22] == ["w" * 20]
    assert shown[12] == ["w" * 9 + "…"]


async def test_a_pane_without_rows_says_what_to_do_in_whole_sentences(empty: Workspace, console: Console) -> None:
    async with console(empty, (80, 24)) as pilot:
        await go(pilot, "4")
        assert "in quarterdeck.toml watches a deployment." in " ".join(words(pilot).split())


async def test_the_first_line_counts_alerts_by_severity(seeded: Workspace, console: Console) -> None:
    async with console(seeded, (80, 24)) as pilot:
        header = pilot.app.screen.query_one(Header)
        for pages, alerts, says in ((2, 3, "✖ 2 pages  ▲ 1 warning"), (0, 2, "▲ 2 warnings"), (0, 0, "● no alerts")):
            header.status = Status(loaded=True, pages=pages, alerts=alerts)
            await settled(pilot, lambda says=says: says in header.words.plain)  # type: ignore[misc]


async def test_a_key_that_can_do_nothing_says_so(empty: Workspace, console: Console) -> None:
    async with console(empty, (80, 24)) as pilot:
        await go(pilot, "4")
        for key, says in (
            ("d", "no row"),
            ("y", "no row"),
            ("c", "no row"),
            ("l", "no row"),
            ("tab", "one table here"),
            ("]", "nothing further"),
        ):
            await pilot.press(key)
            await settled(pilot, lambda says=says: says in said(pilot))  # type: ignore[misc]


async def test_a_row_without_a_log_is_not_said_to_wait_for_one(seeded: Workspace, console: Console) -> None:
    async with console(seeded, (80, 24)) as pilot:
        await go(pilot, "4")
        await pilot.press("l")
        await settled(pilot, lambda: "l shows the log of a run, a job or a schedule" in said(pilot))
