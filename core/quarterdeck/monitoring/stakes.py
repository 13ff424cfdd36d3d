"""How sure an alert is, and what it costs: from its evidence, and from the quality of the windows that showed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlmodel import Session, col, select

from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState
from quarterdeck.monitoring.finding import METRICS
from quarterdeck.monitoring.result import Aspect, Result, Verdict


@dataclass(frozen=True, slots=True)
class Cost:
    """What the model lost in quality since the alert began, as far as it is known."""

    how: Literal["realised", "estimated"]
    """By labels, or by what the holdout lets expect."""
    metric: str
    loss: float
    """Relative to the holdout: 0.12 is 12% worse; negative is better."""
    a_day: float | None = None
    """What the answers of a day cost more than on the holdout; None where nobody said what wrong ones cost."""
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Stakes:
    q_value: float | None
    """Of the alert's first column: how likely so large a shift were by chance, corrected for all columns."""
    interval: tuple[float, float] | None
    """For a metric: where it lies with 95%."""
    cost: Cost | None
    """None where nothing is known of it."""


def stakes_of(tx: Session, alert: Alert) -> Stakes:
    """What is known of an alert now. Of resolved ones only what their evidence says."""
    row = alert.evidence.get(alert.columns[0], {}) if alert.columns else {}
    if alert.kind in METRICS:
        return Stakes(None, _interval(row), _cost_in(row, realised=alert.kind is AlertKind.QUALITY))
    name = {AlertKind.MISSING: "missing_q", AlertKind.UNSEEN: "unseen_q"}.get(alert.kind, "q_value")
    q_value = row.get(name)
    return Stakes(q_value, None, _cost(tx, alert))


def _interval(row: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = row.get("low"), row.get("high")
    return None if low is None or high is None else (low, high)


def _cost_in(row: Mapping[str, Any], *, realised: bool) -> Cost | None:
    if row.get("loss") is None or row.get("value") is None:
        return None
    money = row.get("cost") or {}
    how: Literal["realised", "estimated"] = "realised" if realised else "estimated"
    return Cost(how, row["metric"], row["loss"], money.get("a_day"), money.get("currency"))


def _cost(tx: Session, alert: Alert) -> Cost | None:
    """Of an alert on inputs or answers: by labels before by expectation, in its newest window that says so."""
    if alert.state is not AlertState.RESOLVED:
        for aspect in (Aspect.QUALITY, Aspect.ESTIMATE):
            query = select(Result).where(
                Result.deployment == alert.deployment,
                Result.version == alert.version,
                Result.monitor == alert.monitor,
                Result.aspect == aspect,
                Result.verdict != Verdict.INCONCLUSIVE,
                col(Result.window_start) >= alert.onset,
                col(Result.window_end) <= alert.last_window_end,
            )
            result = tx.exec(query.order_by(col(Result.window_end).desc()).limit(1)).first()
            cost = None if result is None else _cost_in(result.scores[0], realised=aspect is Aspect.QUALITY)
            if cost is not None:
                return cost
    # What was only estimated stands on the alert as evidence: see `finding.CONSEQUENCES`.
    found = (_cost_in(row, realised=False) for row in alert.evidence.values() if isinstance(row, dict))
    return next((cost for cost in found if cost is not None), None)
