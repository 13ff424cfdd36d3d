"""A schedule: what fires, and when. Its rows mirror quarterdeck.toml and remember the last tick."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Field

from quarterdeck.database import Entity, choice_column, json_column, time_column


class Target(StrEnum):
    """What a tick starts."""

    PIPELINE = "pipeline"
    MONITOR = "monitor"
    HOUSEKEEPING = "housekeeping"
    PROBE = "probe"
    SCORE = "score"
    KPI = "kpi"


class Overlap(StrEnum):
    """What becomes of a tick that comes while the work of an earlier one is not done."""

    SKIP = "skip"
    """It is left out."""
    QUEUE = "queue"
    """Its work waits until the earlier has ended."""
    REPLACE = "replace"
    """The earlier work is cancelled."""


class Misfire(StrEnum):
    """What becomes of ticks that were missed: nobody ran, or the machine slept."""

    ONCE = "once"
    """Fire for the last of them."""
    SKIP = "skip"
    """Fire for none."""
    EACH = "each"
    """Fire for each."""


class Schedule(Entity, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    """`schedules.NAME` of quarterdeck.toml, or `monitor:NAME` for a monitor's own, `probe:NAME` for a
    deployment's, `kpi:DEPLOYMENT/KPI` for a KPI's."""
    target_kind: Target = Field(sa_column=choice_column("target_kind", Target))
    target: str
    """Name of the pipeline, the monitor, the task or the deployment; of a KPI `DEPLOYMENT/KPI`."""
    cron: str | None = None
    every_seconds: float | None = None
    on_data: str | None = None
    timezone: str = "UTC"
    parameters: dict[str, Any] = Field(sa_column=json_column())
    paused: bool = False
    """Paused by the settings. People pause it by a `Pause`."""
    overlap: Overlap = Field(default=Overlap.SKIP, sa_column=choice_column("overlap", Overlap))
    misfire: Misfire = Field(default=Misfire.ONCE, sa_column=choice_column("misfire", Misfire))
    grace_seconds: float = 3600.0
    """A tick that was missed longer ago than this is left out."""
    anchor: datetime = Field(sa_column=time_column(required=True))
    """An interval counts from here."""
    last_tick: datetime | None = Field(default=None, sa_column=time_column())
    next_tick: datetime | None = Field(default=None, sa_column=time_column())
