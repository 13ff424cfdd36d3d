"""Finding recorded predictions: by id, by the person's own key, by time, of a revision or a version."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from quarterdeck.errors import NotFoundError, UsageError
from quarterdeck.traffic import compaction, parquet
from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.queries import Sought, prediction, recent, requests_by_revision, traffic
from quarterdeck.traffic.recording import record, record_unanswered
from quarterdeck.workspace import Workspace
from tests.unit.traffic.stories import HOUR, START, set_clock
from tests.unit.traffic.stories import prediction as made


@pytest.fixture
def day(workspace: Workspace) -> Workspace:
    """Forty-eight hours: of `payments` every hour one, arriving a minute after it happened; revision 2 from 24 on."""
    rows = [
        made(
            i,
            key=f"order-{i // 2}",
            event_time=START + i * HOUR,
            received_at=START + i * HOUR + timedelta(minutes=1),
            revision=1 + i // 24,
            version=1 + i // 24,
        )
        for i in range(48)
    ]
    record(workspace, rows)
    return workspace


def ids(workspace: Workspace, sought: Sought, limit: int = 100) -> list[str]:
    return [row.id for row in recent(workspace, "payments", limit, sought)]


@pytest.mark.parametrize("compacted", [False, True], ids=["in the table", "in files"])
def test_predictions_are_found_by_what_is_known_of_them(day: Workspace, compacted: bool) -> None:
    if compacted:
        set_clock(day, START + timedelta(days=5))
        assert compact(day).predictions == 48
    assert ids(day, Sought(id="p7")) == ["p7"]
    assert ids(day, Sought(key="order-20")) == ["p41", "p40"]
    with pytest.raises(UsageError, match="the start comes first"):
        Sought(start=START + timedelta(hours=1), end=START)
    assert ids(day, Sought(id="p7", key="order-20")) == []
    assert ids(day, Sought(revision=1), 3) == ["p23", "p22", "p21"]
    assert ids(day, Sought(version=2, end=START + 26 * HOUR)) == ["p25", "p24"]


def test_times_are_event_times_and_the_end_is_left_out(day: Workspace) -> None:
    assert ids(day, Sought(start=START + 3 * HOUR, end=START + 5 * HOUR)) == ["p4", "p3"]
    assert ids(day, Sought(end=START + timedelta(seconds=1))) == ["p0"]


def test_with_a_time_the_newest_is_what_happened_last_and_without_one_what_arrived_last(workspace: Workspace) -> None:
    record(workspace, [made(0, START, event_time=START + HOUR), made(1, START + HOUR, event_time=START)])
    assert ids(workspace, Sought()) == ["p1", "p0"]
    assert ids(workspace, Sought(start=START)) == ["p0", "p1"]


def test_a_key_with_a_nul_in_it_is_found_and_no_other(workspace: Workspace) -> None:
    record(workspace, [made(0, key="a\0b"), made(1, key="a"), made(2, key=None)])
    set_clock(workspace, START + timedelta(days=5))
    for _ in range(2):
        assert ids(workspace, Sought(key="a\0b")) == ["p0"]
        compact(workspace)


def test_one_prediction_comes_with_its_label_and_an_unknown_one_says_how_to_look_by_key(day: Workspace) -> None:
    add_labels(day, "payments", [{"reference": "order-20", "value": 1}])
    assert prediction(day, "payments", "p41").label == 1
    with pytest.raises(NotFoundError, match="--key order-20"):
        prediction(day, "payments", "order-20")


def test_only_the_row_groups_that_hold_what_is_sought_are_read_whole(
    day: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "ROW_GROUP", 4)
    set_clock(day, START + timedelta(days=5))
    compact(day)
    whole: list[int] = []
    read = parquet._read

    def watched(file: Path, groups: list[int], names: list[str]) -> object:
        if "inputs" in names:
            whole.append(len(groups))
        return read(file, groups, names)

    monkeypatch.setattr(parquet, "_read", watched)
    assert ids(day, Sought(id="p30")) == ["p30"]
    assert ids(day, Sought(), 3) == ["p47", "p46", "p45"]
    assert max(whole) == 1


def test_errors_are_counted_by_reason_since_a_moment(day: Workspace) -> None:
    for hour, reason, count in ((1, "rejected", 5), (30, "rejected", 2), (31, "overload", 1), (47, "rejected", 3)):
        set_clock(day, START + hour * HOUR)
        record_unanswered(day, "payments", 1, reason=reason, count=count)
    record_unanswered(day, "churn", 1, reason="failed", count=9)
    assert traffic(day, "payments", START + 29 * HOUR).unanswered == {"overload": 1, "rejected": 5}
    assert traffic(day, "payments", START).unanswered == {"overload": 1, "rejected": 10}
    assert traffic(day, "payments", START + 48 * HOUR).unanswered == {}


def test_the_predictions_of_one_revision_are_counted_like_those_of_all(day: Workspace) -> None:
    assert requests_by_revision(day, "payments") == {1: 24, 2: 24}
    assert requests_by_revision(day, "payments", only=2) == {2: 24}
    assert requests_by_revision(day, "payments", only=9) == {}
