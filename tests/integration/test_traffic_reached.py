"""A moment of the clock as event time: where the traffic was by then."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.reached import event_time_at
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock
from tests.watched import HOUR, START

MINUTE = timedelta(minutes=1)


def arrive(workspace: Workspace, name: str, received: datetime, event: datetime, *, probe: bool = False) -> None:
    row = {"deployment": "d", "id": name, "received_at": received, "event_time": event, "version": 1, "inputs": [1.0]}
    record(workspace, [{**row, "prediction": 0, "probabilities": None, "probe": probe}])


def test_without_traffic_it_is_the_clock(workspace: Workspace) -> None:
    assert event_time_at(workspace, "d", START) == START
    arrive(workspace, "probe", START, START - 9 * HOUR, probe=True)
    assert event_time_at(workspace, "d", START + HOUR) == START + HOUR


def test_events_that_arrive_as_they_happen_leave_the_clock_as_it_is_and_late_ones_do_not_set_it_back(
    workspace: Workspace,
) -> None:
    for minute in range(20):
        arrive(workspace, f"live-{minute}", START + minute * MINUTE, START + minute * MINUTE)
        arrive(workspace, f"late-{minute}", START + minute * MINUTE, START - 40 * HOUR)
    assert event_time_at(workspace, "d", START + 15.5 * MINUTE) == START + 15.5 * MINUTE
    assert event_time_at(workspace, "d", START + 9 * HOUR) == START + 9 * HOUR


def test_a_clock_that_runs_ahead_somewhere_brings_nothing_forward(workspace: Workspace) -> None:
    arrive(workspace, "ahead", START, START + 5 * HOUR)
    assert event_time_at(workspace, "d", START + MINUTE) == START + MINUTE


@pytest.mark.parametrize("compacted", [False, True], ids=["in the table", "in files"])
def test_a_past_that_is_played_is_placed_in_that_past(workspace: Workspace, *, compacted: bool) -> None:
    before = START - 300 * 24 * HOUR
    for day in range(3):
        arrive(workspace, f"day-{day}", START + day * MINUTE, before + day * 24 * HOUR)
    if compacted:
        clock = workspace.ports.clock
        assert isinstance(clock, FakeClock)
        clock.moment = START + 72 * HOUR
        assert compact(workspace).predictions == 3
    assert event_time_at(workspace, "d", START + 0.5 * MINUTE) == before + 0.5 * MINUTE
    assert event_time_at(workspace, "d", START + 1.5 * MINUTE) == before + 24 * HOUR + 0.5 * MINUTE
    assert event_time_at(workspace, "d", START + 9 * MINUTE) == before + 48 * HOUR + 7 * MINUTE
    # Before the first arrival, by the lag of that.
    assert event_time_at(workspace, "d", START - MINUTE) == before - MINUTE
