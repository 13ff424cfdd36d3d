"""The Monitors pane: windows as a strip, what people said of the alerts, and down to one window."""

from __future__ import annotations

import pytest
from sqlmodel import select

from quarterdeck.monitoring.acknowledgement import acknowledge
from quarterdeck.monitoring.alert import Judgement
from quarterdeck.monitoring.queries import alerts, monitors
from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import terms_of
from quarterdeck.workspace import Workspace
from tests.console.conftest import Console
from tests.console.driving import go, settled, table_of, words


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_from_a_monitor_to_a_window_column_by_column(
    seeded: Workspace, console: Console, size: tuple[int, int]
) -> None:
    first, *_ = alerts(seeded)
    acknowledge(seeded, first.id, Judgement.REAL)
    row = next(row for row in monitors(seeded, {}) if row.name == first.monitor)
    assert (row.precision, row.real) == (1.0, 1)
    async with console(seeded, size) as pilot:
        table = await go(pilot, "9")
        assert table.move_to(f"monitor/{first.monitor}")
        await settled(pilot, lambda: "100% of 1" in words(pilot))
        assert "✖" in words(pilot)
        await pilot.press("enter")
        await settled(pilot, lambda: "FROM" in words(pilot) and table_of(pilot).loaded)
        assert "amount" in words(pilot)
        await pilot.press("enter")
        await settled(pilot, lambda: "Columns, the furthest first" in words(pilot))
        assert "drifted" in words(pilot)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_a_monitor_that_fails_stands_in_the_first_line_and_in_its_row_until_it_looks_again(
    seeded: Workspace, console: Console, size: tuple[int, int]
) -> None:
    why = "`slices` under [monitors.fraud] names chanel"
    with seeded.state.write("test") as tx:
        work = Work(
            JobKind.MONITOR, "look", "monitor/fraud", {"monitor": "fraud"}, terms_of(seeded), schedule="monitor:fraud"
        )
        queue.enqueue(tx, seeded, work)
        job = tx.exec(select(Job).where(Job.key == "look")).one()
        job.state, job.error = JobState.FAILED, why
    async with console(seeded, size) as pilot:
        await settled(pilot, lambda: "✖ monitor fraud fails" in words(pilot).splitlines()[0])
        await go(pilot, "9")
        await settled(pilot, lambda: "✖ fails" in words(pilot).replace("fraud fails", ""))
        await pilot.press("d")
        await settled(pilot, lambda: "It fails: `slices` under" in words(pilot))
        with seeded.state.write("test") as tx:
            tx.get_one(Job, job.id).state = JobState.SUCCEEDED
        await settled(pilot, lambda: "fails" not in words(pilot).splitlines()[0])
