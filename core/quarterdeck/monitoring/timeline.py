"""The windows around an alert's onset, what was changed meanwhile in its place, and the business KPIs beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlmodel import Session, col, select

from quarterdeck.monitoring.alert import Alert, find_alert
from quarterdeck.monitoring.changes import data_versions, datasets_of, moves_before
from quarterdeck.monitoring.kpis import KpiAround, around
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.traffic.reached import event_time_at
from quarterdeck.workspace import Workspace

WINDOWS = 24
"""So many are shown; two thirds of them before the onset where there are as many."""


@dataclass(frozen=True, slots=True)
class Window:
    """One window: what was said of it, by aspect, and the version that had most of its rows."""

    start: datetime
    end: datetime
    version: int
    verdicts: dict[str, str]


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that was changed."""

    when: datetime
    """In event time: see `traffic.reached`."""
    kind: str
    """`revision` or `data`."""
    what: str


@dataclass(frozen=True, slots=True)
class Timeline:
    onset: datetime
    windows: tuple[Window, ...]
    """Oldest first."""
    marks: tuple[Mark, ...]
    """Oldest first; those within the windows."""
    kpis: tuple[KpiAround, ...] = ()
    """The business KPIs of the deployment, by the same windows."""


def timeline(workspace: Workspace, alert_id: int) -> Timeline:
    """The windows around an alert's onset, the revisions and data versions among them, and the business KPIs.

    Raises:
        NotFoundError: there is no such alert.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
        windows = _windows(tx, alert)
        kpis = _kpis(workspace, alert, windows)
        if not windows:
            return Timeline(alert.onset, (), (), kpis)
        clock = partial(event_time_at, workspace, alert.deployment)
        start, end = windows[0].start, windows[-1].end
        moves = moves_before(tx, alert.deployment, end, clock)
        marks = [Mark(move.when, "revision", move.words) for move in moves]
        if moves:
            datasets = datasets_of(tx, moves[-1].model, sorted({move.version for move in moves}))
            marks += [Mark(when, "data", f"{name} added") for name, when in data_versions(tx, datasets, clock)]
    shown = sorted((mark for mark in marks if start <= mark.when < end), key=lambda mark: mark.when)
    return Timeline(alert.onset, tuple(windows), tuple(shown), kpis)


def kpis_around(workspace: Workspace, alert_id: int) -> tuple[KpiAround, ...]:
    """How the business KPIs of an alert's deployment stood around its onset.

    Raises:
        NotFoundError: there is no such alert.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
        return _kpis(workspace, alert, _windows(tx, alert))


def _kpis(workspace: Workspace, alert: Alert, windows: Sequence[Window]) -> tuple[KpiAround, ...]:
    return around(workspace, alert, [(window.start, window.end) for window in windows])


def _windows(tx: Session, alert: Alert) -> list[Window]:
    served = (Result.monitor == alert.monitor, col(Result.served).is_(True))
    starts = select(Result.window_start).where(*served, Result.aspect == Aspect.INPUTS)
    before = starts.where(col(Result.window_start) < alert.onset).distinct().order_by(col(Result.window_start).desc())
    after = starts.where(col(Result.window_start) >= alert.onset).distinct().order_by(col(Result.window_start))
    earlier, later = tx.exec(before.limit(WINDOWS)).all(), tx.exec(after.limit(WINDOWS)).all()
    kept = max(WINDOWS * 2 // 3, WINDOWS - len(later))
    wanted = [*reversed(earlier[:kept]), *later][:WINDOWS]
    if not wanted:
        return []
    found: dict[datetime, Window] = {}
    within = (col(Result.window_start) >= wanted[0], col(Result.window_start) <= wanted[-1])
    rows = tx.exec(select(Result).where(*served, *within)).all()
    for row in sorted(rows, key=lambda row: (row.window_start, row.aspect is not Aspect.INPUTS, -row.n_current)):
        window = found.setdefault(row.window_start, Window(row.window_start, row.window_end, row.version, {}))
        # Where several versions served, the one with most rows speaks for the window.
        window.verdicts.setdefault(row.aspect, row.verdict)
    return list(found.values())
