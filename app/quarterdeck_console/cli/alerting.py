"""Verbs that look into one alert: what may be behind it, and its full report."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.places import AlertPlace, alert_number
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace


def suspects(alert_id: AlertPlace, as_data: JsonFlag = False) -> None:
    """What may be behind an alert, the likeliest first: what was changed, or came in otherwise, before it began."""
    from quarterdeck.monitoring.suspects import suspects as find

    with opened() as workspace:
        found = find(workspace, alert_id)
    rows = [
        (f"{one.score:.2f}", one.reference, f"{one.when:%Y-%m-%d %H:%M}", one.columns, one.what, one.why)
        for one in found
    ]
    text = table(
        ("score", "suspect", "event time", "columns", "what", "why"),
        rows,
        empty=f"Nothing is known that was changed, or came in otherwise, before alert/{alert_id} began.",
    )
    emit(found, text, as_data=as_data)


def report(
    alert_id: Annotated[
        int | None,
        typer.Argument(metavar="ALERT", parser=alert_number, help="The alert: 3 or alert/3.", show_default=False),
    ] = None,
    monitor: Annotated[
        str | None, typer.Option("--monitor", help="Of a window of this monitor instead.", show_default=False)
    ] = None,
    window: Annotated[
        str | None,
        typer.Option("--window", help="When that window begins: 2026-03-04 or 2026-03-04T06:00Z.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page; by default alert-N.html here.", show_default=False),
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Write Evidently's full report of an alert, or of one window, as an HTML page; it is made now if need be."""
    from quarterdeck.errors import UsageError

    if (alert_id is None) == (monitor is None) or (monitor is None) != (window is None):
        raise UsageError(
            "A report is of an alert (`quarterdeck report 3`), or of a window: --monitor NAME --window START."
        )
    with opened() as workspace:
        if alert_id is not None:
            name, page = f"alert-{alert_id}", _page_of_alert(workspace, alert_id)
        else:
            begins = _instant(str(window))
            name, page = f"{monitor}-{begins:%Y-%m-%dT%H%M}", _page_of_window(workspace, str(monitor), begins)
    target = output or Path(f"{name}.html")
    try:
        target.write_bytes(page)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}. Name another file with --output.") from None
    emit({"file": target}, f"{target} is written. Open it in a browser.", as_data=as_data)


def _page_of_alert(workspace: Workspace, alert_id: int) -> bytes:
    """The alert's report as it is kept; made now, and kept where that is allowed, when there is none."""
    from quarterdeck.monitoring.queries import alert
    from quarterdeck.monitoring.reporting import make_report, report_of

    digest = alert(workspace, alert_id).report
    if digest is None:
        say("Making the report takes some seconds.")
        if workspace.settings.workspace.read_only:
            return report_of(workspace, alert_id).encode()
        digest = make_report(workspace, alert_id)
    return workspace.artifacts.read(digest)


def _page_of_window(workspace: Workspace, monitor: str, begins: datetime) -> bytes:
    from quarterdeck.monitoring.reporting import report_of_window

    say("Making the report takes some seconds.")
    return report_of_window(workspace, monitor, begins).encode()


def _instant(text: str) -> datetime:
    from quarterdeck.errors import UsageError
    from quarterdeck.traffic.moments import instant

    try:
        return instant(text)
    except ValueError as error:
        raise UsageError(f"--window {error}") from None
