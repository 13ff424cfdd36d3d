"""Evidently's full report: of an alert, as an artifact that hangs on it; of any window, as a page."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, select

from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import BY_THE_CLOCK, Alert, find_alert
from quarterdeck.monitoring.evaluation import Fence, no_fence
from quarterdeck.monitoring.inputs import frame_of, window_columns
from quarterdeck.monitoring.monitor import Monitor, Span, find_monitor
from quarterdeck.monitoring.reading import load_window_reference, read_span
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.monitoring.serving import what_serves
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.workspace import Workspace

# Evidently takes seconds for tens of thousands of rows; the picture is the same with these many.
REPORT_ROWS = 5_000


def request_report(workspace: Workspace, alert_id: int, *, actor: str | None = None) -> None:
    """Ask for an alert's report to be made by a job.

    Raises:
        NotFoundError: there is no such alert, or no window showed it.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("report") as tx:
        workspace.record(tx, "alert.report_requested", _seen_in_windows(tx, alert_id).reference, actor=actor)


def _seen_in_windows(tx: Session, alert_id: int) -> Alert:
    """The alert, if there are windows to report of."""
    alert = find_alert(tx, alert_id)
    if alert.kind in BY_THE_CLOCK:
        raise NotFoundError(
            f"{alert.reference} is of kind {alert.kind}, and was seen in no window, so there is no report of it. "
            f"`quarterdeck incident {alert_id}` tells what is known."
        )
    return alert


def make_report(workspace: Workspace, alert_id: int, *, fence: Fence = no_fence) -> str:
    """Compare what came in since the alert's onset with its version's reference; return the page's digest.

    It takes seconds, and runs in a job process.

    Raises:
        NotFoundError: as `report_of`.
    """
    digest = workspace.artifacts.put(report_of(workspace, alert_id).encode())
    with workspace.state.write(f"report alert/{alert_id}", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
        fence(tx)
        alert = find_alert(tx, alert_id)
        alert.report = digest
        tx.add(alert)
        workspace.record(tx, "alert.reported", alert.reference, {"report": digest})
    return digest


def report_of(workspace: Workspace, alert_id: int) -> str:
    """The page of an alert, made anew and kept nowhere.

    Raises:
        NotFoundError: there is no such alert, no window showed it or the rows of these are gone, its monitor is gone,
            or its version has no reference.
    """
    with workspace.state.read() as tx:
        alert = _seen_in_windows(tx, alert_id)
        serving = what_serves(tx, alert.deployment)
        version = find_version(tx, serving.model if serving else alert.deployment, alert.version)
    monitor = find_monitor(workspace, alert.monitor)
    return _page(workspace, monitor, version, Span(alert.onset, alert.last_window_end))


def report_of_window(workspace: Workspace, name: str, start: datetime) -> str:
    """The page of one window of a monitor, by the version that had most of its rows.

    Raises:
        NotFoundError: there is no such monitor, no window that begins then was judged, or its version has no reference.
    """
    monitor = find_monitor(workspace, name)
    with workspace.state.read() as tx:
        judged = select(Result).where(
            Result.monitor == name, Result.aspect == Aspect.INPUTS, col(Result.served).is_(True)
        )
        of_window = judged.where(Result.window_start == start).order_by(col(Result.n_current).desc())
        result = tx.exec(of_window.limit(1)).first()
        if result is None:
            newest = tx.exec(judged.order_by(col(Result.window_start).desc()).limit(1)).first()
            known = "none yet" if newest is None else f"the newest begins at {newest.window_start.isoformat()}"
            raise NotFoundError(
                f"No window of monitor '{name}' that begins at {start.isoformat()} was judged; {known}."
            )
        serving = what_serves(tx, monitor.settings.deployment)
        version = find_version(tx, serving.model if serving else monitor.settings.deployment, result.version)
    return _page(workspace, monitor, version, Span(result.window_start, result.window_end))


def _page(workspace: Workspace, monitor: Monitor, version: ModelVersion, span: Span) -> str:
    reference = load_window_reference(workspace, monitor, version, span)
    if reference is None:
        raise NotFoundError(f"Version {version.number} has no reference to compare what came in with.")
    rows = read_span(workspace, monitor, span, version, version=version.number)
    if not rows.n:
        raise NotFoundError(
            f"No prediction of version {version.number} is recorded from {span.start:%Y-%m-%d %H:%M} to "
            f"{span.end:%Y-%m-%d %H:%M} UTC (event time), so there is nothing to report of."
        )
    columns = window_columns(reference.signature, rows.inputs)
    current = [columns[column.name] for column in reference.columns]
    return workspace.ports.reporter.drift_report(
        frame_of(reference.columns).head(REPORT_ROWS), frame_of(current).tail(REPORT_ROWS)
    )
