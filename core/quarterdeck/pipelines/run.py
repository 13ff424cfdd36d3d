"""A run: one execution of a pipeline, its steps and its metrics."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Index, UniqueConstraint
from sqlmodel import Field, Session

from quarterdeck.database import Entity, ExactFloat, choice_column, json_column, time_column
from quarterdeck.errors import IllegalTransitionError, NotFoundError


class RunState(StrEnum):
    QUEUED = "queued"
    """Waiting for a runner."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    HELD = "held"
    """Everything ran, and a gate refused the version."""
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its process died and no attempts are left."""


ENDED = frozenset({RunState.SUCCEEDED, RunState.HELD, RunState.FAILED, RunState.CANCELLED, RunState.LOST})
_LEGAL = {
    RunState.QUEUED: {RunState.RUNNING, RunState.CANCELLED, RunState.FAILED, RunState.LOST},
    # A run whose process died goes back to the queue while attempts are left.
    RunState.RUNNING: ENDED | {RunState.QUEUED},
    # Tried again, by the settings or by a person.
    RunState.FAILED: {RunState.QUEUED},
    RunState.LOST: {RunState.QUEUED},
    RunState.CANCELLED: {RunState.QUEUED},
}


class StepState(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    """A step before it failed."""


class Run(Entity, table=True):
    id: int | None = Field(default=None, primary_key=True)
    pipeline: str = Field(index=True)
    state: RunState = Field(sa_column=choice_column("state", RunState))
    parameters: dict[str, Any] = Field(sa_column=json_column())
    """What was asked for, as `step.parameter`; what each step really got is on the step."""
    trigger: str
    """`manual`, `schedule/NAME`, `data/NAME@2`."""
    requested_by: str
    queued_at: datetime = Field(sa_column=time_column(required=True))
    started_at: datetime | None = Field(default=None, sa_column=time_column())
    finished_at: datetime | None = Field(default=None, sa_column=time_column())
    error: str | None = None
    inputs: dict[str, str] = Field(default_factory=dict, sa_column=json_column())
    """For each dataset parameter the version that was read: `payments@3`."""
    source: str | None = None
    """Digest of the pipeline's source file as it ran."""
    graph: dict[str, list[str]] = Field(default_factory=dict, sa_column=json_column())
    """For each step, in order, the steps and datasets it reads: the DAG as it was."""
    git: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """`commit`, `branch`, `dirty` and `diff` (an artifact's digest); empty outside a repository."""
    environment: dict[str, str] = Field(default_factory=dict, sa_column=json_column())
    """Python, platform, host and the versions of every installed package."""
    seed: int = 0
    version: str | None = None
    """The model version it registered: `fraud@2`."""

    @property
    def reference(self) -> str:
        return f"run/{self.id}"

    def move(self, state: RunState, at: datetime, error: str | None = None) -> None:
        """Change the state.

        Raises:
            IllegalTransitionError: a run in this state cannot become `state`.
        """
        if state not in _LEGAL.get(self.state, frozenset()):
            raise IllegalTransitionError(f"Run {self.id} is {self.state} and cannot become {state}.")
        self.state = state
        if state is RunState.RUNNING:
            self.started_at = at
        if state in ENDED:
            self.finished_at = at
        if state is RunState.QUEUED:
            self.started_at = self.finished_at = None
        self.error = error


class RunStep(Entity, table=True):
    """One step of a run."""

    __tablename__ = "run_step"
    __table_args__ = (UniqueConstraint("run_id", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = Field(foreign_key="run.id", index=True)
    name: str
    position: int
    state: StepState = Field(sa_column=choice_column("state", StepState))
    parameters: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    started_at: datetime | None = Field(default=None, sa_column=time_column())
    finished_at: datetime | None = Field(default=None, sa_column=time_column())
    wall_seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    output: str | None = None
    """Digest of what it returned."""
    output_type: str | None = None
    """`parquet`, `skops`, `npy`, `json`, or `folder` for a command's output."""
    error: str | None = None


class Metric(Entity, table=True):
    """One value of one metric of a run."""

    __table_args__ = (Index("ix_metric_run", "run_id", "name"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: int = Field(foreign_key="run.id")
    name: str
    step: int = 0
    """The training step, epoch or iteration; 0 for a single value."""
    value: float = Field(sa_column=Column(ExactFloat, nullable=False))
    at: datetime = Field(sa_column=time_column(required=True))


def find_run(tx: Session, run_id: int) -> Run:
    """The run with that number.

    Raises:
        NotFoundError: there is none.
    """
    run = tx.get(Run, run_id)
    if run is None:
        raise NotFoundError(f"There is no run {run_id}. `quarterdeck runs` lists them.")
    return run
