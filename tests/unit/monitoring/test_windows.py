"""Which stretches of event time a monitor cuts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from quarterdeck.monitoring.monitor import FirstEvents, Monitor, Span
from quarterdeck.settings.monitoring import MonitorSettings

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def monitor(**settings: Any) -> Monitor:
    return Monitor("m", MonitorSettings(**{"deployment": "d", "origin": MONDAY, **settings}))


def traffic(*times: datetime) -> FirstEvents:
    """What is asked of traffic.db, of those event times."""

    def first(since: datetime | None, limit: int) -> list[datetime]:
        return sorted(time for time in times if since is None or time >= since)[:limit]

    return first


def cut(of: Monitor, *times: datetime, most: int = 20) -> list[Span]:
    windows: list[Span] = []
    while len(windows) < most and (window := of.next_window(windows[-1] if windows else None, traffic(*times))):
        windows.append(window)
    return windows


def test_windows_of_a_length_touch_and_those_without_traffic_are_left_out() -> None:
    times = (MONDAY + HOUR, MONDAY + DAY - timedelta(microseconds=1), MONDAY + DAY, MONDAY + 5 * DAY)
    days = [0, 1, 5]
    assert cut(monitor(window=DAY), *times) == [Span(MONDAY + d * DAY, MONDAY + (d + 1) * DAY) for d in days]
    assert cut(monitor()) == []


def test_sliding_windows_overlap_and_none_that_holds_traffic_is_left_out() -> None:
    times = (MONDAY + 30 * HOUR, MONDAY + 31 * HOUR, MONDAY + 200 * HOUR)
    found = cut(monitor(window=DAY, slide=6 * HOUR), *times)
    assert {(one.end - one.start) for one in found} == {DAY}
    starts = [(one.start - MONDAY) // HOUR for one in found]
    assert starts == [30, 180, 186, 192, 198]
    assert all(any(one.start <= time < one.end for time in times) for one in found)


def test_a_window_of_so_many_predictions_ends_with_the_last_of_them() -> None:
    times = [MONDAY + minute * timedelta(minutes=1) for minute in range(10)]
    found = cut(monitor(rows=4), *times)
    assert [(one.start, one.end) for one in found] == [
        (times[0], times[3] + timedelta(microseconds=1)),
        (times[4], times[7] + timedelta(microseconds=1)),
    ]


@pytest.mark.parametrize(
    ("unit", "moment", "start", "end"),
    [
        ("hour", "2026-10-25T00:30+00:00", "2026-10-25T00:00+00:00", "2026-10-25T01:00+00:00"),
        ("day", "2026-03-29T12:00+00:00", "2026-03-28T23:00+00:00", "2026-03-29T22:00+00:00"),
        ("day", "2026-10-25T12:00+00:00", "2026-10-24T22:00+00:00", "2026-10-25T23:00+00:00"),
        ("week", "2026-03-30T00:00+00:00", "2026-03-29T22:00+00:00", "2026-04-05T22:00+00:00"),
        ("month", "2026-02-28T23:30+00:00", "2026-02-28T23:00+00:00", "2026-03-31T22:00+00:00"),
        ("month", "2026-12-31T12:00+00:00", "2026-11-30T23:00+00:00", "2026-12-31T23:00+00:00"),
    ],
)
def test_windows_of_the_calendar_follow_the_zone_s_clock(unit: str, moment: str, start: str, end: str) -> None:
    (found,) = cut(monitor(calendar=unit, timezone="Europe/Berlin"), datetime.fromisoformat(moment))
    assert found == Span(datetime.fromisoformat(start), datetime.fromisoformat(end))


def test_an_hour_begins_with_the_zone_s_own_clock() -> None:
    (found,) = cut(monitor(calendar="hour", timezone="Asia/Kolkata"), MONDAY + timedelta(minutes=45))
    assert found.start == MONDAY + timedelta(minutes=30)  # 06:00 in India.


def test_windows_of_the_calendar_touch_over_a_whole_year() -> None:
    times = [MONDAY + number * 6 * HOUR for number in range(4 * 366)]
    for unit in ("day", "week", "month"):
        found = cut(monitor(calendar=unit, timezone="America/New_York"), *times, most=500)
        assert all(one.end == two.start for one, two in pairwise(found))
        assert sum(one.start <= time < one.end for one in found for time in times) == len(times)


def test_only_the_hours_that_are_watched_are_taken() -> None:
    berlin = monitor(hours=(12, 18), timezone="Europe/Berlin")
    assert [hour for hour in range(24) if berlin.takes(MONDAY + hour * HOUR)] == [11, 12, 13, 14, 15, 16]
    night = monitor(hours=(22, 6))
    assert [hour for hour in range(24) if night.takes(MONDAY + hour * HOUR)] == [0, 1, 2, 3, 4, 5, 22, 23]
    assert monitor().takes(MONDAY)


def test_past_weeks_have_the_same_weekday_and_hour_and_never_overlap_the_window() -> None:
    hour = Span(MONDAY + 9 * HOUR, MONDAY + 10 * HOUR)
    past = monitor(window=HOUR, reference="calendar", reference_weeks=3).past_weeks(hour)
    assert [(hour.start - one.start) // DAY for one in past] == [7, 14, 21]
    fortnight = Span(MONDAY, MONDAY + 14 * DAY)
    past = monitor(window=14 * DAY, reference="calendar", reference_weeks=2).past_weeks(fortnight)
    assert past == [Span(MONDAY - 14 * DAY, MONDAY), Span(MONDAY - 28 * DAY, MONDAY - 14 * DAY)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rows": 100, "slide": HOUR}, "give one of slide, rows and calendar, not slide and rows"),
        ({"slide": 2 * DAY}, "slide is longer than window"),
        ({"timezone": "Europe/Atlantis", "calendar": "day"}, "there is no time zone 'Europe/Atlantis'"),
        ({"hours": (12, 12)}, "two different hours of a day"),
        ({"hours": (3, 25)}, "two different hours of a day"),
        ({"reference": "period"}, "goes with reference_period"),
        ({"reference_period": (MONDAY, MONDAY + DAY)}, "goes with reference_period"),
        ({"reference": "period", "reference_period": (MONDAY, MONDAY)}, "the first comes first"),
        ({"reference": "calendar", "rows": 100}, "have no weekday"),
    ],
)
def test_what_contradicts_itself_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        monitor(**settings)
