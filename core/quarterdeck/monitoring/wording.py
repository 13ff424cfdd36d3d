"""Budgets in words."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from quarterdeck.monitoring.budget import Budget, Burn, exhausted_after
from quarterdeck.monitoring.objectives import Objective
from quarterdeck.traffic.outcomes import Outcomes
from quarterdeck.values import as_written


def summary(objective: Objective, budget: Budget, burn: Burn, lately: Outcomes, onset: datetime) -> str:
    """One line of an alert: what burns, how fast, since when, what is left of the budget, and for how long.

    `lately` is what happened in the long window of the burn.
    """
    long, short = as_written(burn.rule.long), as_written(burn.rule.short)
    within = "" if objective.within is None else f" within {as_written(objective.within)}"
    after = exhausted_after(budget, burn.short, objective.settings.period)
    lasting = f", spent in {roughly(after)} at this pace" if after else ""
    return (
        f"{objective.kind} burns its budget at {times(burn.long)} over {long} and {times(burn.short)} over {short}, "
        f"since {onset:%Y-%m-%d %H:%M} UTC: {measured(Budget(budget.target, lately))} of {objective.unit}{within} over "
        f"{long}, "
        f"{target(budget.target)} wanted; {left(budget)}{lasting}"
    )


def silence(objective: Objective, budget: Budget) -> str:
    """The same where nothing happened since."""
    return (
        f"{objective.kind} burned its budget, and no {objective.unit} have come since that tell whether it is over; "
        f"{left(budget)}"
    )


def target(share: float) -> str:
    """What is wanted: `99.9%`."""
    return f"{100 * share:.10g}%"


def measured(budget: Budget) -> str:
    """What was measured, rounded down to a digit more than the target needs: what misses it must not seem to hold."""
    if budget.measured is None:
        return "nothing"
    digits = 1 + max(0, math.ceil(-math.log10(1 - budget.target) - 1e-9) - 2)
    scale = 10**digits
    return f"{math.floor(100 * budget.measured * scale + 1e-6) / scale:.{digits}f}%"


def left(budget: Budget) -> str:
    """What is left of a budget."""
    share = budget.left_share
    if share is None:
        return "nothing is known of the budget"
    if share <= 0:
        return f"the budget is spent {1 - share:.2g} times over"
    return f"{share:.0%} of the budget is left"


def remaining(budget: Budget, unit: str) -> str:
    """The same in few words, with how many events that is: `52%, 612 requests`."""
    if budget.left_share is None:
        return ""
    count = f"{abs(budget.left):,.0f}" if abs(budget.left) >= 10 else f"{abs(budget.left):.2g}"
    return f"{budget.left_share:.0%}, {count} {unit}" if budget.left >= 0 else f"overspent by {count} {unit}"


def times(rate: float | None) -> str:
    """A burn rate: `14x`, `0.3x`."""
    if rate is None:
        return "no data"
    return f"{rate:,.0f}x" if rate >= 10 else f"{rate:.2g}x"


def roughly(length: timedelta) -> str:
    """A length of time in its largest unit: `26m`, `15h`, `3d`."""
    hours = length.total_seconds() / 3600
    if hours < 2:
        return f"{max(60 * hours, 1):.0f}m"
    return f"{hours:.0f}h" if hours < 48 else f"{hours / 24:.0f}d"
