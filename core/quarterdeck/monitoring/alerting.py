"""The life of alerts: persistence, one alert for one cause, severity by consequence, and its end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Severity
from quarterdeck.monitoring.finding import CONSEQUENCES, KINDS, METRICS, Finding, findings_of, grouped, summarise
from quarterdeck.monitoring.grouping import pass_on, standing_for
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.monitoring.result import OF_ALL_VERSIONS, SILENCE, Result
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.workspace import Workspace

ACTIVE = (AlertState.OPEN, AlertState.ACKNOWLEDGED, AlertState.SILENCED)
REOPENED_WITHIN = timedelta(days=1)
"""What comes back so soon after its end is the same alert."""
OF_ONE_VERSION = (AlertKind.QUALITY, AlertKind.ESTIMATE, AlertKind.PREDICTIONS, AlertKind.FAIRNESS)
"""About what a version answers: over when it serves no more. What comes in is the same for all of them."""
OUTAGE_SCORE = 1.0
"""As a loss of the whole quality: nothing ranks above it but more of it."""


def severity_of(settings: MonitorSettings, score: float) -> Severity:
    if score >= settings.page:
        return Severity.PAGE
    return Severity.WARNING if score >= settings.warning else Severity.INFORMATIONAL


def update_alerts(tx: Session, workspace: Workspace, monitor: Monitor, result: Result) -> None:
    """Open, follow or resolve alerts after a window was judged, inside that transaction."""
    findings = findings_of(result)
    alerts = active_alerts(tx, monitor, KINDS[result.aspect])
    for alert in alerts:
        own = [f for f in findings if f.kind is alert.kind and f.column in alert.columns]
        _follow(tx, workspace, monitor, alert, result, own)
    named = {(alert.kind, column) for alert in alerts for column in alert.columns}
    onsets = _persistent(tx, monitor, result)
    for finding in findings:
        if finding.is_certain:
            onsets.setdefault((finding.kind, finding.column), result.window_start)
    fresh = [f for f in findings if (f.kind, f.column) not in named and (f.kind, f.column) in onsets]
    for group in grouped(fresh):
        cause = _cause(tx, monitor, group[0])
        if cause is not None:
            _weigh(tx, workspace, monitor, cause, group)
            continue
        _open(tx, workspace, monitor, result, group, min(onsets[(f.kind, f.column)] for f in group))


def resolve_for_other_versions(tx: Session, workspace: Workspace, monitor: Monitor, serving: int) -> None:
    """Resolve alerts about the answers of versions that serve no more."""
    for alert in active_alerts(tx, monitor, OF_ONE_VERSION):
        if alert.version != serving:
            resolve(tx, workspace, alert, f"version {alert.version} no longer serves")


def open_outage(tx: Session, workspace: Workspace, deployment: str, version: int, summary: str) -> None:
    """Page that a version cannot serve: it took the gateway along. Until `resolve_outages`."""
    now = workspace.now()
    watching = (name for name, monitor in workspace.settings.monitors.items() if monitor.deployment == deployment)
    alert = Alert(
        monitor=next(watching, deployment),
        deployment=deployment,
        version=version,
        kind=AlertKind.OUTAGE,
        columns=[],
        severity=Severity.PAGE,
        score=OUTAGE_SCORE,
        state=AlertState.OPEN,
        summary=summary,
        evidence={},
        onset=now,
        last_window_end=now,
        opened_at=now,
    )
    tx.add(alert)
    tx.flush()
    workspace.record(tx, "alert.opened", alert.reference, facts(alert))


def resolve_outages(tx: Session, workspace: Workspace, deployment: str, why: str) -> None:
    """Resolve the outages of a deployment: something serves that was asked for."""
    query = select(Alert).where(
        Alert.deployment == deployment, Alert.kind == AlertKind.OUTAGE, col(Alert.state).in_(ACTIVE)
    )
    for alert in tx.exec(query):
        resolve(tx, workspace, alert, why)


def active_alerts(tx: Session, monitor: Monitor, kinds: Iterable[AlertKind]) -> list[Alert]:
    query = select(Alert).where(
        Alert.monitor == monitor.name, col(Alert.state).in_(ACTIVE), col(Alert.kind).in_(list(kinds))
    )
    return list(tx.exec(query.order_by(col(Alert.id))))


def _persistent(tx: Session, monitor: Monitor, result: Result) -> dict[tuple[AlertKind, str], datetime]:
    """The findings that stand in m of the last k windows, each with the start of the first of them.

    Input findings count over versions alike, since a new version does not change what comes in; what is said of
    answers is counted for one version.
    """
    needed, _ = monitor.settings.persistence
    query = select(Result).where(
        Result.monitor == monitor.name,
        Result.aspect == result.aspect,
        col(Result.served).is_(True),
        col(Result.window_end) > _since(tx, monitor, result),
        col(Result.window_end) <= result.window_end,
    )
    if result.aspect not in OF_ALL_VERSIONS:
        query = query.where(Result.version == result.version)
    windows: dict[tuple[AlertKind, str], set[datetime]] = {}
    for row in tx.exec(query):
        for finding in findings_of(row):
            windows.setdefault((finding.kind, finding.column), set()).add(row.window_start)
    return {name: min(starts) for name, starts in windows.items() if len(starts) >= needed}


def _since(tx: Session, monitor: Monitor, result: Result) -> datetime:
    """The end of the last window that is too old to count."""
    if monitor.patience is not None:
        return result.window_end - monitor.patience
    # Windows of no one length are counted one by one.
    judged = select(Result.window_end).where(
        Result.monitor == monitor.name, Result.aspect == result.aspect, col(Result.window_end) <= result.window_end
    )
    newest = judged.distinct().order_by(col(Result.window_end).desc())
    found = tx.exec(newest.offset(monitor.settings.persistence[1]).limit(1)).first()
    return datetime.min.replace(tzinfo=UTC) if found is None else found


def _cause(tx: Session, monitor: Monitor, finding: Finding) -> Alert | None:
    """The worst active alert that explains a finding and that somebody was told of."""
    active = active_alerts(tx, monitor, finding.causes)
    told = [
        one
        for one in active
        if one.severity is not Severity.INFORMATIONAL
        and (finding.kind is not AlertKind.UNSEEN or finding.column in one.columns)
    ]
    return max(told, key=lambda alert: alert.score, default=None)


def _weigh(tx: Session, workspace: Workspace, monitor: Monitor, alert: Alert, findings: list[Finding]) -> None:
    """Let what follows from an alert's cause stand on it as evidence, and count for its severity."""
    alert.evidence = {**alert.evidence, **{finding.column: finding.row for finding in findings}}
    _escalate(tx, workspace, monitor, alert, max(finding.score for finding in findings))
    tx.add(alert)


