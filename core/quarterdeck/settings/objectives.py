"""The part of quarterdeck.toml that says how good a deployment has to be: objectives, and when their alerts open."""

from __future__ import annotations

from bisect import bisect_left
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from quarterdeck.settings.section import Section
from quarterdeck.values import Duration, as_written

MINUTE = timedelta(minutes=1)
LONGEST_PERIOD = timedelta(days=90)
_IN_A_DECADE = (10, 12, 15, 20, 25, 30, 35, 40, 50, 60, 70, 75, 80, 90)
LATENCY_CLASSES_US = tuple(step * 10**power for power in range(1, 8) for step in _IN_A_DECADE)
"""The latencies, in microseconds, up to which requests are counted: 0.1 ms to 900 s. An objective's `within` is one of
them, so that it can be set or changed afterwards and holds for all that was counted before."""


def _share(value: float) -> float:
    if not 0 < value < 1:
        percent = f"; write {value / 100:.10g} for {value:.10g}%" if 1 < value < 100 else ""
        raise ValueError(
            f"an objective is a share between 0 and 1, and {value:.10g} leaves no errors to spend{percent}"
            if value >= 1
            else f"an objective is a share between 0 and 1, like 0.99, and not {value:.10g}"
        )
    return value


Share = Annotated[float, AfterValidator(_share)]


def _countable(value: timedelta) -> timedelta:
    microseconds = value // timedelta(microseconds=1)
    place = bisect_left(LATENCY_CLASSES_US, microseconds)
    if LATENCY_CLASSES_US[place : place + 1] != (microseconds,):
        near = [as_written(timedelta(microseconds=one)) for one in LATENCY_CLASSES_US[max(place - 1, 0) : place + 1]]
        raise ValueError(f"requests are not counted up to {as_written(value)}; the nearest is {' or '.join(near)}")
    return value


class LatencyObjective(Section):
    target: Share
    """The share of answered requests that are to be answered in time."""
    within: Annotated[Duration, AfterValidator(_countable)]
    """In time is up to here, from the parsed request to the answer: `"50ms"`. One of 1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5,
    6, 7, 7.5, 8 and 9, or tenfolds of them."""


class BurnRate(Section):
    rate: float = Field(ge=1)
    """How many times as fast as the period allows."""
    long: Duration
    """The window over which it burns so fast: what this is worth alerting for."""
    short: Duration
    """The window that says whether it still does: the alert ends soon after the errors do."""
    severity: Literal["page", "warning"]
    """What its alert is."""

    @model_validator(mode="after")
    def _windows_are_in_order(self) -> BurnRate:
        if self.short < MINUTE:
            raise ValueError(f"short ({as_written(self.short)}) is less than a minute, by which requests are counted")
        if self.short >= self.long:
            raise ValueError(f"short ({as_written(self.short)}) must be shorter than long ({as_written(self.long)})")
        return self

    @property
    def pages(self) -> bool:
        return self.severity == "page"

    @property
    def windows(self) -> str:
        return f"{as_written(self.long)} and {as_written(self.short)}"


STANDARD = (
    BurnRate(rate=14.4, long=timedelta(hours=1), short=timedelta(minutes=5), severity="page"),
    BurnRate(rate=6, long=timedelta(hours=6), short=timedelta(minutes=30), severity="page"),
    BurnRate(rate=1, long=timedelta(days=3), short=timedelta(hours=6), severity="warning"),
)
"""Of the Site Reliability Workbook (Beyer et al. 2018), chapter 5, table 5-8: 2% of a budget of 30 days within an hour,
5% within 6 hours, 10% within 3 days."""


class ObjectiveSettings(Section):
    availability: Share | None = None
    """The share of requests that are to be answered: not failed, not turned away for load, not met by a model that is
    not loaded. What a client got wrong counts for neither side."""
    latency: LatencyObjective | None = None
    """The share of answers that are to come in time: `{ target = 0.99, within = "50ms" }`."""
    quality: Share | None = None
    """The share of a monitor's judged windows whose realised quality is to hold."""
    period: Duration = timedelta(days=30)
    """The budget is what the objectives leave to errors in the last so many days."""
    minimum_errors: int = Field(default=10, ge=1)
    """An alert opens only if the long window has so many errors, or late answers: of few requests one error is much of
    the budget, and still no reason to wake anybody. Of windows of `quality` it takes two."""
    burn_rates: tuple[BurnRate, ...] = Field(default=STANDARD, min_length=1)
    """How fast a budget must burn, over two windows at once, for an alert."""

    @model_validator(mode="after")
    def _something_is_wanted(self) -> ObjectiveSettings:
        if not self.targets:
            raise ValueError("give at least one of availability, latency and quality")
        return self

    @model_validator(mode="after")
    def _windows_lie_in_the_period(self) -> ObjectiveSettings:
        if self.period > LONGEST_PERIOD:
            raise ValueError(f"period ({as_written(self.period)}) is longer than {as_written(LONGEST_PERIOD)}")
        longest = max(one.long for one in self.burn_rates)
        if longest > self.period:
            raise ValueError(
                f"period ({as_written(self.period)}) is shorter than a window of burn_rates ({as_written(longest)})"
            )
        return self

    @model_validator(mode="after")
    def _rates_can_be_reached(self) -> ObjectiveSettings:
        slowest = min(one.rate for one in self.burn_rates)
        for name, target in self.targets.items():
            fastest = 1 / (1 - target)
            if slowest > fastest * (1 + 1e-9):
                raise ValueError(
                    f"{name} = {target:.10g} burns {fastest:.3g} times too fast at most, when everything fails, and "
                    f"burn_rates begin at {slowest:.10g}: no alert could open"
                )
        return self

    @property
    def targets(self) -> dict[str, float]:
        """What is wanted, by the objective's name."""
        latency = None if self.latency is None else self.latency.target
        wanted = {"availability": self.availability, "latency": latency, "quality": self.quality}
        return {name: target for name, target in wanted.items() if target is not None}
