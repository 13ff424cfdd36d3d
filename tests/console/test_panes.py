"""Moving about: cursor, filter, Esc, commands, drill-down; names that contain anything."""

from __future__ import annotations

import pytest
from rich.text import Text

from quarterdeck.location import keep_in_force
from quarterdeck.monitoring.alert import Alert, AlertKind, Severity
from quarterdeck.monitoring.queries import alert
from quarterdeck.pipelines.queries import runs
from quarterdeck.workspace import Workspace
from quarterdeck_console.app import QuarterdeckApp
from quarterdeck_console.formatting import clean, text
from quarterdeck_console.messages import StateChanged
from quarterdeck_console.screens.pulse import PulseView
from quarterdeck_console.screens.rollback import RollbackScreen
from quarterdeck_console.widgets.footer import Crumbs
from quarterdeck_console.widgets.header import Header
from quarterdeck_console.widgets.prompt import Prompt
from quarterdeck_console.widgets.table import Table
from quarterdeck_console.widgets.text_view import TextView
from tests.console.conftest import Console
from tests.console.driving import app_of, burst, console_of, go, listening, said, settled, table_of, words
from tests.console.seeding import make_alert, write

MARKUP = "[/bold]model[v2][link=x]\x1b[31mred"


async def test_the_cursor_stays_on_its_row_when_worse_alerts_arrive_and_r_means_that_row(
    seeded: Workspace, console: Console
) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "4")
        assert table.move_to("alert/2")
        write(seeded, *_worse_alerts(seeded))
        await settled(pilot, lambda: len(table.rows) == 8)
        assert [row.key for row in table.rows].index("alert/2") == 6
        assert table.current is not None
        assert table.current.key == "alert/2"
        await pilot.press("R")
        await settled(pilot, lambda: isinstance(pilot.app.screen, RollbackScreen))
        screen = pilot.app.screen
        assert isinstance(screen, RollbackScreen)
        assert screen._target.alert == 2


def _worse_alerts(workspace: Workspace) -> list[Alert]:
    now = workspace.now()
    return [make_alert(n, ["x"], Severity.PAGE, 2.0 + n, now, kind=AlertKind.DRIFT) for n in range(10, 15)]


async def test_a_row_that_goes_leaves_the_cursor_on_a_row(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "4")
        await pilot.press("G")
        with seeded.state.write("test") as tx:
            tx.delete(tx.get_one(Alert, 3))
        await settled(pilot, lambda: len(table.rows) == 2)
        assert table.cursor_key == "alert/2"


async def test_filter_as_you_type_and_esc_clears_it_before_it_goes_back(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "4")
        await pilot.press("slash", *"page")
        assert [row.key for row in table.rows] == ["alert/1"]
        await pilot.press("enter")
        assert table.has_focus
        await pilot.press("escape")
        assert len(table.rows) == 3
        await pilot.press("slash", *"!page", "enter")
        assert [row.key for row in table.rows] == ["alert/2", "alert/3"]
        await pilot.press("escape", "slash", *"kind:quality", "enter")
        assert [row.key for row in table.rows] == ["alert/2"]


