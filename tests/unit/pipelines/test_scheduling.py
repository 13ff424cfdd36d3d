"""Schedule rows follow quarterdeck.toml, and those that did not change are left alone."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import select

from quarterdeck.events import Event
from quarterdeck.pipelines import queries
from quarterdeck.pipelines.schedule import Schedule
from quarterdeck.pipelines.scheduling import synchronise
from quarterdeck.settings import Settings
from quarterdeck.workspace import Workspace

TICK = datetime(2026, 1, 4, 3, 0, tzinfo=UTC)


def with_settings(workspace: Workspace, **sections: Any) -> Workspace:
    sections.setdefault("housekeeping", OFF)
    return dataclasses.replace(workspace, settings=Settings.model_validate(sections))


def schedule_events(workspace: Workspace) -> list[tuple[str, str]]:
    with workspace.state.read() as tx:
        rows = tx.exec(select(Event).where(Event.kind == "schedule.changed").order_by(Event.id))  # type: ignore[arg-type]
        return [(row.subject, row.data["change"]) for row in rows]


OFF = dict.fromkeys(("compact", "backup", "vacuum", "tidy"), False)
NIGHTLY = {"pipeline": "train", "cron": "0 3 * * *", "parameters": {"fit.depth": 3}}
WATCH = {"deployment": "fraud", "every": "5m"}


def test_schedules_and_monitors_become_rows_once(workspace: Workspace) -> None:
    asked = with_settings(workspace, schedules={"nightly": NIGHTLY}, monitors={"fraud": WATCH})
    assert synchronise(asked)
    monitor, nightly = queries.schedules(asked)
    assert (monitor.name, monitor.target_kind, monitor.target, monitor.every_seconds) == (
        "monitor:fraud",
        "monitor",
        "fraud",
        300.0,
    )
    assert (nightly.target, nightly.cron, nightly.parameters) == ("train", "0 3 * * *", {"fit.depth": 3})
    assert not synchronise(asked)
    assert schedule_events(asked) == [("schedule/nightly", "added"), ("schedule/monitor:fraud", "added")]


def test_only_what_differs_is_changed_and_ticks_stand(workspace: Workspace) -> None:
    asked = with_settings(workspace, schedules={"nightly": NIGHTLY}, monitors={"fraud": WATCH})
    synchronise(asked)
    set_ticks(asked)
    before = {row.name: row for row in queries.schedules(asked)}
    other = with_settings(
        workspace,
        schedules={"nightly": {**NIGHTLY, "parameters": {}}},
        monitors={"fraud": {**WATCH, "every": "1h"}},
    )
    assert synchronise(other)
    after = {row.name: row for row in queries.schedules(other)}
    assert after["nightly"] == dataclasses.replace(before["nightly"], parameters={})
    # A new interval counts from the last tick: one that is edited all the time would otherwise never fire.
    assert after["monitor:fraud"].anchor == TICK
    assert (after["monitor:fraud"].last_tick, after["monitor:fraud"].next_tick) == (TICK, None)


def test_what_is_gone_from_the_settings_is_removed(workspace: Workspace) -> None:
    synchronise(with_settings(workspace, schedules={"nightly": NIGHTLY}))
    assert synchronise(with_settings(workspace))
    assert queries.schedules(workspace) == []
    assert schedule_events(workspace)[-1] == ("schedule/nightly", "removed")


def test_unpausing_owes_no_tick_for_the_pause(workspace: Workspace) -> None:
    paused = with_settings(workspace, schedules={"nightly": {**NIGHTLY, "paused": True}})
    synchronise(paused)
    set_ticks(paused)
    resumed = with_settings(workspace, schedules={"nightly": NIGHTLY})
    synchronise(resumed)
    (row,) = queries.schedules(resumed)
    assert row.anchor > TICK + timedelta(days=1)
    assert row.next_tick is None


def set_ticks(workspace: Workspace) -> None:
    with workspace.state.write("tick") as tx:
        for row in tx.exec(select(Schedule)):
            row.last_tick, row.next_tick = TICK, TICK + timedelta(days=1)


def test_housekeeping_is_on_unless_it_is_turned_off(workspace: Workspace) -> None:
    synchronise(with_settings(workspace, housekeeping={"vacuum": False, "backup": "12h"}))
    rows = {row.name: (row.target_kind, row.target, row.every_seconds) for row in queries.schedules(workspace)}
    assert rows == {
        "housekeeping:compact": ("housekeeping", "compact", 3600.0),
        "housekeeping:backup": ("housekeeping", "backup", 43200.0),
        "housekeeping:tidy": ("housekeeping", "tidy", 86400.0),
    }


def test_a_kpi_that_has_a_query_is_fetched_however_late(workspace: Workspace) -> None:
    asked = {"query": "select 1, 2", "database": "sqlite:///shop.db", "every": "1d"}
    kpis = {"sales": asked, "refunds": {"unit": "EUR"}}
    deck = with_settings(workspace, deployments={"fraud": {"kpis": kpis}})
    assert synchronise(deck)
    (row,) = queries.schedules(deck)
    assert (row.name, row.target_kind, row.target) == ("kpi:fraud/sales", "kpi", "fraud/sales")
    with deck.state.read() as tx:
        assert tx.exec(select(Schedule.grace_seconds)).one() == 86400.0
    assert synchronise(with_settings(workspace, deployments={"fraud": {"kpis": {"refunds": {}}}}))
    assert queries.schedules(deck) == []
