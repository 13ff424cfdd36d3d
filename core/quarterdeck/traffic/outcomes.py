"""How many requests went well: what became of them is counted by the minute, wherever their predictions are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from quarterdeck.traffic.prediction import FAULTS, minute_of

_ERRORS = f"reason IN ({', '.join(repr(reason) for reason in FAULTS)})"
_DURING = "deployment = :deployment AND at >= :start AND at <= :end"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Of some events, how many were good and how many were not."""

    good: int = 0
    bad: int = 0

    @property
    def total(self) -> int:
        return self.good + self.bad


def answered(tx: Session, deployment: str, start: datetime, end: datetime) -> Outcomes:
    """The requests that were answered, and those that were not and should have been.

    Minutes are counted whole, from that of `start` to that of `end`.
    """
    sql = f"""
        SELECT (SELECT coalesce(sum(count), 0) FROM answered WHERE {_DURING}),
               (SELECT coalesce(sum(count), 0) FROM unanswered WHERE {_DURING} AND {_ERRORS})
    """
    return _outcomes(tx, sql, deployment, start, end)


def in_time(tx: Session, deployment: str, start: datetime, end: datetime, *, within_us: int) -> Outcomes:
    """The answers that came within a latency, which is one of `LATENCY_CLASSES_US`, and the others; as above."""
    sql = f"""
        SELECT coalesce(sum(count) FILTER (WHERE within_us <= :within), 0),
               coalesce(sum(count) FILTER (WHERE within_us > :within), 0)
        FROM answered WHERE {_DURING}
    """
    return _outcomes(tx, sql, deployment, start, end, within=within_us)


def first_error(tx: Session, deployment: str, start: datetime, end: datetime) -> datetime | None:
    """The first minute with a request that should have been answered; None where there is none."""
    return _minute(tx, f"SELECT min(at) FROM unanswered WHERE {_DURING} AND {_ERRORS}", deployment, start, end)


def first_late(tx: Session, deployment: str, start: datetime, end: datetime, *, within_us: int) -> datetime | None:
    """The first minute with an answer that came too late; None where there is none."""
    sql = f"SELECT min(at) FROM answered WHERE {_DURING} AND within_us > :within"
    return _minute(tx, sql, deployment, start, end, within=within_us)


def _outcomes(tx: Session, sql: str, deployment: str, start: datetime, end: datetime, **values: int) -> Outcomes:
    bound = {"deployment": deployment, "start": minute_of(start), "end": minute_of(end), **values}
    good, bad = tx.connection().exec_driver_sql(sql, bound).one()
    return Outcomes(good, bad)


def _minute(tx: Session, sql: str, deployment: str, start: datetime, end: datetime, **values: int) -> datetime | None:
    bound = {"deployment": deployment, "start": minute_of(start), "end": minute_of(end), **values}
    found = tx.connection().exec_driver_sql(sql, bound).scalar_one()
    return None if found is None else datetime.fromisoformat(found)
