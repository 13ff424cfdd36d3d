"""Series of business KPIs: points taken once for each time, corrected by the last value, and read by spans of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlmodel import Session, col, func, select

from quarterdeck.database import timestamp
from quarterdeck.errors import DataError
from quarterdeck.traffic.kpi import KpiPoint
from quarterdeck.traffic.moments import moment
from quarterdeck.values import check_name
from quarterdeck.workspace import Workspace

AT_ONCE = 2_000
"""Points of one transaction: it keeps others from recording for no longer than some milliseconds."""
_PUT = """
    INSERT INTO kpi_point (deployment, name, at, value, received_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        value = excluded.value, received_at = excluded.received_at, corrections = corrections + 1
"""
Point = tuple[datetime, float]


@dataclass(frozen=True, slots=True)
class Correction:
    """A point whose value was another one before."""

    at: datetime
    before: float
    value: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of points. Each is one of the three."""

    added: int
    """The first of their time."""
    known: int
    """Known with the same value: nothing was changed."""
    corrected: tuple[Correction, ...]
    """Another value was known: the new one holds now."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of the points in a span of time; None where there are none."""

    n: int
    value: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """One KPI of a deployment, as far as points are known."""

    deployment: str
    name: str
    points: int
    first: datetime
    last: datetime
    newest: float
    """The value at `last`."""


def checked_points(rows: Iterable[tuple[Any, Any]], source: str, now: datetime) -> list[Point]:
    """The points that rows of time and value from outside make; `source` names what holds them.

    Raises:
        DataError: a time is none, far ahead or before 1970, a value is no finite number, or two differ for one time;
            the message names the row, from 1.
    """
    found: dict[datetime, float] = {}
    for number, (at, value) in enumerate(rows, start=1):
        where = f"Row {number} of {source}"
        try:
            when = moment(at, now)
        except ValueError as error:
            raise DataError(f"{where}: the time {error}.") from None
        figure = _figure(value, where)
        if found.setdefault(when, figure) != figure:
            raise DataError(
                f"{where} has {value} for {when.isoformat()}, and a row before it {found[when]:.10g}. One time has one "
                "value: add them up, or take their mean."
            )
    return list(found.items())


def _figure(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        given = "no value" if value is None else f"{str(value)[:60]!r}, which is no number"
        raise DataError(f"{where} has {given}. Leave out what is not known.")
    if not math.isfinite(value):
        raise DataError(f"{where} has {value}, which is no figure. Leave out what is not known.")
    return float(value)


def add_points(workspace: Workspace, deployment: str, name: str, points: Iterable[Point], *, verb: str) -> Taken:
    """Take points of a KPI; of several for one time the last one holds. The same again changes nothing.

    What is cut off midway is done by doing it again.

    Raises:
        DataError: `name` is no name.
        BusyError: the lock of traffic.db was not free in time.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise DataError(f"A KPI cannot be called so: {error}.") from None
    wanted = dict(points)
    rest = iter(sorted(wanted.items()))
    added, corrected = 0, list[Correction]()
    while some := dict(islice(rest, AT_ONCE)):
        with workspace.traffic.write(verb) as tx:
            before = dict(points_of(tx, deployment, name, min(some), max(some)))
            new = {at: value for at, value in some.items() if before.get(at) != value}
            received = timestamp(workspace.now())
            rows = [(deployment, name, timestamp(at), value, received) for at, value in new.items()]
            if rows:
                tx.connection().exec_driver_sql(_PUT, rows)
        corrected += [Correction(at, before[at], value) for at, value in new.items() if at in before]
        added += len(new.keys() - before.keys())
    return Taken(added, len(wanted) - added - len(corrected), tuple(corrected))


def points_of(tx: Session, deployment: str, name: str, first: datetime, last: datetime) -> Sequence[Point]:
    """The points from `first` to `last`, both included, oldest first."""
    query = select(KpiPoint.at, KpiPoint.value).where(*_of(deployment, name), col(KpiPoint.at).between(first, last))
    return tx.exec(query.order_by(col(KpiPoint.at))).all()


def newest_points(tx: Session, deployment: str, name: str, limit: int) -> Sequence[KpiPoint]:
    """The newest points, newest first."""
    query = select(KpiPoint).where(*_of(deployment, name)).order_by(col(KpiPoint.at).desc())
    return tx.exec(query.limit(limit)).all()


def mean(tx: Session, deployment: str, name: str, start: datetime, end: datetime | None) -> Mean:
    """The mean of the points from `start` on and before `end`, or up to the last one."""
    span = [*_of(deployment, name), col(KpiPoint.at) >= start]
    if end is not None:
        span.append(col(KpiPoint.at) < end)
    n, value = tx.exec(select(func.count(), func.avg(KpiPoint.value)).where(*span)).one()
    return Mean(n, value)


def names_of(tx: Session, deployment: str) -> list[str]:
    """The KPIs of a deployment of which a point is known."""
    found: list[str] = []
    # Name by name, by the key: there may be a million points of each.
    following = select(func.min(KpiPoint.name)).where(KpiPoint.deployment == deployment)
    while name := tx.exec(following.where(KpiPoint.name > (found[-1] if found else ""))).one():
        found.append(name)
    return found


def series(tx: Session, deployment: str | None = None) -> list[Series]:
    """Every KPI of which a point is known, or those of one deployment."""
    query = select(KpiPoint.deployment, KpiPoint.name, func.count(), func.min(KpiPoint.at))
    if deployment is not None:
        query = query.where(KpiPoint.deployment == deployment)
    found = []
    for owner, name, count, first in tx.exec(query.group_by(col(KpiPoint.deployment), col(KpiPoint.name))):
        (newest,) = newest_points(tx, owner, name, 1)
        found.append(Series(owner, name, count, first, newest.at, newest.value))
    return found


def _of(deployment: str, name: str) -> tuple[Any, ...]:
    return (col(KpiPoint.deployment) == deployment, col(KpiPoint.name) == name)