async def test_a_filter_that_leaves_nothing_says_so(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await go(pilot, "8")
        await pilot.press("slash", *"zzz", "enter")
        await settled(pilot, lambda: "rows matches /zzz. Esc clears the filter." in words(pilot))
        assert "No schedules and no jobs yet" not in words(pilot)
        await pilot.press("escape", "slash", *"yyy", "enter")
        await settled(pilot, lambda: "rows matches /yyy." in words(pilot))


async def test_letters_typed_into_the_filter_are_no_commands(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await go(pilot, "5")
        await pilot.press("slash", *"RUAEX15q")
        assert console_of(pilot).view.filter_words == "RUAEX15q"


async def test_keys_typed_ahead_in_one_burst_reach_the_line_that_the_first_of_them_opened(
    seeded: Workspace, console: Console
) -> None:
    async with console(seeded) as pilot:
        await go(pilot, "5")
        burst(pilot, "0", "slash", *"verified")
        await settled(pilot, lambda: console_of(pilot).view.filter_words == "verified")
        assert console_of(pilot).view.crumb == "audit"
        await pilot.press("escape")
        burst(pilot, "colon", *"deployments", "enter")
        await settled(pilot, lambda: console_of(pilot).view.crumb == "deployments")


async def test_esc_goes_back_and_never_quits_and_q_at_the_root_quits(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "5")
        assert table.move_to("deployment/fraud")
        await pilot.press("enter")
        await settled(pilot, lambda: console_of(pilot).view.crumb == "fraud" and table_of(pilot).has_focus)
        await pilot.press("escape")
        await settled(pilot, lambda: table.has_focus)
        assert table.cursor_key == "deployment/fraud"
        await pilot.press("escape", "escape")
        assert app_of(pilot).is_running
        await pilot.press("q")
        assert app_of(pilot).return_code == 0


async def test_drilling_from_a_pipeline_to_the_log(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "2")
        assert [row.key for row in table.rows] == ["pipeline/nightly"]
        await pilot.press("enter")
        await settled(pilot, lambda: console_of(pilot).view.crumb == "nightly" and table_of(pilot).has_focus)
        await settled(pilot, lambda: len(table_of(pilot).rows) == 3)
        await pilot.press("l")
        await settled(pilot, lambda: "fitting run 3 [/bold]" in words(pilot))


async def test_commands_lead_to_rows_and_tab_completes_them(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await pilot.press("colon", *"dep fraud", "enter")
        await settled(pilot, lambda: bool(console_of(pilot).view.query("#table")) and table_of(pilot).loaded)
        assert table_of(pilot).cursor_key == "deployment/fraud"
        await pilot.press("colon", *"aud", "tab", "enter")
        await settled(pilot, lambda: console_of(pilot).view.crumb == "audit")
        await pilot.press("colon", *"nonsense", "enter")
        assert "There is no command 'nonsense'" in said(pilot)
        assert not console_of(pilot).query_one(Prompt).display


async def test_acknowledging_asks_real_or_noise(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await go(pilot, "4")
        await pilot.press("A")
        await listening(pilot)
        await pilot.press("n")
        await settled(pilot, lambda: alert(seeded, 1).judgement == "noise")
        assert alert(seeded, 1).state == "acknowledged"


async def test_running_a_pipeline_is_asked_first(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await go(pilot, "2")
        await pilot.press("E")
        await listening(pilot)
        await pilot.press("enter")
        assert len(runs(seeded)) == 3
        await pilot.press("E")
        await listening(pilot)
        await pilot.press("y")
        await settled(pilot, lambda: len(runs(seeded)) == 4)


async def test_pulse_shows_four_tables_and_tab_moves_between_them(seeded: Workspace, console: Console) -> None:
    async with console(seeded, (80, 24)) as pilot:
        view = console_of(pilot).view
        assert isinstance(view, PulseView)
        await settled(pilot, lambda: view.row is not None)
        seen = []
        for _ in range(4):
            assert view.row is not None
            seen.append(view.row.key)
            await pilot.press("tab")
        assert seen == ["pipeline/nightly", "model/churn", "alert/1", "deployment/fraud"]


async def test_an_empty_workspace_says_what_to_do_next(empty: Workspace, console: Console) -> None:
    async with console(empty, (80, 24)) as pilot:
        for pane, advice in (("5", "quarterdeck deploy"), ("3", "quarterdeck run"), ("8", "quarterdeck up")):
            await go(pilot, pane)
            assert advice in words(pilot)


async def test_names_with_markup_and_escapes_are_shown_as_they_are(seeded: Workspace, console: Console) -> None:
    now = seeded.now()
    write(seeded, make_alert(9, [MARKUP], Severity.PAGE, 9.0, now, kind=AlertKind.DRIFT, slice=f"a={MARKUP}"))
    shown = clean(MARKUP)
    async with console(seeded) as pilot:
        table = await go(pilot, "4")
        assert table.rows[0].cells[2].plain == f"{shown} (a={shown})"
        await pilot.press("d")
        await settled(pilot, lambda: "[/bold]model[v2]" in console_of(pilot).view.query_one(TextView).text.plain)
        assert "\x1b" not in words(pilot)
        await pilot.press("escape", "R")
        await settled(pilot, lambda: isinstance(pilot.app.screen, RollbackScreen))
        await settled(pilot, lambda: "Would it help?" in words(pilot))
        await pilot.press("escape")


def test_text_is_never_parsed() -> None:
    assert text("[red]x[/red]").plain == "[red]x[/red]"
    assert text("a\nb\tc\x1b[0m").plain == r"a\nb\tc\x1b[0m"
    assert isinstance(text(None), Text)


async def test_reading_the_same_again_draws_nothing(
    seeded: Workspace, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(seeded) as pilot:
        await go(pilot, "5")
        await pilot.pause(0.5)
        drawn: list[object] = []
        for widget in (table_of(pilot), console_of(pilot).query_one(Header), console_of(pilot).query_one(Crumbs)):
            monkeypatch.setattr(widget, "refresh", lambda *regions, **_: drawn.append(regions))
        app_of(pilot).on_state_changed(StateChanged())
        await pilot.pause(0.5)
        assert drawn == []


async def test_reading_nothing_again_draws_nothing(
    empty: Workspace, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(empty) as pilot:
        tables = list(pilot.app.screen.query(Table))
        await settled(pilot, lambda: len(tables) == 4 and all(table.loaded for table in tables))
        await pilot.pause(0.5)
        drawn: list[object] = []
        for table in tables:
            monkeypatch.setattr(table, "refresh", lambda *regions, **_: drawn.append(regions))
        app_of(pilot).on_state_changed(StateChanged())
        await pilot.pause(0.5)
        assert drawn == []


async def test_settings_that_do_not_fit_are_told_and_the_console_opens_by_those_before(seeded: Workspace) -> None:
    keep_in_force(seeded.settings_file, seeded.folder)
    seeded.settings_file.write_text("garbage [")
    app = QuarterdeckApp(seeded.root)
    async with app.run_test(size=(140, 40)) as pilot:
        await settled(pilot, lambda: app.workspace is not None)
        await settled(pilot, lambda: "The settings before that stay in force" in said(pilot))
