"""Silencing an alert and writing something down about it, by command."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from textual.pilot import Pilot

from quarterdeck.monitoring.queries import alerts
from quarterdeck.runner.reaction import Reaction, ReactionState
from quarterdeck.settings import Settings
from quarterdeck.workspace import Workspace
from tests.console.conftest import Console
from tests.console.driving import answer, go, said, settled, table_of, words
from tests.console.seeding import write


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_an_alert_is_silenced_and_noted_and_its_page_says_so(
    seeded: Workspace, console: Console, size: tuple[int, int]
) -> None:
    async with console(seeded, size) as pilot:
        await go(pilot, "4")
        number = int(str(table_of(pilot).cursor_key).removeprefix("alert/"))
        await pilot.press("colon", *"silence 2h the source is mended", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "tells nobody until" in said(pilot))
        row = next(row for row in alerts(seeded) if row.id == number)
        assert row.state == "silenced"
        await pilot.press("colon", *"note asked the shop", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "written down" in said(pilot))
        await pilot.press("enter")
        await settled(pilot, lambda: "tells nobody" in words(pilot))
        await pilot.press("G")
        await settled(pilot, lambda: "asked the shop" in words(pilot))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_an_alert_s_page_says_what_its_reactions_did_and_what_comes_next(
    seeded: Workspace, console: Console, size: tuple[int, int]
) -> None:
    reactions = ({"on": "quality", "do": "rollback", "severity": "warning"}, {"on": "quality", "do": "tell"})
    monitors = {"fraud": {"deployment": "fraud", "reactions": reactions}}
    settings = Settings.model_validate({**seeded.settings.model_dump(), "monitors": monitors})
    held = Reaction(
        policy="fraud/tell",
        deployment="fraud",
        alert=2,
        state=ReactionState.HELD,
        reason="everything is frozen by ann",
        considered_at=seeded.now(),
    )
    write(seeded, held)
    async with console(replace(seeded, settings=settings), size) as pilot:
        await go(pilot, "4")
        assert table_of(pilot).move_to("alert/2")
        await pilot.press("enter")
        await settled(pilot, lambda: "tell: held: everything is frozen by ann" in words(pilot))
        assert "roll back: comes next once a backtest speaks for it" in words(pilot)


def tells(pilot: Pilot[int], words: str) -> bool:
    return words in said(pilot)


async def test_commands_about_an_alert_want_one_and_all_their_words(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await go(pilot, "4")
        for typed, says in (
            ("silence 2h", "Say why, too"),
            ("silence soon because", "is not a duration"),
            ("note", "It needs more words"),
        ):
            await pilot.press("colon", *typed, "enter")
            await settled(pilot, partial(tells, pilot, says))
        await go(pilot, "5")
        await pilot.press("colon", *"note hello", "enter")
        await settled(pilot, lambda: "press 4 and choose one" in said(pilot))
    assert {row.state for row in alerts(seeded)} <= {"open", "acknowledged"}
