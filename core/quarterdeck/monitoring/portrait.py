"""Reference against current of a column, small enough to be drawn: shares in common bins, or of categories."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlmodel import Session, col, select

from quarterdeck.monitoring.alert import OF_INPUTS, Alert, find_alert
from quarterdeck.monitoring.inputs import window_columns
from quarterdeck.monitoring.monitor import Monitor, Span, find_monitor
from quarterdeck.monitoring.reading import load_window_reference, read_span
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.monitoring.serving import what_serves
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.statistics.drift import Column
from quarterdeck.traffic.prediction import NO_VERSION
from quarterdeck.traffic.window import WindowRows
from quarterdeck.workspace import Workspace

BINS = 48
"""As many as fit beside their names on 80 columns."""
ENDS = (0.005, 0.995)
"""Quantiles of both sides between which the bins lie; what is beyond falls into the outermost ones."""
LOG_FROM = 1_000.0
"""Positive values that span more than this factor are binned by their logarithm."""
LEVELS = 8
OTHERS = "all others"


@dataclass(frozen=True, slots=True)
class Level:
    """One category, with its share of the rows that have a value."""

    name: str
    reference: float
    current: float


@dataclass(frozen=True, slots=True)
class Portrait:
    """One column of a window beside its reference."""

    column: str
    slice: str | None
    """Where it is not None, both sides are the rows of that slice only: `channel=app`."""
    version: int
    window: tuple[datetime, datetime]
    n_reference: int
    """Rows with a usable value."""
    n_current: int
    missing_reference: float
    """Share of all rows."""
    missing_current: float
    edges: tuple[float, ...]
    """Of the bins of a numeric column, one more than there are bins; empty for categories."""
    logarithmic: bool
    reference: tuple[float, ...]
    """For each bin its share of the reference."""
    current: tuple[float, ...]
    median_reference: float | None
    median_current: float | None
    levels: tuple[Level, ...]
    """Of a categorical column, the most frequent in the reference first; at most eight, and `all others`."""
    sampled: bool = False
    """A side was too large to be held: these are the figures of a sample of it."""


def portraits(workspace: Workspace, alert_id: int) -> dict[str, Portrait]:
    """Each column of an alert on inputs in its newest window, beside what that was compared with.

    Empty for an alert that is not about columns of the input, and where the reference or the window is gone. It reads
    the window's rows: seconds for a large one.

    Raises:
        NotFoundError: there is no such alert, or its monitor or version is gone.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
        if alert.kind not in OF_INPUTS:
            return {}
        result = _newest(tx, alert)
        serving = what_serves(tx, alert.deployment)
        if result is None or serving is None:
            return {}
        version = find_version(tx, serving.model, result.version)
    monitor = find_monitor(workspace, alert.monitor)
    window = Span(result.window_start, result.window_end)
    reference = load_window_reference(workspace, monitor, version, window)
    if reference is None:
        return {}
    rows = _current(workspace, monitor, window, version, serving.version)
    current = window_columns(reference.signature, rows.inputs)
    sampled = rows.sampled is not None or reference.sampled is not None
    before = {column.name: column for column in reference.columns}
    found = {}
    for name in alert.columns:
        if name in before:
            place, sides = _in_slice(before, current, alert.slice, name)
            found[name] = replace(_portrait(*sides, place, version.number, window), sampled=sampled)
    return found


def _newest(tx: Session, alert: Alert) -> Result | None:
    """The newest window that showed the alert."""
    query = select(Result).where(
        Result.monitor == alert.monitor,
        Result.aspect == Aspect.INPUTS,
        col(Result.served).is_(True),
        col(Result.window_end) <= alert.last_window_end,
    )
    newest = query.order_by(col(Result.window_start).desc(), col(Result.n_current).desc())
    return tx.exec(newest.limit(1)).first()


def _current(workspace: Workspace, monitor: Monitor, window: Span, version: ModelVersion, serving: int) -> WindowRows:
    # What a fallback answered was sent to the version that serves, as when the window was judged.
    rows = read_span(workspace, monitor, window, version).taken_as(lambda by: serving if by == NO_VERSION else by)
    return rows.of_version(version.number)


