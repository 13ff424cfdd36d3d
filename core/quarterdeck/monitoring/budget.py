"""Error budgets and how fast they burn: the arithmetic alone, after the Site Reliability Workbook, chapters 2 and 5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from quarterdeck.settings.objectives import BurnRate
from quarterdeck.traffic.outcomes import Outcomes

_ROUNDING = 1 - 1e-9
"""A rate that is met but for the last bits of a float is met."""


class Pace(StrEnum):
    BURNING = "burning"
    """Both windows burn at the rate or faster."""
    CLEAN = "clean"
    """One of them is known to burn slower."""
    UNKNOWN = "unknown"
    """Nothing happened in a window, and the other one does not say that it is clean: no data is never good."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What an objective leaves to errors, and what of it is left; in events, such as requests."""

    target: float
    outcomes: Outcomes
    """Of the period."""

    @property
    def measured(self) -> float | None:
        """The share of good events; None where nothing happened."""
        return self.outcomes.good / self.outcomes.total if self.outcomes.total else None

    @property
    def allowed(self) -> float:
        """How many of the period's events may be bad: `(1 - target) * total`."""
        return (1 - self.target) * self.outcomes.total

    @property
    def left(self) -> float:
        """How many more of them could have been bad; negative where it is overspent."""
        return self.allowed - self.outcomes.bad

    @property
    def left_share(self) -> float | None:
        """The same as a share of all that was allowed; None where nothing happened."""
        return self.left / self.allowed if self.outcomes.total else None


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast a budget burns by one of its rates."""

    rule: BurnRate
    short: float | None
    """Times as fast as the period allows; None where nothing happened in the window."""
    long: float | None
    """None also where the short window says enough and this one was not looked at."""
    errors: int
    """Bad events in the long window."""

    @property
    def pace(self) -> Pace:
        rates = (self.short, self.long)
        if any(rate is not None and rate < self.rule.rate * _ROUNDING for rate in rates):
            return Pace.CLEAN
        return Pace.UNKNOWN if None in rates else Pace.BURNING

    def opens(self, minimum_errors: int) -> bool:
        """Whether it is worth an alert: it burns, and by more than a few errors."""
        return self.pace is Pace.BURNING and self.errors >= minimum_errors


def burn_rate(target: float, outcomes: Outcomes) -> float | None:
    """The share of bad events over the share that is allowed: 1 spends the budget exactly by the end of the period.

    None where nothing happened.
    """
    return outcomes.bad / outcomes.total / (1 - target) if outcomes.total else None


def burn(rule: BurnRate, target: float, over: Callable[[timedelta], Outcomes], *, whole: bool = False) -> Burn:
    """How a budget burns by `rule`, where `over` gives the outcomes of the last so long.

    The long window costs more to read: it is left out where the short one is clean, unless `whole`.
    """
    short = burn_rate(target, over(rule.short))
    if not whole and short is not None and short < rule.rate * _ROUNDING:
        return Burn(rule, short, None, 0)
    outcomes = over(rule.long)
    return Burn(rule, short, burn_rate(target, outcomes), outcomes.bad)


def exhausted_after(budget: Budget, rate: float | None, period: timedelta) -> timedelta | None:
    """How long what is left lasts at a burn rate: `left share * period / rate`.

    Zero where nothing is left, None where nothing burns or nothing is known.
    """
    if budget.left_share is None or not rate:
        return None
    return max(budget.left_share, 0.0) * period / rate
