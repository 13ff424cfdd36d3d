"""A segment: predictions that were moved from the table `prediction` to a Parquet file."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index
from sqlmodel import Field

from quarterdeck.database import json_column, time_column
from quarterdeck.traffic.prediction import TrafficEntity


class Segment(TrafficEntity, table=True):
    """What reads need to know of one file without opening it. Probes are never moved."""

    __table_args__ = (
        Index("ix_segment_last_event", "deployment", "last_event"),
        Index("ix_segment_last_received", "deployment", "last_received"),
    )

    id: int | None = Field(default=None, primary_key=True)
    deployment: str
    file: str = Field(unique=True)
    """Its name in the workspace's folder of traffic. The rows in it are in the order of event time, then id."""
    rows: int
    """How many rows of the file were moved, from its first one on.

    The others, left by a compaction that was ended in the middle, are in the table still and go into another file.
    0: the file is about to be removed.
    """
    bytes: int
    first_event: datetime = Field(sa_column=time_column(required=True))
    last_event: datetime = Field(sa_column=time_column(required=True))
    first_received: datetime = Field(sa_column=time_column(required=True))
    last_received: datetime = Field(sa_column=time_column(required=True))
    versions: dict[str, int] = Field(sa_column=json_column())
    """For each version how many of the rows it answered."""
    revisions: dict[str, int] = Field(sa_column=json_column())
    """For each revision how many of the rows it answered."""
