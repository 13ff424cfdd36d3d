"""One cause over many models: of alerts on the same columns, with one onset, one stands for the others.

Each deployment keeps its own alert, since what follows from it is its own; people are told of, see and take on the one.
"""

from __future__ import annotations

from datetime import timedelta

from sqlmodel import Session, col, select

from quarterdeck.monitoring.alert import OF_INPUTS, Alert, AlertState
from quarterdeck.monitoring.monitor import Monitor

NO_LENGTH = timedelta(days=1)
"""What stands for the length of windows that have none."""


def standing_for(tx: Session, monitor: Monitor, alert: Alert) -> int | None:
    """The oldest active alert of another deployment that is of the same kind, shares a column with this one and began
    within the windows in which a finding has to persist; None where there is none."""
    if alert.kind not in OF_INPUTS:
        return None
    reach = monitor.patience or NO_LENGTH
    query = select(Alert).where(
        Alert.kind == alert.kind,
        Alert.deployment != alert.deployment,
        Alert.state != AlertState.RESOLVED,
        col(Alert.cause).is_(None),
        col(Alert.onset) >= alert.onset - reach,
        col(Alert.onset) <= alert.onset + reach,
    )
    columns = set(alert.columns)
    return next((one.id for one in tx.exec(query.order_by(col(Alert.id))) if columns & set(one.columns)), None)


def members(tx: Session, alert: Alert) -> list[Alert]:
    """The active alerts that this one stands for, oldest first."""
    query = select(Alert).where(Alert.cause == alert.id, Alert.state != AlertState.RESOLVED)
    return list(tx.exec(query.order_by(col(Alert.id))))


def pass_on(tx: Session, alert: Alert) -> None:
    """Let the oldest of those that are left stand for the others when this one ends."""
    left = members(tx, alert)
    for one in left:
        one.cause = None if one is left[0] else left[0].id
        tx.add(one)
