"""Verbs on business KPIs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, cell, emit, say, table
from quarterdeck_console.cli.session import opened

if TYPE_CHECKING:
    from datetime import datetime

    from quarterdeck.monitoring.kpis import KpiRow
    from quarterdeck.traffic.series import Taken

SHOWN_CORRECTIONS = 5
Deployment = Annotated[str, typer.Argument(metavar="DEPLOYMENT", help="The deployment.")]
Kpi = Annotated[str, typer.Argument(metavar="KPI", help="The KPI's name.")]


def add(
    deployment: Deployment,
    name: Kpi,
    value: Annotated[float, typer.Argument(metavar="VALUE", help="The figure.")],
    at: Annotated[
        str | None,
        typer.Option("--at", help="What time it is of, ISO 8601, in UTC; now when left out.", show_default=False),
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Add one point of a business KPI. Of a time that is known already the new value holds, and that is said."""
    from quarterdeck.deployments.reporting import kpi_point

    with opened() as workspace:
        taken = kpi_point(workspace, deployment, name, value, _time(at))
    emit(taken, _told(taken), as_data=as_data)


def import_points(
    deployment: Deployment,
    name: Kpi,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A table: CSV, JSON lines or Parquet.")],
    time: Annotated[
        str, typer.Option("--time", help="The column with the times, in UTC where they name no zone.")
    ] = "time",
    value: Annotated[str, typer.Option("--value", help="The column with the figures.")] = "value",
    as_data: JsonFlag = False,
) -> None:
    """Add the points of a business KPI that a table holds. Points that are known already change nothing."""
    from quarterdeck.deployments.reporting import kpi_table

    with opened() as workspace:
        taken = kpi_table(workspace, deployment, name, source, time=time, value=value)
    emit(taken, _told(taken), as_data=as_data)


def listed(
    deployment: Annotated[
        str | None, typer.Argument(metavar="DEPLOYMENT", help="Only of this one.", show_default=False)
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """The business KPIs: what is known of each, and what fetches it."""
    from dataclasses import asdict

    from quarterdeck.monitoring.kpis import figure, kpis
    from quarterdeck.runner.looks import unfetched_in

    with opened() as workspace:
        rows = kpis(workspace, deployment)
        with workspace.state.read() as tx:
            failing = unfetched_in(tx, map(_place, rows))
    text = table(
        ("deployment", "kpi", "newest", "of", "points", "since", "better", "fetched"),
        [
            (
                row.deployment,
                row.name,
                None if row.newest is None else figure(row.newest, row.unit),
                row.last,
                f"{row.points:,}",
                row.first,
                row.better,
                "fails" if _place(row) in failing else None if row.every is None else f"every {row.every}",
            )
            for row in rows
        ],
        empty="No KPIs. `quarterdeck kpi add` adds a point; [deployments.NAME.kpis.KPI] fetches one by a query.",
    )
    text += "".join(f"\n{name} fails: {why}" for name, why in failing.items())
    emit([{**asdict(row), "failure": failing.get(_place(row))} for row in rows], text, as_data=as_data)


def _place(row: KpiRow) -> str:
    """As jobs and schedules name it."""
    return f"{row.deployment}/{row.name}"


def show(
    deployment: Deployment,
    name: Kpi,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 50,
    as_data: JsonFlag = False,
) -> None:
    """The points of a business KPI, newest first."""
    from quarterdeck.monitoring.kpis import figure, points

    with opened() as workspace:
        rows = points(workspace, deployment, name, limit)
        settings = workspace.settings.deployment(deployment).kpis.get(name)
    unit = None if settings is None else settings.unit
    text = table(
        ("of", "value", "came", "corrected"),
        [(row.at, figure(row.value, unit), row.received_at, _times(row.corrections)) for row in rows],
    )
    emit(rows, text, as_data=as_data)


def fetch(
    deployment: Deployment,
    name: Annotated[
        str | None, typer.Argument(metavar="KPI", help="Only this one, not all that have a query.", show_default=False)
    ] = None,
    as_data: JsonFlag = False,
) -> None:
    """Ask the queries of a deployment's KPIs, here and now; ends with 1 if one was not answered with points."""
    from quarterdeck.errors import DataError, NotFoundError, QuarterdeckError
    from quarterdeck.monitoring.fetching import fetch as ask

    done, failed = [], 0
    with opened() as workspace:
        kpis = workspace.settings.deployment(deployment).kpis
        names = [name] if name is not None else [one for one, settings in kpis.items() if settings.query is not None]
        if not names:
            raise NotFoundError(
                f"No KPI of deployment '{deployment}' has a query. Give it one in {workspace.settings_file}: "
                f"[deployments.{deployment}.kpis.NAME] query and database."
            )
        for one in names:
            try:
                done.append(ask(workspace, deployment, one))
            except QuarterdeckError as error:
                if name is not None and not isinstance(error, DataError):
                    raise
                failed += 1
                say(str(error))
    lines = [f"{one.name}: {_count(one.rows, 'row')}. {_told(one.taken)}" for one in done]
    emit(done, "\n".join(lines), as_data=as_data)
    if failed:
        raise typer.Exit(1)


def _told(taken: Taken) -> str:
    """What became of points, in words."""
    said = f"{_count(taken.added, 'point')} added."
    if taken.known:
        said += f" {taken.known:,} known already."
    if taken.corrected:
        named = [f"{cell(one.at)} from {one.before:.10g} to {one.value:.10g}" for one in taken.corrected]
        more = f" and {len(named) - SHOWN_CORRECTIONS:,} more" if len(named) > SHOWN_CORRECTIONS else ""
        said += f" {len(named):,} corrected: {', '.join(named[:SHOWN_CORRECTIONS])}{more}."
    return said


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" + "s" * (count != 1)


def _times(count: int) -> str | None:
    return None if not count else "once" if count == 1 else f"{count} times"


def _time(given: str | None) -> datetime | None:
    from quarterdeck.errors import UsageError
    from quarterdeck.traffic.moments import instant

    try:
        return None if given is None else instant(given)
    except ValueError as error:
        raise UsageError(f"--at {error}.") from None
