"""Whether the newest look of each monitor, and of each KPI that is fetched, came to its end, or why not."""

from __future__ import annotations

from collections.abc import Iterable

from sqlmodel import Session, col, select

from quarterdeck.pipelines.scheduling import KPI_PREFIX, MONITOR_PREFIX
from quarterdeck.runner.job import Job, JobState
from quarterdeck.workspace import Workspace

ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.LOST)
"""States that say how a look ended; a cancelled one says nothing."""
DIED = "its process died"


def failures(workspace: Workspace) -> dict[str, str]:
    """For each monitor of quarterdeck.toml that failed when it looked last the reason."""
    with workspace.state.read() as tx:
        return failures_in(tx, workspace.settings.monitors)


def failures_in(tx: Session, monitors: Iterable[str]) -> dict[str, str]:
    """`failures`, of those monitors."""
    return _failed_last(tx, MONITOR_PREFIX, monitors)


def unfetched_in(tx: Session, kpis: Iterable[str]) -> dict[str, str]:
    """For each of those KPIs (`DEPLOYMENT/NAME`) whose query was not answered when it was asked last the reason."""
    return _failed_last(tx, KPI_PREFIX, kpis)


def _failed_last(tx: Session, prefix: str, names: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in names:
        # By the schedule, for which there is an index: the console asks with every change.
        mine = select(Job).where(Job.schedule == f"{prefix}{name}", col(Job.state).in_(ENDED))
        newest = tx.exec(mine.order_by(col(Job.id).desc()).limit(1)).first()
        if newest is not None and newest.state is not JobState.SUCCEEDED:
            found[name] = newest.error or DIED
    return found