def _escalate(tx: Session, workspace: Workspace, monitor: Monitor, alert: Alert, score: float) -> None:
    if score <= alert.score:
        return
    alert.score = score
    level = severity_of(monitor.settings, score)
    if level is not alert.severity:
        alert.severity = level
        workspace.record(tx, "alert.escalated", alert.reference, facts(alert))


def _open(
    tx: Session, workspace: Workspace, monitor: Monitor, result: Result, group: list[Finding], onset: datetime
) -> None:
    worst = group[0]
    before = _ended_lately(tx, workspace, monitor, result, group)
    if before is not None:
        _reopen(tx, workspace, monitor, before, result, group)
        return
    alert = Alert(
        monitor=monitor.name,
        deployment=result.deployment,
        version=result.version,
        kind=worst.kind,
        columns=[finding.column for finding in group],
        slice=worst.slice,
        severity=severity_of(monitor.settings, worst.score),
        score=worst.score,
        state=AlertState.OPEN,
        summary=summarise(group, result),
        evidence={finding.column: finding.row for finding in group},
        onset=onset,
        last_window_end=result.window_end,
        opened_at=workspace.now(),
    )
    alert.tell(alert.summary, worst.score, result.window_start)
    alert.cause = standing_for(tx, monitor, alert)
    tx.add(alert)
    tx.flush()
    workspace.record(tx, "alert.opened", alert.reference, facts(alert))
    _absorb(tx, workspace, monitor, alert)


def _absorb(tx: Session, workspace: Workspace, monitor: Monitor, cause: Alert) -> None:
    """End what only followed from this cause and was found before it; from now on that weighs here."""
    if cause.severity is Severity.INFORMATIONAL:
        return
    kinds = [kind for kind, causes in CONSEQUENCES.items() if cause.kind in causes]
    for alert in active_alerts(tx, monitor, kinds):
        if alert.kind is AlertKind.UNSEEN and not set(alert.columns) <= set(cause.columns):
            continue
        cause.evidence = {**cause.evidence, **alert.evidence}
        cause.onset = min(cause.onset, alert.onset)
        _escalate(tx, workspace, monitor, cause, alert.score)
        resolve(tx, workspace, alert, f"{cause.reference} explains it")


