"""How business KPIs stand, and how they stood around an alert's onset: figures, of which nothing is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import Alert, AlertState
from quarterdeck.settings.kpis import KpiSettings
from quarterdeck.traffic import series
from quarterdeck.traffic.series import Mean
from quarterdeck.values import as_written
from quarterdeck.workspace import Workspace

BEFORE = timedelta(weeks=4)
"""How far back an alert looks that has no windows before its onset."""
SHARE = "share"
_PLAIN = KpiSettings()


@dataclass(frozen=True, slots=True)
class KpiRow:
    """One KPI of a deployment."""

    deployment: str
    name: str
    unit: str | None
    better: str | None
    every: str | None
    """How often the runner fetches it; None where it comes by verbs alone."""
    points: int
    first: datetime | None
    last: datetime | None
    newest: float | None
    """The value at `last`."""


@dataclass(frozen=True, slots=True)
class PointRow:
    """One point of a KPI."""

    at: datetime
    value: float
    received_at: datetime
    corrections: int
    """How often another value came for its time."""


@dataclass(frozen=True, slots=True)
class KpiWindow:
    """The mean of the points in one window; None where there are none."""

    start: datetime
    end: datetime
    n: int
    value: float | None


@dataclass(frozen=True, slots=True)
class KpiAround:
    """One KPI around an alert's onset, by the means of its points."""

    name: str
    unit: str | None
    better: str | None
    before: Mean
    since: Mean
    until: datetime | None
    """The end of `since`; None where the alert is not over."""
    windows: tuple[KpiWindow, ...]
    """Of each of the windows that the timeline shows, oldest first."""


def kpis(workspace: Workspace, deployment: str | None = None) -> list[KpiRow]:
    """Every KPI that the settings name or of which a point is known, or those of one deployment.

    Raises:
        NotFoundError: that deployment has none.
    """
    with workspace.traffic.read() as tx:
        found = {(one.deployment, one.name): one for one in series.series(tx, deployment)}
    settings = workspace.settings.deployments
    named = {(owner, name) for owner, one in settings.items() for name in one.kpis if deployment in (None, owner)}
    if deployment is not None and not named and not found:
        raise NotFoundError(
            f"Deployment '{deployment}' has no KPIs. Add one with `quarterdeck kpi add`, or name a query for it in "
            f"{workspace.settings_file}: [deployments.{deployment}.kpis.NAME]."
        )
    rows = []
    for owner, name in sorted(named | found.keys()):
        known, told = found.get((owner, name)), _settings(workspace, owner, name)
        rows.append(
            KpiRow(
                deployment=owner,
                name=name,
                unit=told.unit,
                better=told.better,
                every=None if told.query is None else as_written(told.every),
                points=known.points if known else 0,
                first=known.first if known else None,
                last=known.last if known else None,
                newest=known.newest if known else None,
            )
        )
    return rows


def points(workspace: Workspace, deployment: str, name: str, limit: int) -> list[PointRow]:
    """The newest points of a KPI, newest first.

    Raises:
        NotFoundError: no point of it is known.
    """
    with workspace.traffic.read() as tx:
        found = series.newest_points(tx, deployment, name, limit)
        known = ", ".join(series.names_of(tx, deployment)) or "none yet"
    if not found:
        raise NotFoundError(
            f"No point of a KPI '{name}' of deployment '{deployment}' is known. Known KPIs of it: {known}. "
            f"`quarterdeck kpi add` and `kpi import` bring points, `quarterdeck kpi fetch {deployment}` asks for them."
        )
    return [PointRow(one.at, one.value, one.received_at, one.corrections) for one in found]


def around(workspace: Workspace, alert: Alert, windows: Sequence[tuple[datetime, datetime]]) -> tuple[KpiAround, ...]:
    """The KPIs of the alert's deployment that have points near its onset.

    Before the onset count the points since the first of `windows` (starts and ends, oldest first), or of four weeks
    where none is before it; since the onset all, or those up to the end of an alert that is resolved.
    """
    first = min((start for start, _ in windows), default=alert.onset)
    begins = first if first < alert.onset else alert.onset - BEFORE
    until = alert.last_window_end if alert.state is AlertState.RESOLVED else None
    found = []
    with workspace.traffic.read() as tx:
        for name in series.names_of(tx, alert.deployment):
            told = _settings(workspace, alert.deployment, name)
            one = KpiAround(
                name=name,
                unit=told.unit,
                better=told.better,
                before=series.mean(tx, alert.deployment, name, begins, alert.onset),
                since=series.mean(tx, alert.deployment, name, alert.onset, until),
                until=until,
                windows=tuple(_window(series.mean(tx, alert.deployment, name, *one), *one) for one in windows),
            )
            if one.before.n or one.since.n:
                found.append(one)
    return tuple(found)


def figure(value: float, unit: str | None) -> str:
    """A figure with its unit: `91.2%`, `1,240 EUR`."""
    if unit == SHARE:
        return f"{value:.1%}"
    words = f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"
    return f"{words}{unit}" if unit == "%" else f"{words} {unit}" if unit else words


def words(one: KpiAround) -> str:
    """One line: `approval_rate 91.2% -> 84.0% since the onset (n=14, 3)`."""
    span = "since the onset" if one.until is None else "from the onset to the end"
    before, since = (None if mean.value is None else figure(mean.value, one.unit) for mean in (one.before, one.since))
    if before is None:
        known = f"{since} {span}, nothing before it"
    elif since is None:
        known = f"{before} before the onset, nothing since"
    else:
        known = f"{before} -> {since} {span}"
    better = f"; {one.better} is better" if one.better else ""
    return f"{one.name} {known} (n={one.before.n:,}, {one.since.n:,}{better})"


def _window(mean: Mean, start: datetime, end: datetime) -> KpiWindow:
    return KpiWindow(start, end, mean.n, mean.value)


def _settings(workspace: Workspace, deployment: str, name: str) -> KpiSettings:
    return workspace.settings.deployment(deployment).kpis.get(name, _PLAIN)
