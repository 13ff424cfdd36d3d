"""The Monitors pane: windows as a strip, what people said of the alerts, and down to one window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlmodel import select

from quarterdeck.monitoring.acknowledgement import acknowledge
from quarterdeck.monitoring.alert import Judgement
from quarterdeck.monitoring.queries import ResultRow, alerts, monitors
from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import terms_of
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens.monitors import MonitorsPane, describe, last
from tests.console.conftest import Console
from tests.console.driving import go, settled, table_of, words
from tests.watched import HOUR, START


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
        assert all(len(line) <= size[0] for line in words(pilot).splitlines())


METRIC: dict[str, Any] = {
    "metric": "roc_auc",
    "value": 0.3,
    "low": 0.2,
    "high": 0.4,
    "baseline": 0.8,
    "loss": 0.625,
    "coverage": 1.0,
}


def window(aspect: str, *scores: dict[str, Any], reference: int = 0, verdict: str = "found") -> ResultRow:
    return ResultRow(
        monitor="m",
        deployment="d",
        aspect=aspect,
        version=1,
        served=True,
        window_start=START,
        window_end=START + HOUR,
        n_reference=reference,
        n_current=300,
        n_labelled=300,
        verdict=verdict,
        scores=scores,
        evaluated_at=START,
    )


def test_a_window_that_was_compared_with_no_rows_says_nothing_of_a_reference() -> None:
    assert "reference" not in describe(window("quality", METRIC)).plain
    assert "reference      900 rows" in describe(window("quality", METRIC, reference=900)).plain


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "0.8: 62% worse now"),
        ({"loss": -0.1}, "0.8: 10% better now"),
        ({"loss": 0.001}, "0.8: no worse now"),
        ({"baseline": None, "loss": 0.0}, "not known, so nothing to compare with"),
        ({"value": None, "loss": 0.0}, "not defined on these rows"),
    ],
)
def test_a_metric_stands_beside_its_holdout_in_words(changes: dict[str, Any], says: str) -> None:
    assert says in describe(window("quality", {**METRIC, **changes})).plain


def test_each_slice_has_its_verdict() -> None:
    slices = [
        {"slice": "channel=app", "verdict": "worse", "n_current": 90, "before": 0.1, "after": 0.9, "q_value": 0.001},
        {"slice": "channel=web", "verdict": "quiet", "n_current": 80, "before": 0.1, "after": 0.1, "q_value": 0.8},
    ]
    said = describe(window("quality", {**METRIC, "measure": "log_loss", "slices": slices})).plain
    rows = [line.split() for line in said.splitlines() if line.startswith("channel=")]
    assert [row[:3] for row in rows] == [["channel=app", "worse", "90"], ["channel=web", "quiet", "80"]]


def test_what_is_missing_or_new_is_the_verdict_of_a_column_and_its_line_fits_a_narrow_screen() -> None:
    column: dict[str, Any] = {
        "column": "a_column_of_18_char",
        "measure": "wasserstein_normed",
        "effect": 0.012345,
        "q_value": 1e-9,
        "missing_current": 0.25,
        "unseen": 0.1,
        "slice": None,
        "verdict": "quiet",
        "missing_verdict": "drifted",
        "unseen_verdict": "drifted",
        "figures": {"psi": 0.012345, "ks": 0.012345, "chi_squared": None},
        "preset": {"score": 0.012345, "drifted": True},
    }
    lines = describe(window("inputs", column, reference=900)).plain.splitlines()
    first, second = (line for line in lines if line.startswith("a_column"))
    assert first.split()[1:] == ["missing,", "unseen", "0.0123", "sigma", "<0.001", "25.0%", "10.0%"]
    assert second.split()[1:] == ["0.01235", "drift", "0.01235", "0.01235", "-"]
    assert max(len(first), len(second)) <= 78


def test_the_pane_says_of_a_monitor_the_worse_of_inputs_and_quality(seeded: Workspace) -> None:
    row = next(row for row in monitors(seeded, {}) if row.name == "fraud")
    quiet, worse = ("quiet",), ("quiet", "found")
    assert last(replace(row, strip=quiet, quality=worse)).plain == "✖ found"
    assert last(replace(row, strip=("inconclusive",), quality=quiet)).plain == "▲ inconclusive"
    assert last(replace(row, strip=(), quality=())).plain == "-"


def test_settings_are_shown_as_they_are_written(seeded: Workspace) -> None:
    pane = MonitorsPane()
    said = pane.detail(seeded, next(row for row in pane.read(seeded, 10) if row.name == "fraud")).plain
    settings = {line.split()[0]: line.split(maxsplit=1)[1] for line in said.splitlines() if len(line.split()) > 1}
    assert (settings["window"], settings["grace"], settings["persistence"]) == ("1d", "5m", "[2, 3]")


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
