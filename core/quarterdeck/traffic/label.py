"""A label: the truth about a prediction, which arrives later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from quarterdeck.database import json_column, time_column
from quarterdeck.traffic.prediction import TrafficEntity


class Label(TrafficEntity, table=True):
    # Retention looks for the oldest ones.
    __table_args__ = (Index("ix_label_received_at", "received_at"),)

    deployment: str = Field(primary_key=True)
    reference: str = Field(primary_key=True)
    """The prediction's id, or the user's own key of the row."""
    value: Any = Field(sa_column=json_column())
    labelled_at: datetime = Field(sa_column=time_column(required=True))
    """When the truth became known."""
    received_at: datetime = Field(sa_column=time_column(required=True))
    contradictions: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often another value was given for this reference than the one that held."""
