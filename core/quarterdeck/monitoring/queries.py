"""What panes and the command line read of monitors and alerts: frozen rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.monitoring.alert import Alert, AlertState, Judgement, find_alert
from quarterdeck.monitoring.grouping import members
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.monitoring.stakes import Cost, stakes_of
from quarterdeck.workspace import Workspace

STRIP_LENGTH = 12


@dataclass(frozen=True, slots=True)
class AlertRow:
    id: int
    monitor: str
    deployment: str
    version: int
    kind: str
    columns: tuple[str, ...]
    slice: str | None
    severity: str
    score: float
    state: str
    summary: str
    evidence: dict[str, Any]
    onset: datetime
    last_window_end: datetime
    opened_at: datetime
    resolved_at: datetime | None
    acknowledged_by: str | None
    judgement: str | None
    report: str | None
    reopened: int
    """How often it came back within a day of its end."""
    silenced_until: datetime | None
    ticket: str | None
    cause: int | None
    """The alert of another deployment that stands for this one."""
    also: tuple[str, ...]
    """The deployments whose alerts this one stands for, with the version that serves there."""
    owner: str | None
    """As the monitor's settings say now."""
    runbook: str | None
    q_value: float | None
    """How sure it is: see `stakes.Stakes`."""
    interval: tuple[float, float] | None
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class ResultRow:
    monitor: str
    deployment: str
    aspect: str
    version: int
    served: bool
    window_start: datetime
    window_end: datetime
    n_reference: int
    n_current: int
    n_labelled: int
    verdict: str
    scores: tuple[dict[str, Any], ...]
    evaluated_at: datetime


@dataclass(frozen=True, slots=True)
class MonitorRow:
    name: str
    deployment: str
    window: str
    last_window_end: datetime | None
    last_verdict: str | None
    strip: tuple[str, ...]
    """Verdicts of the newest windows, oldest first."""
    quality: tuple[str, ...]
    """The same of its judgements of quality."""
    open_alerts: int
    real: int
    """Alerts that people called real when they took them on."""
    noise: int
    failure: str | None
    """Why it failed when it looked last; None where it did not."""

    @property
    def precision(self) -> float | None:
        """The share of judged alerts that were real; None before any was judged."""
        judged = self.real + self.noise
        return self.real / judged if judged else None


def alerts(workspace: Workspace, *, all: bool = False, deployment: str | None = None) -> list[AlertRow]:
    """Alerts that are open or acknowledged (or all), worst first: by state, severity score, age.

    Those that another deployment's stands for are left out, but for `all` and where a deployment is named.
    """
    query = select(Alert)
    if not all:
        query = query.where(Alert.state != AlertState.RESOLVED)
    if deployment is not None:
        query = query.where(Alert.deployment == deployment)
    elif not all:
        query = query.where(col(Alert.cause).is_(None))
    resolved_last = (col(Alert.state) == AlertState.RESOLVED).asc()
    with workspace.state.read() as tx:
        found = tx.exec(query.order_by(resolved_last, col(Alert.score).desc(), col(Alert.id)))
        return [_alert_row(tx, workspace, alert) for alert in found]


def alert(workspace: Workspace, alert_id: int) -> AlertRow:
    """One alert.

    Raises:
        NotFoundError: there is none of that number.
    """
    with workspace.state.read() as tx:
        return _alert_row(tx, workspace, find_alert(tx, alert_id))


def results(
    workspace: Workspace, *, monitor: str | None = None, deployment: str | None = None, limit: int = 100
) -> list[ResultRow]:
    """The newest results, newest window first."""
    query = select(Result)
    if monitor is not None:
        query = query.where(Result.monitor == monitor)
    if deployment is not None:
        query = query.where(Result.deployment == deployment)
    with workspace.state.read() as tx:
        # By the start, for which there is an index: a monitor may have judged a hundred thousand windows.
        found = tx.exec(query.order_by(col(Result.window_start).desc(), col(Result.id)).limit(limit))
        return [_result_row(result) for result in found]


def newest_quality(workspace: Workspace, deployment: str, version: int) -> ResultRow | None:
    """The newest window of a version's own predictions that was judged by their labels."""
    query = select(Result).where(
        Result.deployment == deployment, Result.version == version, Result.aspect == Aspect.QUALITY
    )
    with workspace.state.read() as tx:
        result = tx.exec(query.order_by(col(Result.window_end).desc()).limit(1)).first()
        return None if result is None else _result_row(result)


def window_against(workspace: Workspace, deployment: str, version: int) -> ResultRow | None:
    """The newest window of inputs that was judged against the reference of `version`, whoever served it."""
    query = select(Result).where(
        Result.deployment == deployment, Result.version == version, Result.aspect == Aspect.INPUTS
    )
    with workspace.state.read() as tx:
        result = tx.exec(query.order_by(col(Result.window_end).desc()).limit(1)).first()
        return None if result is None else _result_row(result)


def monitors(workspace: Workspace, failures: Mapping[str, str]) -> list[MonitorRow]:
    """Every monitor of quarterdeck.toml with its newest windows; `failures` are those of `runner.looks`."""
    rows = []
    with workspace.state.read() as tx:
        for name, settings in sorted(workspace.settings.monitors.items()):
            newest = _verdicts(tx, name, Aspect.INPUTS)
            judged = Counter(
                tx.exec(select(Alert.judgement).where(Alert.monitor == name, col(Alert.judgement).is_not(None)))
            )
            active = select(Alert.id).where(Alert.monitor == name, Alert.state != AlertState.RESOLVED)
            rows.append(
                MonitorRow(
                    name=name,
                    deployment=settings.deployment,
                    window=Monitor(name, settings).length,
                    last_window_end=newest[0][0] if newest else None,
                    last_verdict=newest[0][1] if newest else None,
                    strip=tuple(verdict for _, verdict in reversed(newest)),
                    quality=tuple(verdict for _, verdict in reversed(_verdicts(tx, name, Aspect.QUALITY))),
                    open_alerts=len(tx.exec(active).all()),
                    real=judged[Judgement.REAL],
                    noise=judged[Judgement.NOISE],
                    failure=failures.get(name),
                )
            )
    return rows


def _verdicts(tx: Session, monitor: str, aspect: Aspect) -> Sequence[tuple[datetime, str]]:
    """The newest windows that were judged, newest first."""
    query = select(Result.window_end, Result.verdict).where(
        Result.monitor == monitor, Result.aspect == aspect, col(Result.served).is_(True)
    )
    return tx.exec(query.order_by(col(Result.window_start).desc()).limit(STRIP_LENGTH)).all()


def _alert_row(tx: Session, workspace: Workspace, alert: Alert) -> AlertRow:
    assert alert.id is not None
    settings = workspace.settings.monitors.get(alert.monitor)
    stakes = stakes_of(tx, alert)
    told = {
        "owner": settings and settings.owner,
        "runbook": settings and settings.runbook,
        "q_value": stakes.q_value,
        "interval": stakes.interval,
        "cost": stakes.cost,
        "also": tuple(f"{one.deployment} v{one.version}" for one in members(tx, alert)),
    }
    kept = {name: getattr(alert, name) for name in AlertRow.__dataclass_fields__ if name not in told}
    return AlertRow(**{**kept, **told, "columns": tuple(alert.columns)})


def _result_row(result: Result) -> ResultRow:
    values = {name: getattr(result, name) for name in ResultRow.__dataclass_fields__}
    return ResultRow(**{**values, "scores": tuple(result.scores)})
