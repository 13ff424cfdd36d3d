"""A reaction: what one policy of a monitor did about one alert, or why it did not (yet)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, choice_column, time_column


class ReactionState(StrEnum):
    WAITING = "waiting"
    """A backtest is asked for."""
    HELD = "held"
    """Something stands in its way that may pass while the alert is open."""
    FIRED = "fired"
    """It did what it does, once and for all for this alert."""
    OVER = "over"
    """It will not fire: the alert ended, or the backtest says that it is not worth it."""


PENDING = (ReactionState.WAITING, ReactionState.HELD)


class Reaction(Entity, table=True):
    __table_args__ = (UniqueConstraint("policy", "alert"),)

    id: int | None = Field(default=None, primary_key=True)
    policy: str
    """The monitor and what is done: `fraud/rollback`, `fraud/retrain/train`."""
    deployment: str = Field(index=True)
    alert: int
    state: ReactionState = Field(sa_column=choice_column("state", ReactionState))
    reason: str
    """Why it is held or over, what it waits for, or why it fired: a sentence without its end."""
    again_at: datetime | None = Field(default=None, sa_column=time_column())
    """When it is considered again if nothing happens before; None where only an event changes anything."""
    backtest: int | None = None
    """The backtest that it waits for, or goes by."""
    result: str | None = None
    """What it started: `run/12`, `operation/3`."""
    considered_at: datetime = Field(sa_column=time_column(required=True))
    fired_at: datetime | None = Field(default=None, sa_column=time_column())


def find_reaction(tx: Session, policy: str, alert: int) -> Reaction | None:
    return tx.exec(select(Reaction).where(Reaction.policy == policy, Reaction.alert == alert)).first()


def fired_since(tx: Session, policy: str, since: datetime | None = None) -> list[datetime]:
    """When the policy fired, newest first."""
    query = select(Reaction.fired_at).where(Reaction.policy == policy, Reaction.state == ReactionState.FIRED)
    if since is not None:
        query = query.where(col(Reaction.fired_at) > since)
    return [moment for moment in tx.exec(query.order_by(col(Reaction.fired_at).desc())) if moment is not None]
