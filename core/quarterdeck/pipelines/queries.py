"""What panes and the command line read about pipelines, runs and schedules: frozen rows."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from quarterdeck.pipelines.discovery import find_pipelines
from quarterdeck.pipelines.holding import held_pipelines
from quarterdeck.pipelines.pausing import pauses
from quarterdeck.pipelines.run import Metric, Run, RunState, RunStep, StepState, find_run
from quarterdeck.pipelines.schedule import Misfire, Overlap, Schedule, Target
from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class PipelineRow:
    name: str
    file: str
    """Relative to the workspace's folder."""
    line: int
    steps: tuple[str, ...]
    parameters: tuple[str, ...] | None
    error: str | None
    """Why its module cannot be read."""
    runs: int
    last_run: int | None
    last_state: RunState | None
    last_finished: datetime | None
    schedule: str | None
    """Name of the schedule that fires next."""
    next_tick: datetime | None
    paused_by: str | None
    """The person who paused it."""
    held_by: str | None
    """The alert while which is open its schedules start nothing: see `pipelines.holding`."""


@dataclass(frozen=True, slots=True)
class RunRow:
    id: int
    pipeline: str
    state: RunState
    trigger: str
    requested_by: str
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    version: str | None
    """The model version it registered: `fraud@2`."""

    @property
    def seconds(self) -> float | None:
        """How long it ran, once it has ended."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


@dataclass(frozen=True, slots=True)
class StepRow:
    name: str
    position: int
    state: StepState
    parameters: dict[str, Any]
    started_at: datetime | None
    finished_at: datetime | None
    wall_seconds: float | None
    cpu_seconds: float | None
    peak_memory_bytes: int | None
    output: str | None
    output_type: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class MetricRow:
    name: str
    step: int
    value: float
    at: datetime


@dataclass(frozen=True, slots=True)
class RunDetail(RunRow):
    steps: list[StepRow]
    metrics: dict[str, float]
    """The last value of each metric."""
    series: list[MetricRow]
    """Every value, in the order in which it was logged."""
    graph: dict[str, list[str]]
    git: dict[str, Any]
    environment: dict[str, str]
    inputs: dict[str, str]
    parameters: dict[str, Any]
    source: str | None
    seed: int


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    name: str
    target_kind: Target
    target: str
    cron: str | None
    every_seconds: float | None
    on_data: str | None
    timezone: str
    parameters: dict[str, Any]
    paused: bool
    """By the settings."""
    overlap: Overlap
    misfire: Misfire
    grace_seconds: float
    anchor: datetime
    last_tick: datetime | None
    next_tick: datetime | None
    paused_by: str | None
    """The person who paused it."""
    held_by: str | None
    """The alert while which is open its ticks start nothing: see `pipelines.holding`."""


def pipelines(workspace: Workspace) -> list[PipelineRow]:
    """The pipelines that the workspace's modules define, by name, each with its newest run and its next tick."""
    found = find_pipelines(workspace)
    with workspace.state.read() as tx:
        counted = tx.exec(select(Run.pipeline, func.count(), func.max(Run.id)).group_by(Run.pipeline))
        newest = {name: (count, tx.get_one(Run, last)) for name, count, last in counted}
        ticks = _next_ticks(tx)
        paused, held = pauses(tx, "pipeline"), held_pipelines(tx)
    rows = []
    for entry in found:
        count, last = newest.get(entry.name, (0, None))
        schedule = ticks.get(entry.name)
        rows.append(
            PipelineRow(
                name=entry.name,
                file=str(entry.file.relative_to(workspace.root)),
                line=entry.line,
                steps=entry.steps,
                parameters=entry.parameters,
                error=entry.error,
                runs=count,
                last_run=last.id if last else None,
                last_state=last.state if last else None,
                last_finished=last.finished_at if last else None,
                schedule=schedule.name if schedule else None,
                next_tick=schedule.next_tick if schedule else None,
                paused_by=paused[entry.name].actor if entry.name in paused else None,
                held_by=held[entry.name].reference if schedule and entry.name in held else None,
            )
        )
    return rows


def runs(workspace: Workspace, pipeline: str | None = None, limit: int = 100) -> list[RunRow]:
    """The newest runs, newest first; of `pipeline`, or of all."""
    query = select(Run).order_by(col(Run.id).desc()).limit(limit)
    if pipeline is not None:
        query = query.where(Run.pipeline == pipeline)
    with workspace.state.read() as tx:
        return [RunRow(**_columns(run, RunRow)) for run in tx.exec(query)]


def run(workspace: Workspace, run_id: int) -> RunDetail:
    """Everything about one run.

    Raises:
        NotFoundError: there is no such run.
    """
    with workspace.state.read() as tx:
        found = find_run(tx, run_id)
        steps = tx.exec(select(RunStep).where(RunStep.run_id == run_id).order_by(col(RunStep.position))).all()
        metrics = tx.exec(select(Metric).where(Metric.run_id == run_id).order_by(col(Metric.id))).all()
        series = [MetricRow(**_columns(metric, MetricRow)) for metric in metrics]
        return RunDetail(
            **_columns(found, RunDetail, without=("steps", "metrics", "series")),
            steps=[StepRow(**_columns(step, StepRow)) for step in steps],
            metrics={metric.name: metric.value for metric in series},
            series=series,
        )


def schedules(workspace: Workspace) -> list[ScheduleRow]:
    """The schedules of pipelines, of monitors and of housekeeping, by name."""
    with workspace.state.read() as tx:
        rows, paused = tx.exec(select(Schedule).order_by(Schedule.name)).all(), pauses(tx, "schedule")
        held = {f"{Target.PIPELINE}/{name}": alert.reference for name, alert in held_pipelines(tx).items()}
        return [
            ScheduleRow(
                **_columns(row, ScheduleRow, without=("paused_by", "held_by")),
                paused_by=paused[row.name].actor if row.name in paused else None,
                held_by=held.get(f"{row.target_kind}/{row.target}"),
            )
            for row in rows
        ]


def _next_ticks(tx: Session) -> dict[str, Schedule]:
    """For each pipeline the schedule that fires next; one without a known tick only when there is no other."""
    rows = tx.exec(select(Schedule).where(Schedule.target_kind == Target.PIPELINE).order_by(Schedule.name)).all()
    first: dict[str, Schedule] = {}
    for row in sorted(rows, key=lambda row: (row.paused, row.next_tick is None, row.next_tick)):
        first.setdefault(row.target, row)
    return first


def _columns(entity: Any, row: type, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values that a frozen row takes over from its entity."""
    return {field.name: getattr(entity, field.name) for field in fields(row) if field.name not in without}
