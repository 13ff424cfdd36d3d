"""A job: a unit of work in the queue, and the lease of the one runner that may claim jobs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from quarterdeck.database import Entity, choice_column, json_column, time_column


class JobKind(StrEnum):
    RUN = "run"
    """Execute a queued pipeline run."""
    MONITOR = "monitor"
    """Judge the windows of a monitor that can be judged."""
    REPORT = "report"
    """Make the full drift report of an alert's window."""
    NOTIFY = "notify"
    """Send one webhook one message, about one alert or several."""
    REPLAY = "replay"
    """Run another version on recorded traffic and compare."""
    HOUSEKEEPING = "housekeeping"
    """Compact, back up, vacuum or tidy."""
    ROLLBACK = "rollback"
    """Run the command that rolls back a deployment that is served elsewhere."""
    PROBE = "probe"
    """Ask which version answers for a deployment that is served elsewhere."""
    SCORE = "score"
    """Score a table by a batch deployment."""
    BACKTEST = "backtest"
    """Compare keeping, rolling back and retraining on labelled traffic."""
    KPI = "kpi"
    """Ask a database for the newest points of a business KPI."""


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its process died and no attempts are left."""
    DEAD = "dead"
    """It failed as often as it may be tried again. It waits for a person: `quarterdeck retry`."""

    @property
    def under_way(self) -> bool:
        return self in UNDER_WAY


UNDER_WAY = frozenset({JobState.QUEUED, JobState.RUNNING})
AGAIN = frozenset({JobState.FAILED, JobState.DEAD, JobState.LOST, JobState.CANCELLED})
"""States from which a job is tried again."""


class Job(Entity, table=True):
    __table_args__ = (Index("ix_job_state", "state", "id"), Index("ix_job_schedule", "schedule", "id"))

    id: int | None = Field(default=None, primary_key=True)
    kind: JobKind = Field(sa_column=choice_column("kind", JobKind))
    key: str = Field(unique=True)
    """What it is for; a second job with the same key is not made: `run/12`, `monitor:fraud@2026-11-21T01:00:00Z`."""
    subject: str
    """What it works on, as people type it: `run/12`, `monitor/fraud`."""
    payload: dict[str, Any] = Field(sa_column=json_column())
    state: JobState = Field(sa_column=choice_column("state", JobState))
    attempt: int = 0
    """Counts the claims; every write of an attempt is fenced by it."""
    max_attempts: int = 2
    """How many claims may end with a process that died."""
    failures: int = 0
    retries: int = 0
    """How many failures are tried again."""
    priority: int = 0
    """Among jobs that are due the highest goes first."""
    pool: str | None = None
    """The pool in which it needs a slot."""
    pipeline: str | None = None
    """The pipeline that a run is of."""
    schedule: str | None = None
    """The schedule whose tick made it. Jobs of one schedule never run at once."""
    tick: datetime | None = Field(default=None, sa_column=time_column())
    """The moment for which that schedule fired."""
    automatic: bool = False
    """No person asked for it: a freeze holds it back."""
    timeout_seconds: float | None = None
    memory_limit_bytes: int | None = None
    """Of the proportional set sizes of all processes of its group."""
    not_before: datetime = Field(sa_column=time_column(required=True))
    created_at: datetime = Field(sa_column=time_column(required=True))
    started_at: datetime | None = Field(default=None, sa_column=time_column())
    finished_at: datetime | None = Field(default=None, sa_column=time_column())
    cancel_requested_by: str | None = None
    process_group: int | None = None
    process_started: float | None = None
    boot_id: str | None = None
    log: str | None = None
    """The attempt's log file, relative to the workspace's folder of logs."""
    cpu_seconds: float | None = None
    """Of the newest attempt and all that it started, as far as known."""
    memory_bytes: int | None = None
    """What the processes of its group held when they were last looked at."""
    peak_memory_bytes: int | None = None
    error: str | None = None


class RunnerLease(Entity, table=True):
    """The one runner that may claim jobs."""

    __tablename__ = "runner_lease"

    id: int = Field(default=1, primary_key=True)
    pid: int
    process_started: float
    boot_id: str
    started_at: datetime = Field(sa_column=time_column(required=True))
    lease_until: datetime = Field(sa_column=time_column(required=True))
    events_read: int = 0
    """Id of the last event that reactions have dealt with."""
    cpu_seconds: float = 0.0
    """Of the runner and its fork server, at the last heartbeat."""
    memory_bytes: int = 0
    """Their proportional set sizes, at the last heartbeat."""
