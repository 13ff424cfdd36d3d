"""Which queued jobs may start now, and what holds the others: one rule for the claim and for those who look on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, or_, select

from quarterdeck import freezing
from quarterdeck.freezing import Freeze
from quarterdeck.pipelines import pausing
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.workspace import Workspace

SHORT = frozenset({JobKind.MONITOR, JobKind.NOTIFY, JobKind.PROBE, JobKind.ROLLBACK})
"""What watches, tells and goes back must not wait behind trainings: these have places of their own."""
SHORT_PLACES = 2
DISK_EXEMPT = frozenset({JobKind.NOTIFY, JobKind.HOUSEKEEPING, JobKind.ROLLBACK})
"""What tells of a full disk, what makes room on it, and what works on one."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What is closed at this moment: for each closed thing the reason, in the words of `quarterdeck jobs`."""

    kinds: Mapping[JobKind, str] = field(default_factory=dict)
    pools: Mapping[str, str] = field(default_factory=dict)
    pipelines: Mapping[str, str] = field(default_factory=dict)
    schedules: Mapping[str, str] = field(default_factory=dict)
    frozen: str | None = None

    def obstacle(self, job: Job) -> str | None:
        """Why a job that is due may not start; None when it may."""
        if job.process_group is not None:
            return "processes of its last attempt still live"
        if job.automatic and self.frozen is not None:
            return self.frozen
        return (
            self.pipelines.get(job.pipeline or "")
            or self.schedules.get(job.schedule or "")
            or self.pools.get(job.pool or "")
            or self.kinds.get(job.kind)
        )

    def open_jobs(self) -> list[ColumnElement[bool]]:
        """The conditions under which `obstacle` is None, for the database."""
        conditions: list[ColumnElement[bool]] = [col(Job.process_group).is_(None)]
        for column, closed in (
            (col(Job.pipeline), self.pipelines),
            (col(Job.schedule), self.schedules),
            (col(Job.pool), self.pools),
        ):
            conditions.append(or_(column.is_(None), column.not_in(list(closed))))
        conditions.append(col(Job.kind).not_in(list(self.kinds)))
        if self.frozen is not None:
            conditions.append(col(Job.automatic).is_(False))
        return conditions


def look(tx: Session, workspace: Workspace) -> Admission:
    """What is closed now, by what runs, what people paused and froze, and the room on the disk."""
    running = list(tx.exec(select(Job).where(Job.state == JobState.RUNNING)))
    freeze = freezing.in_force(tx, workspace.now())
    return Admission(
        kinds=_kinds(workspace, running),
        pools=_pools(workspace, running),
        pipelines=_pipelines(tx, workspace, running),
        schedules={job.schedule: f"job {job.id} of the same schedule runs" for job in running if job.schedule},
        frozen=_frozen(freeze, workspace.now()) if freeze else None,
    )


def _frozen(freeze: Freeze, now: datetime) -> str:
    # The day only where it says something: a narrow screen cuts what is long.
    until = f"{freeze.until:%H:%M}" if freeze.until.date() == now.date() else f"{freeze.until:%Y-%m-%d %H:%M}"
    return f"frozen by {freeze.actor} until {until} UTC"


def _kinds(workspace: Workspace, running: list[Job]) -> dict[JobKind, str]:
    closed: dict[JobKind, str] = {}
    places = workspace.settings.runner.concurrency
    for limit, kinds in ((SHORT_PLACES, SHORT), (places, frozenset(JobKind) - SHORT)):
        if sum(job.kind in kinds for job in running) >= limit:
            closed.update(dict.fromkeys(kinds, f"{limit} of {limit} places taken"))
    free = shutil.disk_usage(workspace.folder).free
    if free < workspace.settings.disk.stop_jobs:
        reason = f"disk low: {free / 1e6:,.0f} MB left"
        closed.update(dict.fromkeys(frozenset(JobKind) - DISK_EXEMPT, reason))
    return closed


def _pools(workspace: Workspace, running: list[Job]) -> dict[str, str]:
    taken = Counter(job.pool for job in running if job.pool)
    return {
        name: f"pool {name} full ({taken[name]} of {pool.slots})"
        for name, pool in workspace.settings.pools.items()
        if taken[name] >= pool.slots
    }


def _pipelines(tx: Session, workspace: Workspace, running: list[Job]) -> dict[str, str]:
    taken = Counter(job.pipeline for job in running if job.pipeline)
    closed = {
        name: f"{pipeline.concurrency} of {pipeline.concurrency} runs of {name} run"
        for name, pipeline in workspace.settings.pipelines.items()
        if pipeline.concurrency is not None and taken[name] >= pipeline.concurrency
    }
    paused = pausing.pauses(tx, "pipeline")
    return closed | {name: f"paused by {pause.actor}" for name, pause in paused.items()}
