"""The full report of an alert's window, as an artifact that hangs on the alert."""

from __future__ import annotations

from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import find_alert
from quarterdeck.monitoring.evaluation import Fence, no_fence
from quarterdeck.monitoring.inputs import frame_of, load_reference, window_columns
from quarterdeck.monitoring.serving import what_serves
from quarterdeck.registry.version import find_version
from quarterdeck.traffic.window import read_window
from quarterdeck.workspace import Workspace

# Evidently takes seconds for tens of thousands of rows; the picture is the same with these many.
REPORT_ROWS = 5_000


def make_report(workspace: Workspace, alert_id: int, *, fence: Fence = no_fence) -> str:
    """Compare what came in since the alert's onset with its version's reference; return the page's digest.

    Runs in a job process.

    Raises:
        NotFoundError: there is no such alert, or its version has no reference.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
        serving = what_serves(tx, alert.deployment)
        version = find_version(tx, serving.model if serving else alert.deployment, alert.version)
    reference = load_reference(workspace, version)
    if reference is None:
        raise NotFoundError(f"Version {version.number} has no reference to compare alert {alert_id} with.")
    rows = read_window(workspace, alert.deployment, alert.onset, alert.last_window_end, version=alert.version)
    current = window_columns(reference.signature, rows.inputs)
    page = workspace.ports.reporter.drift_report(
        frame_of(reference.columns).head(REPORT_ROWS), frame_of(list(current.values())).tail(REPORT_ROWS)
    )
    digest = workspace.artifacts.put(page.encode())
    with workspace.state.write(f"report alert/{alert_id}", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
        fence(tx)
        alert = find_alert(tx, alert_id)
        alert.report = digest
        tx.add(alert)
        workspace.record(tx, "alert.reported", alert.reference, {"report": digest})
    return digest
