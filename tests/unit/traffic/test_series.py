"""Series of KPIs: the same again changes nothing, another value corrects, and what is no point is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from quarterdeck.errors import DataError
from quarterdeck.traffic import series
from quarterdeck.traffic.retention import retain
from quarterdeck.traffic.series import Correction, Mean, Point, Taken, add_points, checked_points
from quarterdeck.workspace import Workspace
from tests.unit.traffic.stories import set_clock, with_settings

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def days(*values: float) -> list[Point]:
    return [(START + number * DAY, value) for number, value in enumerate(values)]


def add(workspace: Workspace, points: list[Point], name: str = "sales") -> Taken:
    return add_points(workspace, "shop", name, points, verb="test")


def values(workspace: Workspace, name: str = "sales") -> list[float]:
    with workspace.traffic.read() as tx:
        return [value for _, value in series.points_of(tx, "shop", name, START, START + 1000 * DAY)]


def test_the_same_again_changes_nothing_and_another_value_corrects_and_says_so(workspace: Workspace) -> None:
    assert add(workspace, days(1, 2, 3)) == Taken(3, 0, ())
    assert add(workspace, days(1, 2, 3)) == Taken(0, 3, ())
    assert add(workspace, days(1, 2.5, 3, 4)) == Taken(1, 2, (Correction(START + DAY, 2, 2.5),))
    assert values(workspace) == [1, 2.5, 3, 4]
    with workspace.traffic.read() as tx:
        found = series.newest_points(tx, "shop", "sales", 10)
    assert [(point.value, point.corrections) for point in found] == [(4, 0), (3, 0), (2.5, 1), (1, 0)]
    # What did not change is as old as it was.
    assert found[1].received_at == found[3].received_at < found[2].received_at


def test_more_points_than_one_transaction_takes(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "AT_ONCE", 7)
    assert add(workspace, days(*range(40))) == Taken(40, 0, ())
    changed = [(at, value + (value % 10 == 0)) for at, value in reversed(days(*range(45)))]
    taken = add(workspace, changed)
    assert (taken.added, taken.known, [one.before for one in taken.corrected]) == (5, 36, [0, 10, 20, 30])
    assert values(workspace) == [value for _, value in reversed(changed)]


def test_a_series_belongs_to_its_deployment_and_its_name(workspace: Workspace) -> None:
    add(workspace, days(1, 2, 3))
    add(workspace, days(10), name="refunds")
    add_points(workspace, "other", "sales", days(100), verb="test")
    with workspace.traffic.read() as tx:
        assert series.names_of(tx, "shop") == ["refunds", "sales"]
        assert series.names_of(tx, "nobody") == []
        assert series.mean(tx, "shop", "sales", START, START + 2 * DAY) == Mean(2, 1.5)
        assert series.mean(tx, "shop", "sales", START + DAY, None) == Mean(2, 2.5)
        assert series.mean(tx, "shop", "sales", START + 3 * DAY, None) == Mean(0, None)
        (refunds, sales) = series.series(tx, "shop")
        assert (refunds.points, sales.points, sales.first, sales.last, sales.newest) == (
            1,
            3,
            START,
            START + 2 * DAY,
            3,
        )
        assert len(series.series(tx)) == 3


def test_points_that_came_longer_ago_than_keep_are_removed_with_the_traffic(workspace: Workspace) -> None:
    set_clock(workspace, START + 10 * DAY)
    add(workspace, days(1, 2))
    set_clock(workspace, START + 13 * DAY)
    add(workspace, days(1, 5))
    retain(with_settings(workspace, traffic={"keep": "2d"}))
    assert values(workspace) == [5]


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        ("yesterday", 1, "Row 2 of the file: the time takes a time as ISO 8601 text"),
        (date(2026, 1, 1), 1, "Row 2 of the file: the time takes a time"),
        (1767225600, 1, "not a value of type int"),
        (None, 1, "not a value of type NoneType"),
        ("1969-12-31T00:00Z", 1, "before 1970"),
        ("2026-01-09T00:00Z", 1, "more than a day ahead"),
        ("2026-01-02T00:00Z", None, "Row 2 of the file has no value"),
        ("2026-01-02T00:00Z", float("nan"), "has nan, which is no figure"),
        ("2026-01-02T00:00Z", Decimal("Infinity"), "has Infinity, which is no figure"),
        ("2026-01-02T00:00Z", "12", "'12', which is no number"),
        ("2026-01-02T00:00Z", True, "'True', which is no number"),
        ("2026-01-01T00:00+00:00", 2, "has 2 for 2026-01-01T00:00:00+00:00, and a row before it 1"),
    ],
)
def test_what_is_no_point_is_refused_with_its_row(at: Any, value: Any, says: str) -> None:
    with pytest.raises(DataError) as raised:
        checked_points([(START, 1), (at, value)], "the file", START + 5 * DAY)
    assert says in str(raised.value)


def test_a_time_is_one_moment_however_its_zone_is_written() -> None:
    rows = [("2026-01-01T01:00+01:00", Decimal("1.5")), ("2026-01-01T00:00", 1.5), (START, 1.5)]
    assert checked_points(rows, "the file", START) == [(START, 1.5)]


def test_a_name_that_is_none_is_refused(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="'a b' is not a name"):
        add(workspace, days(1), name="a b")
