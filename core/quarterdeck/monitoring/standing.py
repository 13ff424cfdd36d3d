"""How objectives stand: what the command line and the console read, frozen rows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlmodel import Session, col, select

from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import Alert, AlertKind, Severity
from quarterdeck.monitoring.alerting import ACTIVE
from quarterdeck.monitoring.budget import Budget, Burn, Pace, exhausted_after
from quarterdeck.monitoring.objectives import Measuring, Objective, objectives_of
from quarterdeck.traffic.outcomes import Outcomes
from quarterdeck.values import as_written
from quarterdeck.workspace import Workspace


class Standing(StrEnum):
    HOLDS = "holds"
    MISSED = "missed"
    """Over the period it is not kept: the budget is spent."""
    WARNING = "warning"
    """An alert that warns is open."""
    PAGE = "page"
    """An alert that pages is open."""
    NO_DATA = "no data"
    """Nothing happened in the period: neither good nor bad."""


@dataclass(frozen=True, slots=True)
class BurnRow:
    """How fast a budget burns over two windows."""

    rate: float
    """From which on it counts."""
    severity: str
    long: str
    short: str
    long_burn: float | None
    """Times as fast as the period allows; None where nothing happened."""
    short_burn: float | None
    errors: int
    """Bad events in the long window."""
    burning: bool
    """Both are at the rate or over it."""


@dataclass(frozen=True, slots=True)
class ObjectiveRow:
    """An objective over its period."""

    deployment: str
    objective: str
    target: float
    within: str | None
    """What is in time, for latency."""
    period: str
    unit: str
    """What is counted: requests, answers, windows."""
    total: int
    bad: int
    measured: float | None
    """The share of good ones; None where there are none."""
    allowed: float
    """How many of `total` may be bad."""
    left: float
    """How many more of them could have been; negative where the budget is overspent."""
    left_share: float | None
    minimum_errors: int
    """Fewer errors than this in a long window open no alert."""
    burns: tuple[BurnRow, ...]
    exhausted_in_seconds: float | None
    """When what is left is spent, at the pace of the short window; None while nothing burns."""
    standing: str
    alert: int | None
    """The alert that is open about it."""

    @property
    def budget(self) -> Budget:
        return Budget(self.target, Outcomes(self.total - self.bad, self.bad))


def standings(workspace: Workspace, deployment: str | None = None) -> list[ObjectiveRow]:
    """Every objective of quarterdeck.toml, or those of one deployment.

    Raises:
        NotFoundError: that deployment has none; the message lists those that have.
    """
    wanted = list(objectives_of(workspace.settings))
    chosen = [one for one in wanted if deployment in (None, one.deployment)]
    if deployment is not None and not chosen:
        known = ", ".join(dict.fromkeys(one.deployment for one in wanted)) or "none yet"
        raise NotFoundError(
            f"Deployment '{deployment}' has no objectives. Those that have: {known}. "
            f"Add some to {workspace.settings_file}: [deployments.{deployment}.slo] availability = 0.99."
        )
    now = workspace.now()
    with workspace.state.read() as state, workspace.traffic.read() as traffic:
        return [_row(Measuring.at(now, one, state, traffic), _open_alert(state, one)) for one in chosen]


def _row(measuring: Measuring, alert: Alert | None) -> ObjectiveRow:
    objective, budget, burns = measuring.objective, measuring.budget(), measuring.burns(whole=True)
    burning = next((one for one in burns if one.pace is Pace.BURNING), None)
    after = None if burning is None else exhausted_after(budget, burning.short, objective.settings.period)
    return ObjectiveRow(
        deployment=objective.deployment,
        objective=objective.kind,
        target=objective.target,
        within=None if objective.within is None else as_written(objective.within),
        period=as_written(objective.settings.period),
        unit=objective.unit,
        total=budget.outcomes.total,
        bad=budget.outcomes.bad,
        measured=budget.measured,
        allowed=budget.allowed,
        left=budget.left,
        left_share=budget.left_share,
        minimum_errors=objective.minimum_errors,
        burns=tuple(_burn_row(one) for one in burns),
        exhausted_in_seconds=None if after is None else after.total_seconds(),
        standing=_standing(budget, alert),
        alert=None if alert is None else alert.id,
    )


def _burn_row(burn: Burn) -> BurnRow:
    return BurnRow(
        rate=burn.rule.rate,
        severity=burn.rule.severity,
        long=as_written(burn.rule.long),
        short=as_written(burn.rule.short),
        long_burn=burn.long,
        short_burn=burn.short,
        errors=burn.errors,
        burning=burn.pace is Pace.BURNING,
    )


def _standing(budget: Budget, alert: Alert | None) -> Standing:
    if alert is not None:
        return Standing.PAGE if alert.severity is Severity.PAGE else Standing.WARNING
    if budget.measured is None:
        return Standing.NO_DATA
    return Standing.MISSED if budget.left < 0 else Standing.HOLDS


def _open_alert(tx: Session, objective: Objective) -> Alert | None:
    query = select(Alert).where(
        Alert.deployment == objective.deployment, Alert.kind == AlertKind.SLO, col(Alert.state).in_(ACTIVE)
    )
    return next((alert for alert in tx.exec(query) if alert.columns == [objective.kind]), None)