def _in_slice(
    before: dict[str, Column], current: dict[str, Column], place: str | None, name: str
) -> tuple[str | None, tuple[Column, Column]]:
    """Both sides of a column, within the slice where that names a level of another column."""
    by, _, level = (place or "").partition("=")
    if by not in before or by == name or before[by].kind != "categorical":
        return None, (before[name], current[name])
    sides = []
    for columns in (before, current):
        mask = columns[by].values == level
        sides.append(Column(name, columns[name].kind, columns[name].values[mask]))
    return place, (sides[0], sides[1])


def _portrait(before: Column, after: Column, place: str | None, version: int, window: Span) -> Portrait:
    sides = [_usable(before), _usable(after)]
    common: dict[str, Any] = {
        "column": before.name,
        "slice": place,
        "version": version,
        "window": (window.start, window.end),
        "n_reference": len(sides[0]),
        "n_current": len(sides[1]),
        "missing_reference": 1 - len(sides[0]) / max(len(before.values), 1),
        "missing_current": 1 - len(sides[1]) / max(len(after.values), 1),
    }
    if before.kind == "categorical":
        empty: dict[str, Any] = {"edges": (), "logarithmic": False, "reference": (), "current": ()}
        return Portrait(
            **common, **empty, median_reference=None, median_current=None, levels=_levels(sides[0], sides[1])
        )
    edges, logarithmic = _edges(sides)
    shares = [_shares(side, edges) for side in sides]
    medians = [float(np.median(side)) if len(side) else None for side in sides]
    return Portrait(
        **common,
        edges=tuple(edges.tolist()),
        logarithmic=logarithmic,
        reference=shares[0],
        current=shares[1],
        median_reference=medians[0],
        median_current=medians[1],
        levels=(),
    )


def _usable(column: Column) -> NDArray[Any]:
    if column.kind == "numeric":
        finite: NDArray[np.float64] = column.values[np.isfinite(column.values)]
        return finite
    return np.array([value for value in column.values if value is not None], dtype=object)


def _edges(sides: list[NDArray[Any]]) -> tuple[NDArray[np.float64], bool]:
    """Common edges for both sides, and whether they are even on a logarithmic scale."""
    ends = [np.quantile(side, ENDS) for side in sides if len(side)]
    if not ends:
        return np.array([], dtype=np.float64), False
    low, high = float(min(one[0] for one in ends)), float(max(one[1] for one in ends))
    if low == high:
        return np.array([low, high], dtype=np.float64), False
    # A few distinct whole numbers get a bin each: evenly cut, every other bin would be empty.
    whole = all(np.equal(np.mod(side, 1), 0).all() for side in sides)
    if whole and high - low < BINS:
        return np.arange(low - 0.5, high + 1, dtype=np.float64), False
    logarithmic = min(float(side.min()) for side in sides if len(side)) > 0 and high / low > LOG_FROM
    edges = np.geomspace(low, high, BINS + 1) if logarithmic else np.linspace(low, high, BINS + 1)
    return edges.astype(np.float64), logarithmic


def _shares(values: NDArray[Any], edges: NDArray[np.float64]) -> tuple[float, ...]:
    bins = max(len(edges) - 1, 0)
    if not len(values) or not bins:
        return (0.0,) * bins
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    return tuple((np.bincount(place, minlength=bins) / len(values)).tolist())


def _levels(before: NDArray[Any], after: NDArray[Any]) -> tuple[Level, ...]:
    reference, current = Counter(before.tolist()), Counter(after.tolist())
    n = max(len(before), 1), max(len(after), 1)
    shares = [(name, reference[name] / n[0], current[name] / n[1]) for name in reference | current]
    # What is frequent on either side is shown; among those the reference's order.
    shown = sorted(shares, key=lambda one: (-max(one[1:]), one[0]))[:LEVELS]
    levels = [Level(*one) for one in sorted(shown, key=lambda one: (-one[1], -one[2], one[0]))]
    rest = [one for one in shares if one not in shown]
    if rest:
        levels.append(Level(OTHERS, sum(one[1] for one in rest), sum(one[2] for one in rest)))
    return tuple(levels)
