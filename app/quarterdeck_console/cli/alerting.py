"""Verbs that look into one alert: what may be behind it, and its full report."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, table
from quarterdeck_console.cli.session import opened


def suspects(
    alert_id: Annotated[int, typer.Argument(metavar="ALERT", help="The alert's number.")], as_data: JsonFlag = False
) -> None:
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
