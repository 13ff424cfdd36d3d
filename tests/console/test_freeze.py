"""The freeze and the pauses by command, and the first line that tells of a freeze."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from textual.pilot import Pilot

from quarterdeck.freezing import freeze, in_force
from quarterdeck.pipelines.pausing import pauses
from quarterdeck.workspace import Workspace
from tests.console.conftest import Console
from tests.console.driving import answer, go, said, settled, strip_of, words
from tests.console.seeding import clock_of


def until(workspace: Workspace) -> datetime | None:
    with workspace.state.read() as tx:
        row = in_force(tx, workspace.now())
        return row.until if row else None


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_a_freeze_is_asked_for_by_command_and_stands_in_the_first_line_until_it_is_ended(
    seeded: Workspace, console: Console, size: tuple[int, int]
) -> None:
    async with console(seeded, size) as pilot:
        await pilot.press("colon", *"freeze 2h release of the shop", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "▲ frozen until" in _first_line(pilot))
        end = until(seeded)
        assert end is not None
        assert f"{end.astimezone():%H:%M}" in _first_line(pilot)
        with seeded.state.read() as tx:
            row = in_force(tx, seeded.now())
            assert row is not None
            assert (row.reason, row.actor) == ("release of the shop", "tester")
        await pilot.press("colon", *"thaw", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "frozen" not in _first_line(pilot))
        assert until(seeded) is None


def _first_line(pilot: Pilot[int]) -> str:
    return words(pilot).splitlines()[0]


async def test_a_freeze_that_ends_by_itself_leaves_the_first_line(seeded: Workspace, console: Console) -> None:
    clock_of(seeded).moment = datetime.now(UTC)
    async with console(seeded) as pilot:
        await settled(pilot, lambda: "page" in _first_line(pilot))
        freeze(seeded, timedelta(seconds=3))
        await settled(pilot, lambda: "frozen until" in _first_line(pilot))
        await settled(pilot, lambda: "frozen" not in _first_line(pilot))


async def test_a_duration_that_is_none_is_refused_before_anything_is_asked(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        await pilot.press("colon", *"freeze soon", "enter")
        assert "'soon' is not a duration" in said(pilot)
        assert strip_of(pilot).question is None


async def test_pause_and_resume_are_commands_that_tab_completes(
    seeded: Workspace, board: dict[str, int], console: Console
) -> None:
    async with console(seeded) as pilot:
        await go(pilot, "8")
        await pilot.press("colon", *"pause schedule/ni", "tab", *" moving the source", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "nightly" in _paused(seeded))
        with seeded.state.read() as tx:
            assert pauses(tx, "schedule")["nightly"].reason == "moving the source"
        await pilot.press("colon", *"resume schedule/nightly", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "nightly" not in _paused(seeded))
        await pilot.press("colon", *"pause schedule/none", "enter")
        await answer(pilot, "y")
        await settled(pilot, lambda: "There is no 'schedule/none'" in said(pilot))


def _paused(workspace: Workspace) -> set[str]:
    with workspace.state.read() as tx:
        return set(pauses(tx, "schedule"))