def _ended_lately(
    tx: Session, workspace: Workspace, monitor: Monitor, result: Result, group: list[Finding]
) -> Alert | None:
    """The alert that found the same, and ended within a day, by the clock and by event time: it is that one again."""
    query = select(Alert).where(
        Alert.monitor == monitor.name,
        Alert.kind == group[0].kind,
        Alert.state == AlertState.RESOLVED,
        Alert.slice == group[0].slice,
        col(Alert.resolved_at) > workspace.now() - REOPENED_WITHIN,
    )
    if result.aspect not in OF_ALL_VERSIONS:
        query = query.where(Alert.version == result.version)
    columns = {finding.column for finding in group}
    # It ended with the last of the clean windows that it took.
    clean = (result.window_end - result.window_start) * monitor.settings.persistence[1]
    since = result.window_start - clean - REOPENED_WITHIN
    ended = tx.exec(query.where(col(Alert.last_window_end) >= since).order_by(col(Alert.resolved_at).desc()))
    return next((alert for alert in ended if columns & set(alert.columns)), None)


def _reopen(
    tx: Session, workspace: Workspace, monitor: Monitor, alert: Alert, result: Result, group: list[Finding]
) -> None:
    alert.reopen()
    alert.cause = standing_for(tx, monitor, alert)
    columns = [finding.column for finding in group]
    alert.columns = [*columns, *(column for column in alert.columns if column not in columns)]
    alert.score = group[0].score
    alert.severity = severity_of(monitor.settings, alert.score)
    alert.version, alert.last_window_end = result.version, result.window_end
    alert.tell(summarise(group, result), group[0].score, result.window_start)
    alert.evidence = {**alert.evidence, **{finding.column: finding.row for finding in group}}
    tx.add(alert)
    workspace.record(tx, "alert.reopened", alert.reference, {**facts(alert), "times": alert.reopened})


def _follow(
    tx: Session, workspace: Workspace, monitor: Monitor, alert: Alert, result: Result, findings: list[Finding]
) -> None:
    if not findings:
        if not _is_clean(alert, result):
            return
        alert.clean_windows += 1
        if alert.clean_windows >= monitor.settings.persistence[1] or alert.columns == [SILENCE]:
            resolve(tx, workspace, alert, f"{alert.clean_windows} clean windows")
        tx.add(alert)
        return
    worst = max(findings, key=lambda f: f.score)
    alert.clean_windows = 0
    alert.last_window_end = max(alert.last_window_end, result.window_end)
    alert.version = result.version
    alert.evidence = {**alert.evidence, **{finding.column: finding.row for finding in findings}}
    alert.tell(summarise(findings, result), worst.score, result.window_start)
    if worst.score > alert.score:
        alert.slice = worst.slice
    _escalate(tx, workspace, monitor, alert, worst.score)
    tx.add(alert)


def _is_clean(alert: Alert, result: Result) -> bool:
    """Whether the window says that the alert's columns are quiet. Too little data says nothing."""
    verdict = {AlertKind.MISSING: "missing_verdict", AlertKind.UNSEEN: "unseen_verdict"}.get(alert.kind, "verdict")
    name = "metric" if alert.kind in METRICS else "column"
    verdicts = [row.get(verdict, "quiet") for row in result.scores if row[name] in alert.columns]
    return bool(verdicts) and all(found == "quiet" for found in verdicts)


def resolve(tx: Session, workspace: Workspace, alert: Alert, why: str) -> None:
    """End an alert by itself."""
    pass_on(tx, alert)
    alert.resolve(workspace.now())
    tx.add(alert)
    workspace.record(tx, "alert.resolved", alert.reference, {**facts(alert), "why": why})


def facts(alert: Alert) -> dict[str, Any]:
    """What an event tells of an alert."""
    return {
        "severity": alert.severity,
        "kind": alert.kind,
        "columns": alert.columns,
        "slice": alert.slice,
        "deployment": alert.deployment,
        "version": alert.version,
        "monitor": alert.monitor,
        "summary": alert.summary,
        "cause": alert.cause,
    }
