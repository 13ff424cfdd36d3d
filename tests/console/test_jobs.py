"""Pane 8: its sections and what they say, the keys that write, and time that passes only while a job runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from quarterdeck.pipelines.queries import ScheduleRow, schedules
from quarterdeck.runner import control
from quarterdeck.runner.job import Job, JobKind, JobState, RunnerLease
from quarterdeck.runner.queries import job
from quarterdeck.workspace import Workspace
from quarterdeck_console.board import Section, next_fires, read_board, span
from quarterdeck_console.screens.job_text import ELAPSED_STEP
from quarterdeck_console.screens.jobs import STRIP, JobsPane, Work
from quarterdeck_console.screens.views import TableView
from tests.console.board_seeding import RESULTS, make_job, make_schedule, seed_holds
from tests.console.conftest import Console
from tests.console.driving import console_of, current, go, listening, said, settled, words
from tests.console.seeding import clock_of, write

READ = 200


def rows(workspace: Workspace) -> dict[str, Work]:
    return {row.key: row for row in JobsPane().read(workspace, READ)}


def note(workspace: Workspace, key: str) -> str:
    pane = JobsPane()
    place = [column.title for column in pane.columns].index("NOTE")
    return pane.table_row(rows(workspace)[key]).cells[place].plain


def test_the_sections_stand_in_their_order_and_the_queue_in_its_own(seeded: Workspace, board: dict[str, int]) -> None:
    found = list(rows(seeded).values())
    places = [list(Section).index(row.section) for row in found]
    assert places == sorted(places)
    assert {row.section for row in found} == set(Section)
    queued = [row.key for row in found if row.section is Section.QUEUED]
    assert queued == [f"job/{board['pool']}", f"job/{board['again']}"]
    named = [row.key for row in found if row.section is Section.SCHEDULES]
    assert named == sorted(named)


def test_each_reason_for_waiting_is_said(seeded: Workspace, board: dict[str, int]) -> None:
    assert note(seeded, f"job/{board['pool']}") == "pool gpu full (1 of 1)"
    assert note(seeded, f"job/{board['again']}").startswith("tried again at ")
    holds = seed_holds(seeded)
    assert note(seeded, f"job/{holds['paused']}") == "paused by bob"
    assert note(seeded, f"job/{holds['frozen']}").startswith("frozen by carol until ")


def test_a_job_that_runs_shows_its_steps_and_its_time_in_steps_of_five_seconds(
    seeded: Workspace, board: dict[str, int]
) -> None:
    key = f"job/{board['running']}"
    assert note(seeded, key) == "3/5 steps, 5 m 0 s"
    clock_of(seeded).advance(seconds=ELAPSED_STEP - 1)
    assert note(seeded, key) == "3/5 steps, 5 m 0 s"
    clock_of(seeded).advance(seconds=1)
    assert note(seeded, key) == "3/5 steps, 5 m 5 s"
    control.cancel(seeded, board["running"], actor="dora")
    assert note(seeded, key).startswith("asked to stop by dora")


def test_the_strip_tells_results_apart_by_shape_and_ends_with_the_newest(
    seeded: Workspace, board: dict[str, int]
) -> None:
    assert set(STRIP) == {str(state) for state in JobState}
    shapes = [shape for shape, _ in STRIP.values()]
    assert len(set(shapes)) == len(shapes)
    drawn = "".join(STRIP[result][0] for result in RESULTS)
    assert note(seeded, "schedule/hourly").startswith(f"{drawn:>10}  ")


def test_a_pause_says_whose_it_is_and_a_paused_schedule_has_no_next_tick(
    seeded: Workspace, board: dict[str, int]
) -> None:
    assert note(seeded, "schedule/weekly").endswith("paused by alice")
    assert note(seeded, "schedule/off").endswith("paused by settings")
    pane = JobsPane()
    when = [column.title for column in pane.columns].index("WHEN")
    assert pane.table_row(rows(seeded)["schedule/weekly"]).cells[when].plain == "-"
    assert rows(seeded)["schedule/weekly"].state == "paused"


def test_a_schedule_that_would_learn_from_what_an_alert_is_about_is_held(
    seeded: Workspace, board: dict[str, int]
) -> None:
    assert rows(seeded)["schedule/hourly"].state == "held"
    assert note(seeded, "schedule/hourly").endswith("is open: its ticks retrain nothing")
    assert rows(seeded)["schedule/monitor:fraud"].state == "waiting"


def test_a_tick_that_nobody_fires_is_overdue(seeded: Workspace, board: dict[str, int]) -> None:
    clock_of(seeded).advance(hours=1, minutes=2)
    assert rows(seeded)["schedule/hourly"].state == "overdue"


def test_of_a_schedule_only_the_newest_trouble_needs_a_person_and_none_once_it_works_again(seeded: Workspace) -> None:
    make_schedule(seeded, "often", every_seconds=60.0)

    def ends(state: JobState, key: str) -> int:
        return make_job(seeded, key, state, schedule="often")

    earlier, later = ends(JobState.FAILED, "a@1"), ends(JobState.LOST, "a@2")
    assert [row.id for row in read_board(seeded, READ).troubled if row.schedule] == [later]
    assert earlier in {row.id for row in read_board(seeded, READ).ended}
    ends(JobState.SUCCEEDED, "a@3")
    assert [row.id for row in read_board(seeded, READ).troubled if row.schedule] == []


def test_a_failure_asks_for_a_day_and_a_dead_job_until_it_is_retried(seeded: Workspace, board: dict[str, int]) -> None:
    clock_of(seeded).advance(days=1, minutes=5)
    troubled = {row.id for row in read_board(seeded, READ).troubled}
    assert board["dead"] in troubled
    assert board["lost"] not in troubled


def test_what_needs_a_person_is_found_below_any_number_of_newer_jobs(seeded: Workspace, board: dict[str, int]) -> None:
    now = seeded.now()
    values: dict[str, Any] = {
        "kind": JobKind.MONITOR,
        "subject": "monitor/x",
        "payload": {},
        "created_at": now,
        "not_before": now,
    }
    state = JobState.SUCCEEDED
    write(seeded, *(Job(key=f"x@{n}", state=state, started_at=now, finished_at=now, **values) for n in range(60)))
    shown = read_board(seeded, 20)
    assert {board["dead"], board["lost"]} <= {row.id for row in shown.troubled}
    assert len(shown.ended) <= 20


def test_the_detail_of_a_job_says_what_it_may_and_what_it_used(seeded: Workspace, board: dict[str, int]) -> None:
    pane = JobsPane()
    text = pane.detail(seeded, rows(seeded)[f"job/{board['running']}"]).plain
    lines = {line[:15].strip(): line[15:].strip() for line in text.partition("Runner")[0].splitlines()}
    assert lines["pool"] == "gpu"
    assert lines["timeout"] == "2h"
    assert lines["memory limit"] == "4,000 MB"
    assert lines["cpu"] == "4 m 41 s"
    assert lines["peak memory"] == "1,304 MB"
    assert lines["progress"] == "3 of 5 steps"


def test_the_detail_of_a_dead_job_begins_with_its_error_and_the_way_out(
    seeded: Workspace, board: dict[str, int]
) -> None:
    pane = JobsPane()
    text = pane.detail(seeded, rows(seeded)[f"job/{board['dead']}"]).plain
    assert "503 Service Unavailable" in text.splitlines()[1]
    assert f"quarterdeck retry job/{board['dead']}" in text


def test_the_detail_of_a_schedule_lists_the_next_ticks_and_the_last_results(
    seeded: Workspace, board: dict[str, int]
) -> None:
    pane = JobsPane()
    text = pane.detail(seeded, rows(seeded)["schedule/hourly"]).plain
    ticks = text.partition("Next fires\n")[2].partition("\n\n")[0].splitlines()
    assert len(ticks) == 5
    assert "Europe/Berlin" in text
    results = text.partition("Last results\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[1] for line in results] == list(reversed(RESULTS))
    paused = pane.detail(seeded, rows(seeded)["schedule/weekly"]).plain
    assert "holidays" in paused
    assert "None while it is paused" in paused


def test_the_runner_tells_what_it_uses_and_stays_still_while_its_heart_beats(seeded: Workspace) -> None:
    def beat(cpu_seconds: float, memory_bytes: int) -> str:
        with seeded.state.write("test") as tx:
            lease = tx.exec(select(RunnerLease)).one()
            lease.cpu_seconds, lease.memory_bytes = cpu_seconds, memory_bytes
        return pane.detail(seeded, rows(seeded)["schedule/nightly"]).plain.partition("Runner\n")[2]

    clock_of(seeded).advance(hours=1)
    with seeded.state.read() as tx:
        lived = (seeded.now() - tx.exec(select(RunnerLease)).one().started_at).total_seconds()
    pane = JobsPane()
    first = beat(lived / 200, 81_000_000)
    assert "0.5% of a core" in first
    assert "81 MB" in first
    assert beat(lived / 100, 99_000_000) == first
    pane = JobsPane()
    assert "1.0% of a core" in beat(lived / 100, 99_000_000)


def test_the_next_ticks_are_those_that_the_runner_will_fire(seeded: Workspace, board: dict[str, int]) -> None:
    by_name: dict[str, ScheduleRow] = {row.name: row for row in schedules(seeded)}
    now = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    hours = [fire - now for fire in next_fires(by_name["hourly"], now)]
    assert hours == [timedelta(minutes=30 + 60 * n) for n in range(5)]
    watch = by_name["monitor:fraud"]
    assert next_fires(watch, watch.anchor, 2) == [watch.anchor + timedelta(minutes=5 * n) for n in (1, 2)]
    assert next_fires(by_name["weekly"], now) == next_fires(by_name["fresh"], now) == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0s"), (0.25, "250ms"), (90, "1m30s"), (5400, "1h30m"), (172800, "2d"), (1.5, "1.5s")]
)
def test_a_span_is_written_as_in_the_settings(seconds: float, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_each_section_is_seen_on_small_and_large_screens(
    seeded: Workspace, board: dict[str, int], console: Console, size: tuple[int, int]
) -> None:
    async with console(seeded, size) as pilot:
        await go(pilot, "8")
        shown = words(pilot)
        for said_there in (
            "3/5 steps",
            "pool gpu full (1 of 1)",
            "■ dead",
            "✖ lost",
            "paused by alice",
            "paused by se",
        ):
            assert said_there in shown
        assert "".join(STRIP[result][0] for result in RESULTS) in shown


async def test_the_cursor_stays_on_its_job_when_it_changes_its_section(
    seeded: Workspace, board: dict[str, int], console: Console
) -> None:
    key = f"job/{board['running']}"
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        assert table.move_to(key)
        before = [row.key for row in table.rows].index(key)
        with seeded.state.write("test") as tx:
            row = tx.get_one(Job, board["running"])
            row.state, row.finished_at = JobState.SUCCEEDED, seeded.now()
        await settled(pilot, lambda: current(table).source.section is Section.ENDED)
        assert [row.key for row in table.rows].index(key) > before
        assert current(table).key == key
        await pilot.press("X")
        assert f"{key} has ended already (succeeded)" in said(pilot)


async def test_a_question_is_about_the_row_under_the_key_whatever_comes_meanwhile(
    seeded: Workspace, board: dict[str, int], console: Console
) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        assert table.move_to(f"job/{board['dead']}")
        await pilot.press("E")
        await listening(pilot)
        newer = make_job(seeded, "alert/99", JobState.DEAD, kind=JobKind.NOTIFY)
        await settled(pilot, lambda: f"job/{newer}" in {row.key for row in table.rows})
        await pilot.press("y")
        await settled(pilot, lambda: job(seeded, board["dead"]).state == "queued")
        assert job(seeded, newer).state == "dead"
        assert current(table).key == f"job/{board['dead']}"


async def test_time_moves_on_by_the_clock_only_while_a_job_runs(
    seeded: Workspace, board: dict[str, int], console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    reload = TableView.reload

    def counted(view: TableView) -> None:
        asked.append(1)
        reload(view)

    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        monkeypatch.setattr(TableView, "reload", counted)
        clock_of(seeded).advance(seconds=ELAPSED_STEP)
        console_of(pilot)._let_time_pass()
        await settled(pilot, lambda: "5 m 5 s" in words(pilot))
        with seeded.state.write("test") as tx:
            tx.get_one(Job, board["running"]).state = JobState.FAILED
        await settled(pilot, lambda: not any(row.source.section is Section.RUNNING for row in table.rows))
        asked.clear()
        console_of(pilot)._let_time_pass()
        assert asked == []


async def test_reading_the_same_board_again_draws_nothing(
    seeded: Workspace, board: dict[str, int], console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "8")
        await settled(pilot, lambda: "Runner" in words(pilot))
        drawn: list[object] = []
        view = console_of(pilot).view
        for widget in (table, view.query_one("#detail")):
            monkeypatch.setattr(widget, "refresh", lambda *regions, **_: drawn.append(regions))
        read = list(table.rows)
        view.reload()
        await settled(pilot, lambda: table.rows[0] is not read[0])
        await pilot.pause(0.3)
        assert drawn == []
