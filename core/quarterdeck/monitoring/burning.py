"""Alerts about error budgets: opened when one burns too fast over two windows, and over when the short one is clean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.monitoring import wording
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Severity
from quarterdeck.monitoring.alerting import ACTIVE, REOPENED_WITHIN, facts, resolve
from quarterdeck.monitoring.budget import Burn, Pace
from quarterdeck.monitoring.objectives import Kind, Measuring, Objective, objectives_of
from quarterdeck.monitoring.serving import what_serves
from quarterdeck.traffic.prediction import NO_VERSION
from quarterdeck.values import as_written
from quarterdeck.workspace import Workspace

_Key = tuple[str, str]
"""Deployment and objective: what has one open alert at most."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an alert says of a budget that burns."""

    severity: Severity
    summary: str
    onset: datetime
    score: float
    pace: float
    """How many times too fast it burns: what was worst goes by that."""
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be done about one objective: open its alert, follow it, or end it."""

    objective: Objective
    told: Told | None = None
    over: str | None = None
    """Why the alert has ended."""


def watch_budgets(workspace: Workspace) -> None:
    """Open, follow and resolve the alerts about objectives. The runner calls it once a minute.

    Nothing is written while nothing changes, and little is read: an objective that burns slowly costs a look at the
    short windows.
    """
    wanted = list(objectives_of(workspace.settings))
    with workspace.state.read() as state:
        active = {_key_of(alert): alert for alert in _active(state)}
        if not wanted and not active:
            return
        with workspace.traffic.read() as traffic:
            looked = [Measuring.at(workspace.now(), objective, state, traffic) for objective in wanted]
            found = [_look(workspace, one, active.get(_key(one.objective))) for one in looked]
    findings = [one for one in found if one is not None]
    dropped = active.keys() - {_key(objective) for objective in wanted}
    if findings or dropped:
        with workspace.state.write("objectives") as tx:
            for finding in findings:
                _settle(tx, workspace, finding)
            for alert in _active(tx):
                if _key_of(alert) in dropped:
                    resolve(tx, workspace, alert, "it is no objective any more")


def _look(workspace: Workspace, measuring: Measuring, alert: Alert | None) -> Finding | None:
    """What is to be done; None where that is nothing."""
    burns, objective = measuring.burns(), measuring.objective
    opening = _opening(workspace, measuring, burns, alert)
    if alert is None:
        if opening is None:
            return None
        onset = measuring.onset(opening.rule)
        return Finding(objective, told=_told(measuring, opening, onset, Severity(opening.rule.severity)))
    own = [one for one in burns if one.rule.severity == alert.severity] or burns
    severity = alert.severity
    if opening is not None and opening.rule.pages:
        severity, own = Severity.PAGE, [opening]
    burning = [one for one in own if one.pace is Pace.BURNING]
    if not burning and all(one.pace is Pace.CLEAN for one in own):
        return Finding(objective, over=_why_over(own))
    told = _told(measuring, burning[0] if burning else None, alert.onset, severity)
    same = (told.summary, told.severity) == (alert.summary, alert.severity)
    return None if same else Finding(objective, told=told)


def _opening(workspace: Workspace, measuring: Measuring, burns: Sequence[Burn], alert: Alert | None) -> Burn | None:
    """The worst of the burns that are worth an alert."""
    least = measuring.objective.minimum_errors
    worth = [one for one in burns if one.opens(least)]
    if not worth:
        return None
    if alert is None:
        if measuring.objective.kind is Kind.QUALITY and _is_told_of(measuring.state, measuring.objective.deployment):
            return None
        before = _last_ended(measuring.state, measuring.objective)
        worth = [one for one in worth if not _is_old_news(one, before, workspace.now())]
    return min(worth, key=lambda one: (not one.rule.pages, -one.rule.rate), default=None)


def _is_old_news(burn: Burn, before: Alert | None, now: datetime) -> bool:
    """Whether a slow burn may still be the one that a page told of, which is over: its short window is longer."""
    if before is None or before.resolved_at is None or before.severity is not Severity.PAGE:
        return False
    return not burn.rule.pages and before.resolved_at > now - burn.rule.short


def _is_told_of(tx: Session, deployment: str) -> bool:
    """Whether a monitor's alert tells somebody already that the predictions are worse: one cause, one alert."""
    query = select(Alert.id).where(
        Alert.deployment == deployment,
        Alert.kind == AlertKind.QUALITY,
        col(Alert.state).in_(ACTIVE),
        Alert.severity != Severity.INFORMATIONAL,
    )
    return tx.exec(query.limit(1)).first() is not None


