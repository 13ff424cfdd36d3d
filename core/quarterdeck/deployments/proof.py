"""Gateway workers, and what each has proved: that it served a response of a revision."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from quarterdeck.database import Entity, time_column


class GatewayWorker(Entity, table=True):
    """One process that answers requests."""

    __tablename__ = "gateway_worker"

    id: int | None = Field(default=None, primary_key=True)
    slot: int
    """0, 1, ... : a restarted worker takes the slot of the one it replaces."""
    pid: int
    process_started: float
    """The process's start, in seconds since the boot: with pid and boot id it names a process for good."""
    boot_id: str
    host: str
    port: int
    started_at: datetime = Field(sa_column=time_column(required=True))
    stopped_at: datetime | None = Field(default=None, sa_column=time_column())
    died_at: datetime | None = Field(default=None, sa_column=time_column())
    """When it ended without having been told to, at the latest: when the one that replaces it was started."""


class Proof(Entity, table=True):
    """That a worker serves a revision, by the first response after the switch; or why it cannot."""

    __table_args__ = (UniqueConstraint("worker_id", "deployment_id", "revision"),)

    id: int | None = Field(default=None, primary_key=True)
    worker_id: int = Field(foreign_key="gateway_worker.id", index=True)
    deployment_id: int = Field(foreign_key="deployment.id", index=True)
    revision: int
    routed_at: datetime | None = Field(default=None, sa_column=time_column())
    served_at: datetime | None = Field(default=None, sa_column=time_column())
    request_id: str | None = None
    """The request whose response is the proof."""
    probe: bool = False
    """The worker had no traffic and asked itself."""
    error: str | None = None
