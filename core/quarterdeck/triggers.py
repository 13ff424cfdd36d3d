"""APScheduler triggers: crontab lines with cron's own meaning of weekdays and daylight saving, and exact intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger

from quarterdeck.errors import UsageError

DAY = timedelta(days=1)
# APScheduler counts Monday as 0 and cron counts Sunday as 0 and as 7: names mean the same to both.
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def cron_trigger(line: str, zone: str) -> BaseTrigger:
    """The trigger of a five-field crontab line in the time zone called `zone`.

    Raises:
        UsageError: it is not a crontab line, or there is no such zone.
    """
    try:
        where = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UsageError(f"There is no time zone '{zone}'. Write a name such as Europe/Berlin.") from error
    fields = line.split()
    if len(fields) != 5:
        raise UsageError(f"'{line}' is not a crontab line: it needs minute, hour, day, month and weekday.")
    minute, hour, day, month, weekday = fields
    try:
        common: dict[str, Any] = {"minute": minute, "hour": hour, "month": month, "timezone": where}
        if day != "*" and weekday != "*":
            # cron(5): when both days are restricted, either is enough. APScheduler wants both.
            return OrTrigger([_Cron(day=day, **common), _Cron(day_of_week=weekday_names(weekday), **common)])
        return _Cron(day=day, day_of_week=weekday_names(weekday), **common)
    except ValueError as error:
        raise UsageError(f"'{line}' is not a crontab line: {error}.") from error


class Every(BaseTrigger):  # type: ignore[misc]  # APScheduler is not typed
    """Fires at `anchor` plus whole multiples of `interval`.

    APScheduler's own counts in floats, so the same tick can come out a microsecond apart: no key to be idempotent by.
    """

    def __init__(self, anchor: datetime, interval: timedelta) -> None:
        self.anchor = anchor.astimezone(UTC)
        self.interval = interval

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        if previous is not None:
            return previous + self.interval
        elapsed = now.astimezone(UTC) - self.anchor
        # Rounded up; the first tick is one interval after the anchor.
        return self.anchor + max(1, -(-elapsed // self.interval)) * self.interval


def weekday_names(field: str) -> str:
    """A crontab weekday field (0 and 7 are Sunday) as a list of day names; `*` stays `*`.

    Raises:
        ValueError: it is not one.
    """
    if field == "*":
        return field
    chosen: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = 0, 6
        else:
            low = _day(first)
            high = _day(last) if dash else (6 if step else low)
        if high < low:
            high += 7
        chosen.update(day % 7 for day in range(low, high + 1, int(step or 1)))
    return ",".join(_DAYS[day] for day in sorted(chosen))


def _day(text: str) -> int:
    if text.lower() in _DAYS:
        return _DAYS.index(text.lower())
    if not text.isdecimal() or int(text) > 7:
        raise ValueError(f"'{text}' is not a weekday: 0 to 7 (0 and 7 are Sunday) or sun to sat")
    return int(text)


class _Cron(CronTrigger):  # type: ignore[misc]  # APScheduler is not typed
    """A fixed local time fires once on the day that has it twice, and as soon as it could on the day that lacks it.

    An hourly or finer pattern fires each real hour. What lies in the hour that spring leaves out fires that much
    later, as cron(8) has it.
    """

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        moment: datetime | None = super().get_next_fire_time(previous, now)
        while moment is not None and moment.fold and self._fixed_hour():
            moment = super().get_next_fire_time(moment, moment)
        if self._fixed_hour():
            after = now if previous is None else previous
            day = after.astimezone(self.timezone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
            lacking = [self._in_the_gap(one, after) for one in (day, day + DAY)]
            return min((one for one in (moment, *lacking) if one is not None), default=None)
        return moment

    def _in_the_gap(self, day: datetime, after: datetime) -> datetime | None:
        """The first time later than `after` that the line means and the clocks of `day` (local midnight) leave out."""
        zone, end = self.timezone, day + DAY
        if day.replace(tzinfo=zone).utcoffset() == end.replace(tzinfo=zone).utcoffset():
            return None
        plain = CronTrigger(**{field.name: str(field) for field in self.fields if not field.is_default}, timezone=UTC)
        local = plain.get_next_fire_time(None, day.replace(tzinfo=UTC))
        while local is not None and local.replace(tzinfo=None) < end:
            real: datetime = local.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
            if real.replace(tzinfo=None) != local.replace(tzinfo=None) and real > after:
                return real
            local = plain.get_next_fire_time(local, local)
        return None

    def _fixed_hour(self) -> bool:
        hour = next(field for field in self.fields if field.name == "hour")
        return "*" not in str(hour)


def fire_after(trigger: BaseTrigger, moment: datetime) -> datetime | None:
    """The first time, in UTC, at which `trigger` fires strictly after `moment`."""
    after = moment.astimezone(UTC)
    fire: datetime | None = trigger.get_next_fire_time(None, after)
    while fire is not None and fire.astimezone(UTC) <= after:
        fire = trigger.get_next_fire_time(fire, fire)
    return fire.astimezone(UTC) if fire else None
