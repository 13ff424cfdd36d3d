"""E, H, X and l on jobs, schedules and pipelines: each write is asked for first, and is about the row that was seen."""

from __future__ import annotations

import pytest
from sqlmodel import col, select

from quarterdeck import bootstrap
from quarterdeck.pipelines.pausing import pauses
from quarterdeck.runner.job import Job, JobState
from quarterdeck.runner.queries import job
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens.log_view import LogView
from tests.console.board_seeding import make_job
from tests.console.conftest import Console
from tests.console.driving import answer, console_of, current, go, said, settled, strip_of, words


async def test_e_runs_a_schedule_once_it_is_confirmed(
    seeded: Workspace, board: dict[str, int], console: Console
) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        assert table.move_to("schedule/nightly")
        before = len(_jobs(seeded))
        await pilot.press("E")
        await answer(pilot, "enter")
        assert strip_of(pilot).question is None
        assert len(_jobs(seeded)) == before
        await pilot.press("E")
        await answer(pilot, "y")
        await settled(pilot, lambda: "of schedule nightly is queued" in said(pilot))
        (made,) = _jobs(seeded)[before:]
        assert (made.schedule, made.state, made.automatic) == ("nightly", JobState.QUEUED, False)


def _jobs(workspace: Workspace) -> list[Job]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Job).order_by(col(Job.id))))


@pytest.mark.parametrize("which", ["dead", "lost", "cancelled"])
async def test_e_tries_a_job_again_and_a_replay_says_where_to_ask(
    seeded: Workspace, board: dict[str, int], console: Console, which: str
) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        assert table.move_to(f"job/{board[which]}")
        await pilot.press("E")
        await answer(pilot, "y")
        if which == "lost":
            await settled(pilot, lambda: "ask for a new one" in said(pilot))
            assert job(seeded, board[which]).state == "lost"
        else:
            await settled(pilot, lambda: job(seeded, board[which]).state == "queued")


async def test_e_on_a_job_that_did_not_fail_says_so_and_asks_nothing(
    seeded: Workspace, board: dict[str, int], console: Console
) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        assert table.move_to(f"job/{board['running']}")
        await pilot.press("E")
        assert "is running: E tries again what failed" in said(pilot)
        assert strip_of(pilot).question is None


async def test_x_cancels_a_job_of_any_kind(seeded: Workspace, board: dict[str, int], console: Console) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        for which in ("again", "running"):
            assert table.move_to(f"job/{board[which]}")
            await pilot.press("X")
            await answer(pilot, "y")
            await settled(pilot, lambda: strip_of(pilot).question is None and "asked to stop" in said(pilot))
        assert job(seeded, board["again"]).state == "cancelled"
        assert job(seeded, board["running"]).cancel_requested_by == "tester"


async def test_h_holds_a_schedule_and_lets_it_go_on(seeded: Workspace, board: dict[str, int], console: Console) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        assert table.move_to("schedule/nightly")
        await pilot.press("H")
        await answer(pilot, "y")
        await settled(pilot, lambda: current(table).source.row.paused_by == "tester")
        await pilot.press("H")
        await answer(pilot, "y")
        await settled(pilot, lambda: current(table).source.row.paused_by is None)
        assert table.move_to("schedule/off")
        await pilot.press("H")
        assert "[schedules.off]" in said(pilot)
        assert table.move_to(f"job/{board['dead']}")
        await pilot.press("H")
        assert "H holds a schedule or a pipeline" in said(pilot)


async def test_h_holds_a_pipeline_and_pulse_shows_who_did(seeded: Workspace, console: Console) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "2")
        await pilot.press("H")
        await answer(pilot, "y")
        await settled(pilot, lambda: current(table).source.paused_by == "tester")
        await pilot.press("1")
        await settled(pilot, lambda: "paused by tester" in words(pilot))


async def test_a_read_only_console_asks_and_the_engine_refuses(seeded: Workspace, console: Console) -> None:
    text = seeded.settings_file.read_text(encoding="utf-8")
    settings = text.replace("[workspace]", "[workspace]\nread_only = true", 1)
    seeded.settings_file.write_text(settings, encoding="utf-8")
    workspace = bootstrap.open_workspace(seeded.root, ports=seeded.ports, actor="tester")
    try:
        async with console(workspace) as pilot:
            table = await go(pilot, "8")
            assert table.move_to("schedule/nightly")
            for key in ("E", "H"):
                await pilot.press(key)
                await answer(pilot, "y")
                await settled(pilot, lambda: "says read_only = true" in said(pilot))
                await pilot.press("j", "k")
            with workspace.state.read() as tx:
                assert pauses(tx, "schedule") == {}
    finally:
        workspace.close()


# Logs -----------------------------------------------------------------------------------------------------------------


async def test_l_follows_the_newest_job_of_a_schedule_into_the_next_one(
    seeded: Workspace, board: dict[str, int], console: Console
) -> None:
    def log(name: str) -> str:
        (seeded.logs / name).write_text(f"this is {name}\n", encoding="utf-8")
        return name

    make_job(seeded, "m@1", JobState.SUCCEEDED, schedule="nightly", log=log("first.log"))
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        assert table.move_to("schedule/nightly")
        await pilot.press("l")
        await settled(pilot, lambda: "this is first.log" in words(pilot))
        make_job(seeded, "m@2", JobState.RUNNING, schedule="nightly", log=log("second.log"))
        await settled(pilot, lambda: "this is second.log" in words(pilot))


async def test_l_on_a_job_that_waits_says_that_there_is_no_log_yet(
    seeded: Workspace, board: dict[str, int], console: Console
) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        assert table.move_to(f"job/{board['pool']}")
        await pilot.press("l")
        await settled(pilot, lambda: isinstance(console_of(pilot).view, LogView) and "No log yet" in words(pilot))
        path = seeded.logs / "late.log"
        path.write_text("here it is\n", encoding="utf-8")
        with seeded.state.write("test") as tx:
            tx.get_one(Job, board["pool"]).log = path.name
        await settled(pilot, lambda: "here it is" in words(pilot))
