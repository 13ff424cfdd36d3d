"""A point of a business KPI: what a deployment's business figure was at a time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, Index
from sqlmodel import Field

from quarterdeck.database import UtcDateTime, time_column
from quarterdeck.traffic.prediction import TrafficEntity


class KpiPoint(TrafficEntity, table=True):
    __tablename__ = "kpi_point"
    # Retention looks for the oldest ones.
    __table_args__ = (Index("ix_kpi_point_received_at", "received_at"), {"sqlite_with_rowid": False})

    deployment: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    at: datetime = Field(sa_column=Column(UtcDateTime, primary_key=True))
    """What the figure is of: on the time axis of windows and onsets."""
    value: float
    received_at: datetime = Field(sa_column=time_column(required=True))
    corrections: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """How often another value came for this time: the last one holds."""