def _settle(tx: Session, workspace: Workspace, finding: Finding) -> None:
    objective, told = finding.objective, finding.told
    alert = next((one for one in _active(tx) if _key_of(one) == _key(objective)), None)
    if told is None:
        if alert is not None:
            resolve(tx, workspace, alert, finding.over or "")
    elif alert is not None:
        _follow(tx, workspace, alert, told)
    else:
        _open(tx, workspace, objective, told)


def _open(tx: Session, workspace: Workspace, objective: Objective, told: Told) -> None:
    before = _last_ended(tx, objective)
    lately = workspace.now() - REOPENED_WITHIN
    if before is not None and before.resolved_at is not None and before.resolved_at > lately:
        before.reopen()
        before.severity, before.onset = told.severity, told.onset
        _tell(tx, workspace, before, told)
        workspace.record(tx, "alert.reopened", before.reference, {**facts(before), "times": before.reopened})
        return
    monitors = workspace.settings.monitors.items()
    watching = (name for name, monitor in monitors if monitor.deployment == objective.deployment)
    alert = Alert(
        monitor=next(watching, objective.deployment),
        deployment=objective.deployment,
        version=NO_VERSION,
        kind=AlertKind.SLO,
        columns=[objective.kind],
        severity=told.severity,
        score=told.score,
        state=AlertState.OPEN,
        summary=told.summary,
        evidence=told.evidence,
        onset=told.onset,
        last_window_end=workspace.now(),
        opened_at=workspace.now(),
    )
    _tell(tx, workspace, alert, told)
    tx.flush()
    workspace.record(tx, "alert.opened", alert.reference, facts(alert))


def _follow(tx: Session, workspace: Workspace, alert: Alert, told: Told) -> None:
    escalated = told.severity is not alert.severity
    alert.severity = told.severity
    _tell(tx, workspace, alert, told)
    if escalated:
        workspace.record(tx, "alert.escalated", alert.reference, facts(alert))


def _tell(tx: Session, workspace: Workspace, alert: Alert, told: Told) -> None:
    serving = what_serves(tx, alert.deployment)
    alert.version = NO_VERSION if serving is None else serving.version
    alert.tell(told.summary, told.pace, workspace.now())
    alert.score, alert.evidence, alert.last_window_end = told.score, told.evidence, workspace.now()
    tx.add(alert)


def _active(tx: Session) -> Sequence[Alert]:
    return tx.exec(select(Alert).where(Alert.kind == AlertKind.SLO, col(Alert.state).in_(ACTIVE))).all()


def _last_ended(tx: Session, objective: Objective) -> Alert | None:
    query = select(Alert).where(
        Alert.deployment == objective.deployment, Alert.kind == AlertKind.SLO, Alert.state == AlertState.RESOLVED
    )
    ended: Iterable[Alert] = tx.exec(query.order_by(col(Alert.resolved_at).desc()))
    return next((alert for alert in ended if _key_of(alert) == _key(objective)), None)


def _key(objective: Objective) -> _Key:
    return objective.deployment, objective.kind


def _key_of(alert: Alert) -> _Key:
    return alert.deployment, alert.columns[0]


def _told(measuring: Measuring, burn: Burn | None, onset: datetime, severity: Severity) -> Told:
    """What is to be said; without a burn, that nothing is known any more."""
    objective, budget = measuring.objective, measuring.budget()
    spent = 1 - (budget.left_share or 0.0)
    if burn is None:
        summary = wording.silence(objective, budget)
    else:
        summary = wording.summary(objective, budget, burn, measuring.over(burn.rule.long), onset)
    evidence = {
        "target": objective.target,
        "measured": budget.measured,
        "period": as_written(objective.settings.period),
        objective.unit: budget.outcomes.total,
        "bad": budget.outcomes.bad,
        "budget_left": budget.left_share,
    }
    if burn is not None:
        evidence |= {
            "burn_rate": burn.long,
            "burn_rate_now": burn.short,
            "limit": burn.rule.rate,
            "windows": burn.rule.windows,
        }
    return Told(
        severity=severity,
        summary=summary,
        onset=onset,
        # What of the whole budget is gone: nothing ranks above all of it.
        score=min(max(spent, 0.0), 1.0),
        pace=0.0 if burn is None else burn.long or 0.0,
        evidence={objective.kind: evidence},
    )


def _why_over(burns: Sequence[Burn]) -> str:
    quickest = min(burns, key=lambda one: one.rule.short)
    if quickest.short is None:
        return f"the last {as_written(quickest.rule.long)} burn at {wording.times(quickest.long)}"
    return f"the last {as_written(quickest.rule.short)} burn at {wording.times(quickest.short)}"
