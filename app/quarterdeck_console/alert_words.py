"""How sure an alert is and what it costs, in a few words: for the console and for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quarterdeck.monitoring.queries import AlertRow

LEAST_LOSS = 0.005
Q_MEANS = "q: the chance of that if nothing moved"
UNITS = {"wasserstein_normed": "sigma", "jensen_shannon": "JS", "share_moved": "moved"}
"""Of an effect, by its measure."""
MEANINGS = {
    "wasserstein_normed": "sigma: spreads of the reference",
    "jensen_shannon": "JS: Jensen-Shannon distance, 0 to 0.83",
    "share_moved": "moved: share of the values",
}
HOW = {"realised": "by labels", "estimated": "estimated, as labels have not come"}


def chance(q_value: float) -> str:
    """The corrected chance of so large a shift."""
    return "q<0.001" if q_value < 0.001 else f"q={q_value:.2g}"


def legend(measures: Iterable[str]) -> str:
    """What the units of these measures and `q` mean, on one line."""
    used = set(measures)
    return "; ".join([words for name, words in MEANINGS.items() if name in used] + [Q_MEANS])


def sure(row: AlertRow) -> str | None:
    """`q<0.001`, or where a metric lies: `95% 0.61-0.68`; None where neither is known."""
    if row.interval is not None:
        return f"95% {row.interval[0]:.2f}-{row.interval[1]:.2f}"
    return None if row.q_value is None else chance(row.q_value)


def against_holdout(loss: float) -> str:
    """A metric's relative loss in words, so that no sign has to be guessed: `53% worse`, `2% better`, `no worse`."""
    if loss >= LEAST_LOSS:
        return f"{loss:.0%} worse"
    return f"{-loss:.0%} better" if loss <= -LEAST_LOSS else "no worse"


def costs_nothing(row: AlertRow) -> bool:
    """Whether it is known that the model is no worse than on its holdout."""
    return row.cost is not None and row.cost.a_day is None and row.cost.loss < LEAST_LOSS


def cost(row: AlertRow) -> str | None:
    """`53% worse`, `no worse`, `EUR 1,240 a day`, `~` before what is only estimated; None if nothing is known."""
    if row.cost is None:
        return None
    sign = "~" * (row.cost.how == "estimated")
    if row.cost.a_day is not None:
        return f"{sign}{row.cost.currency} {row.cost.a_day:,.0f} a day"
    return sign + ("no worse" if costs_nothing(row) else against_holdout(row.cost.loss))


def cost_in_full(row: AlertRow) -> str | None:
    """The same with the metric, and how it is known: `roc_auc 53% worse, by labels`."""
    if row.cost is None:
        return None
    how = HOW[row.cost.how]
    if row.cost.a_day is not None:
        return f"costs {row.cost.currency} {row.cost.a_day:,.0f} a day more, {how}"
    return f"{row.cost.metric} {against_holdout(row.cost.loss)}, {how}"
