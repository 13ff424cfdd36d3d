"""A prediction as it was served, or as an outside system reported it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, Index, MetaData
from sqlmodel import Field

from quarterdeck.database import Entity, UtcDateTime, json_column, time_column, timestamp

NO_VERSION = 0
NO_REVISION = 0
CHAMPION, FALLBACK = "champion", "fallback"
"""Variants: the revision that serves, and what answers in its place."""
SLOWEST_US = 10**9
"""A thousand seconds: behind every latency that is told apart."""
FAULTS = ("failed", "overload", "unready")
"""Reasons of `Unanswered` that are ours; the others are the client's."""


def minute_column() -> Column[datetime]:
    """A part of a primary key: the beginning of a minute."""
    return Column(UtcDateTime, primary_key=True)


def minute_of(moment: datetime) -> str:
    """The minute that holds a moment, as it is stored."""
    return f"{timestamp(moment)[:16]}:00.000000Z"


class TrafficEntity(Entity):
    """The base of the tables of traffic.db."""

    metadata = MetaData()


class Prediction(TrafficEntity, table=True):
    __table_args__ = (
        Index("ix_prediction_event_time", "deployment", "event_time"),
        Index("ix_prediction_received_at", "deployment", "received_at"),
        Index("ix_prediction_key", "deployment", "key"),
        # What a revision has answered is counted from this index alone.
        Index("ix_prediction_revision", "deployment", "revision", "received_at", "probe"),
    )

    deployment: str = Field(primary_key=True)
    id: str = Field(primary_key=True)
    """Unique within the deployment: the request's id, with `:row` added when the request held several rows."""
    key: str | None = None
    """The user's own key of this row, by which a label can find it."""
    received_at: datetime = Field(sa_column=time_column(required=True))
    event_time: datetime = Field(sa_column=time_column(required=True))
    """When the thing predicted about happened; `received_at` when nothing said otherwise."""
    revision: int | None = None
    """The revision that routed it. Of a reported one: the newest of the version that it names; none where none is."""
    version: int
    """`NO_VERSION` where the constant or the rule of the fallback answered."""
    variant: str
    """Role of the variant that answered: `champion`, or `fallback` where a column's policy sent the request there."""
    inputs: list[Any] = Field(sa_column=json_column())
    """Values in the order of the signature's features; null is a missing value."""
    prediction: Any = Field(sa_column=json_column())
    """The label or the number."""
    probabilities: list[float] | None = Field(default=None, sa_column=json_column())
    """In the order of the signature's classes; null for regressors and where not known."""
    latency_us: int
    """Microseconds from the parsed request to the answer; 0 where not known."""
    probe: bool = False
    """Sent by the gateway to itself: kept out of monitoring."""


class Answered(TrafficEntity, table=True):
    """Requests that the gateway answered with predictions, counted: recorded or not, however many rows they held."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    deployment: str = Field(primary_key=True)
    at: datetime = Field(sa_column=minute_column())
    """The minute in which it was written down; after a week the hour."""
    within_us: int = Field(primary_key=True)
    """The least of `LATENCY_CLASSES_US` that they stayed within; `SLOWEST_US` where they stayed within none."""
    count: int


class Unanswered(TrafficEntity, table=True):
    """Requests that got an error instead of a prediction, counted."""

    __table_args__ = ({"sqlite_with_rowid": False},)

    deployment: str = Field(primary_key=True)
    at: datetime = Field(sa_column=minute_column())
    """The minute in which it was written down; after a week the hour."""
    revision: int = Field(primary_key=True)
    """`NO_REVISION` where none was there to answer."""
    reason: str = Field(primary_key=True)
    """`rejected`: the input did not fit; `failed`: the model raised an error, or something else went wrong; `overload`:
    too many waited; `unready`: no model was loaded."""
    count: int


class Settled(TrafficEntity, table=True):
    """Predictions that a gateway worker counted before it answered and that are written down since, or given up.

    What a worker has counted beyond them went along with it when it was killed.
    """

    __table_args__ = ({"sqlite_with_rowid": False},)

    tally: str = Field(primary_key=True)
    """The worker's count: see `serving.tally`."""
    deployment: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    variant: str = Field(primary_key=True)
    rows: int


class Unrecorded(TrafficEntity, table=True):
    """Predictions that were answered but could not be recorded: counted, never silently dropped."""

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = Field(sa_column=time_column(required=True))
    deployment: str = Field(index=True)
    worker: str
    count: int
    reason: str
