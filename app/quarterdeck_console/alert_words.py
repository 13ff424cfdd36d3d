"""How sure an alert is and what it costs, in a few words: for the console and for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quarterdeck.monitoring.queries import AlertRow

LEAST_LOSS = 0.005


def chance(q_value: float) -> str:
    """The corrected chance of so large a shift."""
    return "q<0.001" if q_value < 0.001 else f"q={q_value:.2g}"


def sure(row: AlertRow) -> str | None:
    """`q<0.001`, or where a metric lies: `95% 0.61-0.68`; None where neither is known."""
    if row.interval is not None:
        return f"95% {row.interval[0]:.2f}-{row.interval[1]:.2f}"
    return None if row.q_value is None else chance(row.q_value)


def cost(row: AlertRow) -> str | None:
    """`realised -53% roc_auc`, `estimated none`, `EUR 1,240 a day`; None where nothing is known of it."""
    if row.cost is None:
        return None
    if row.cost.a_day is not None:
        sign = "~" * (row.cost.how == "estimated")
        return f"{sign}{row.cost.currency} {row.cost.a_day:,.0f} a day"
    if row.cost.loss < LEAST_LOSS:
        return f"{row.cost.how} none"
    return f"{row.cost.how} -{row.cost.loss:.0%} {row.cost.metric}"
