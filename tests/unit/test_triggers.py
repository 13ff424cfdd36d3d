"""Crontab lines mean what cron means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from quarterdeck.errors import UsageError
from quarterdeck.triggers import Every, cron_trigger, fire_after, weekday_names


def fires(line: str, zone: str, start: datetime, count: int) -> list[datetime]:
    trigger, moments = cron_trigger(line, zone), [start]
    for _ in range(count):
        following = fire_after(trigger, moments[-1])
        assert following is not None
        moments.append(following)
    return moments[1:]


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("*", "*"),
        ("0", "sun"),
        ("7", "sun"),
        ("1", "mon"),
        ("1-5", "mon,tue,wed,thu,fri"),
        ("5-7", "sun,fri,sat"),
        ("fri-mon", "sun,mon,fri,sat"),
        ("*/2", "sun,tue,thu,sat"),
        ("MON,3", "mon,wed"),
    ],
)
def test_weekdays_are_counted_from_sunday(field: str, names: str) -> None:
    assert weekday_names(field) == names


def test_weekday_zero_fires_on_a_sunday() -> None:
    (moment,) = fires("0 6 * * 0", "UTC", datetime(2026, 1, 5, tzinfo=UTC), 1)
    assert (moment.isoweekday(), moment.hour) == (7, 6)


def test_day_and_weekday_together_mean_either() -> None:
    moments = fires("0 0 13 * 5", "UTC", datetime(2026, 1, 5, tzinfo=UTC), 3)
    assert [moment.day for moment in moments] == [9, 13, 16]


def test_a_fixed_local_time_fires_once_on_the_day_that_has_it_twice() -> None:
    # In Berlin 2026-10-25 has 02:30 twice: at 00:30 and at 01:30 UTC.
    moments = fires("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC), 2)
    assert moments == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)]


def test_a_fixed_local_time_fires_once_on_the_day_that_lacks_it() -> None:
    # In Berlin 2026-03-29 goes from 02:00 to 03:00 at 01:00 UTC.
    moments = fires("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC), 2)
    assert moments == [datetime(2026, 3, 29, 1, 30, tzinfo=UTC), datetime(2026, 3, 30, 0, 30, tzinfo=UTC)]


def test_an_hourly_line_fires_each_real_hour_of_that_day() -> None:
    moments = fires("30 * * * *", "Europe/Berlin", datetime(2026, 10, 24, 23, 45, tzinfo=UTC), 3)
    assert [moment.hour for moment in moments] == [0, 1, 2]


@pytest.mark.parametrize("line", ["* * * *", "61 * * * *", "0 0 * * 8", "0 0 * * someday", "hello"])
def test_what_is_no_crontab_line_is_named(line: str) -> None:
    with pytest.raises(UsageError, match="is not a crontab line"):
        cron_trigger(line, "UTC")


def test_an_unknown_time_zone_is_named() -> None:
    with pytest.raises(UsageError, match="no time zone 'Mars/Olympus'"):
        cron_trigger("* * * * *", "Mars/Olympus")


def test_an_interval_counts_exactly_from_its_anchor() -> None:
    anchor = datetime(2026, 1, 5, 12, 0, 0, 123457, tzinfo=UTC)
    trigger = Every(anchor, timedelta(seconds=0.1))
    assert fire_after(trigger, anchor) == anchor + timedelta(seconds=0.1)
    late = anchor + timedelta(seconds=100_000.05)
    assert fire_after(trigger, late) == anchor + timedelta(seconds=100_000.1)
    assert fire_after(trigger, anchor + timedelta(seconds=0.1)) == anchor + timedelta(seconds=0.2)


@pytest.mark.parametrize(
    ("line", "minutes"),
    [("30 2 * * *", [90]), ("30 1,2 * * *", [30, 90]), ("15,45 2 * * *", [75, 105]), ("*/20 2 * * *", [60, 80, 100])],
)
def test_each_time_in_the_hour_that_spring_leaves_out_fires_that_much_later(line: str, minutes: list[int]) -> None:
    # In New York 2027-03-14 goes from 02:00 to 03:00 at 07:00 UTC.
    six = datetime(2027, 3, 14, 6, tzinfo=UTC)
    moments = fires(line, "America/New_York", six - timedelta(seconds=1), len(minutes) + 1)
    assert moments[:-1] == [six + timedelta(minutes=minute) for minute in minutes]
    assert moments[-1].day == 15
