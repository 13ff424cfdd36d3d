"""The terms of a job: how often it is tried, what it needs, and what ends it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which conditions a job runs."""

    max_attempts: int = 2
    retries: int = 0
    priority: int = 0
    pool: str | None = None
    pipeline: str | None = None
    timeout_seconds: float | None = None
    memory_limit_bytes: int | None = None
    automatic: bool = False

    def columns(self) -> dict[str, Any]:
        return asdict(self)


def terms_of(workspace: Workspace, *, max_attempts: int = 2, retries: int = 0) -> Terms:
    """The terms of a job that is not a run."""
    runner = workspace.settings.runner
    return Terms(
        max_attempts=max_attempts,
        retries=retries,
        timeout_seconds=runner.timeout.total_seconds(),
        memory_limit_bytes=runner.memory,
    )


def terms_of_run(workspace: Workspace, pipeline: str, *, automatic: bool) -> Terms:
    """The terms of a run, by `[pipelines.NAME]` over `[runner]`."""
    own, runner = workspace.settings.pipeline(pipeline), workspace.settings.runner
    return Terms(
        retries=own.retries,
        priority=own.priority,
        pool=own.pool,
        pipeline=pipeline,
        timeout_seconds=(own.timeout or runner.timeout).total_seconds(),
        memory_limit_bytes=own.memory or runner.memory,
        automatic=automatic,
    )
