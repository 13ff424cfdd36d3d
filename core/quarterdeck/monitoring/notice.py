"""A notice: one thing that one webhook is to be told. Messages carry one or several of them, and each is in one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, choice_column, time_column
from quarterdeck.monitoring.alert import Severity


class Notice(Entity, table=True):
    __table_args__ = (Index("ix_notice_waiting", "webhook", "joined_at"), Index("ix_notice_message", "message"))

    id: int | None = Field(default=None, primary_key=True)
    key: str = Field(unique=True)
    """What is told to whom; it is never told twice: `alert/7:page-1-resolved:WEBHOOK`."""
    webhook: str
    """The key of the webhook, as its settings have it."""
    subject: str
    """What it is about: `alert/7`, `event/12`."""
    severity: Severity = Field(sa_column=choice_column("severity", Severity))
    ended: bool
    """It tells of an end."""
    noted_at: datetime = Field(sa_column=time_column(required=True))
    message: str | None = None
    """The key of the job that tells it; none while it waits to be put into a message. Never changed once set: a message
    is the same at every try."""
    joined_at: datetime | None = Field(default=None, sa_column=time_column())
    """When it was put into that message."""

    @property
    def pages(self) -> bool:
        """Whether somebody may have to get up for it."""
        return self.severity is Severity.PAGE and not self.ended

    @property
    def name(self) -> str:
        """Its key as receivers get it."""
        return self.key.replace("/", "-").replace(":", "-")


def notices_of(tx: Session, message: str) -> list[Notice]:
    """What a message tells, oldest first."""
    return list(tx.exec(select(Notice).where(Notice.message == message).order_by(col(Notice.id))))
