"""Requests counted by the minute: written together, read by the minute, kept as long as an objective needs them."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

from alembic import command
from alembic.config import Config

from quarterdeck import migrations
from quarterdeck.database import Database
from quarterdeck.settings.objectives import LATENCY_CLASSES_US
from quarterdeck.traffic.outcomes import Outcomes, answered, first_error, first_late, in_time
from quarterdeck.traffic.prediction import SLOWEST_US
from quarterdeck.traffic.queries import traffic
from quarterdeck.traffic.recording import latency_class, record_answered, record_unanswered
from quarterdeck.traffic.retention import retain
from quarterdeck.workspace import Workspace
from tests.unit.traffic.stories import START, held, set_clock, with_settings

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def test_a_latency_is_counted_under_the_least_that_it_stayed_within() -> None:
    known = {0: 100, 100: 100, 101: 120, 49_999: 50_000, 50_000: 50_000, 50_001: 60_000, 899_999_999: 900_000_000}
    assert {latency: latency_class(latency) for latency in known} == known
    assert latency_class(900_000_001) == SLOWEST_US > LATENCY_CLASSES_US[-1]


def test_what_is_written_in_one_minute_is_one_row(workspace: Workspace) -> None:
    set_clock(workspace, START)
    for second in range(0, 60, 10):
        set_clock(workspace, START + timedelta(seconds=second))
        record_answered(workspace, {("d", 1000): 2, ("d", 50_000): 1, ("e", 1000): 5})
        record_unanswered(workspace, "d", 1, reason="failed", count=1)
    assert (held(workspace, table="answered"), held(workspace, table="unanswered")) == (3, 1)
    with workspace.traffic.read() as tx:
        assert answered(tx, "d", START, START + MINUTE) == Outcomes(good=18, bad=6)
        assert in_time(tx, "d", START, START + MINUTE, within_us=1000) == Outcomes(good=12, bad=6)
        assert in_time(tx, "d", START, START + MINUTE, within_us=50_000) == Outcomes(good=18)
        assert answered(tx, "f", START, START + MINUTE) == Outcomes()


def test_minutes_count_whole_and_nothing_after_the_end_does(workspace: Workspace) -> None:
    for minute in range(10):
        set_clock(workspace, START + minute * MINUTE)
        record_answered(workspace, {("d", 1000 if minute != 6 else SLOWEST_US): 1})
    set_clock(workspace, START + 4.5 * MINUTE)
    record_unanswered(workspace, "d", 1, reason="rejected", count=1)
    set_clock(workspace, START + 5.5 * MINUTE)
    record_unanswered(workspace, "d", 1, reason="overload", count=1)
    with workspace.traffic.read() as tx:
        assert answered(tx, "d", START + 2.5 * MINUTE, START + 6.5 * MINUTE) == Outcomes(good=5, bad=1)
        assert first_error(tx, "d", START, START + 9 * MINUTE) == START + 5 * MINUTE
        assert first_error(tx, "d", START, START + 4.9 * MINUTE) is None
        assert first_late(tx, "d", START, START + 9 * MINUTE, within_us=1000) == START + 6 * MINUTE
    # What panes tell of the last so long is counted by the minute too.
    assert traffic(workspace, "d", START + 5.9 * MINUTE).unanswered == {"overload": 1}
    assert traffic(workspace, "d", START + 6 * MINUTE).unanswered == {}


def test_counts_are_kept_for_keep_and_for_as_long_as_an_objective_looks_back(workspace: Workspace) -> None:
    for day in range(10):
        set_clock(workspace, START + day * DAY)
        record_answered(workspace, {("d", 1000): 1, ("e", 1000): 1, ("e", 2000): 1})
        record_unanswered(workspace, "d", 1, reason="failed", count=1)
        record_unanswered(workspace, "e", 1, reason="failed", count=1)
    slo = {"availability": 0.99, "period": "5d"}
    retain(with_settings(workspace, traffic={"keep": "3d"}, deployments={"d": {"slo": slo}}))
    assert held(workspace, table="answered WHERE deployment = 'd'") == 6
    assert held(workspace, table="answered WHERE deployment = 'e'") == 6
    assert held(workspace, table="unanswered WHERE deployment = 'd'") == 6
    assert held(workspace, table="unanswered WHERE deployment = 'e'") == 3
    # To make room for predictions they do not go: they take none.
    retain(with_settings(workspace, traffic={"max_bytes": 1}))
    assert held(workspace, table="answered") == 12


def test_minutes_of_a_week_ago_are_merged_into_hours_and_count_the_same(workspace: Workspace) -> None:
    for minute in range(0, 9 * 24 * 60, 20):
        set_clock(workspace, START + minute * MINUTE)
        record_answered(workspace, {("d", 1000): 1, ("d", 2000): 2})
        record_unanswered(workspace, "d", 1, reason="failed" if minute % 60 else "overload", count=1)
    end = workspace.now()
    with workspace.traffic.read() as tx:
        before = [answered(tx, "d", START, end), in_time(tx, "d", START, end, within_us=1000)]
    for _ in range(2):
        retain(workspace)
        with workspace.traffic.read() as tx:
            assert [answered(tx, "d", START, end), in_time(tx, "d", START, end, within_us=1000)] == before
            # What is a week old is told to the hour, the rest as it was.
            assert first_error(tx, "d", START + 30 * MINUTE, end) == START + 60 * MINUTE
            assert answered(tx, "d", end - DAY, end) == Outcomes(good=219, bad=73)
    hours = 2 * 24 - 1
    assert held(workspace, table="answered") == 2 * (hours + 3 * (9 * 24 - hours))
    assert held(workspace, table="unanswered") == 2 * hours + 3 * (9 * 24 - hours)


def test_errors_that_were_counted_before_are_merged_by_the_minute(tmp_path: Path) -> None:
    database = Database(tmp_path / "traffic.db")
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent / "traffic"))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
        insert = "INSERT INTO unanswered (at, deployment, revision, reason, count) VALUES (?, 'd', ?, ?, ?)"
        for at, revision, reason, count in (
            ("2026-01-05T12:00:00.100000Z", 1, "failed", 2),
            ("2026-01-05T12:00:59.900000Z", 1, "failed", 3),
            ("2026-01-05T12:00:59.900000Z", 2, "failed", 5),
            ("2026-01-05T12:01:00.000000Z", 1, "failed", 7),
            ("2026-01-05T12:01:00.000000Z", 1, "rejected", 11),
        ):
            connection.exec_driver_sql(insert, (at, revision, reason, count))
        connection.commit()
    migrations.bring_up_to_date(database, migrations.TRAFFIC)
    database.close()
    with sqlite3.connect(database.path) as raw:
        rows = raw.execute(
            "SELECT at, revision, reason, count FROM unanswered ORDER BY at, revision, reason"
        ).fetchall()
    raw.close()
    assert rows == [
        ("2026-01-05T12:00:00.000000Z", 1, "failed", 5),
        ("2026-01-05T12:00:00.000000Z", 2, "failed", 5),
        ("2026-01-05T12:01:00.000000Z", 1, "failed", 7),
        ("2026-01-05T12:01:00.000000Z", 1, "rejected", 11),
    ]
