"""A replay: what another version would have answered to the traffic that was recorded."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from quarterdeck.database import Entity, json_column, time_column


class Replay(Entity, table=True):
    """A request for a comparison, and its outcome once a job has made it."""

    id: int | None = Field(default=None, primary_key=True)
    deployment_id: int = Field(foreign_key="deployment.id", index=True)
    version: int
    """The version that serves."""
    other: int
    """The version that is asked what it would have answered."""
    requested_by: str
    requested_at: datetime = Field(sa_column=time_column(required=True))
    finished_at: datetime | None = Field(default=None, sa_column=time_column())
    outcome: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """rows, labelled, metric, serving, other, low, difference, high, agreement; or error."""
