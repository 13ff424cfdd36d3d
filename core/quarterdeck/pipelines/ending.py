"""Ends of a run that its own process does not write: the runner and people do. Each joins a transaction.

All of them leave a run alone that has ended already: its process may have committed a result just before it died.
"""

from __future__ import annotations

from sqlmodel import Session, col, select

from quarterdeck.pipelines.run import ENDED, Run, RunState, RunStep, StepState, find_run
from quarterdeck.workspace import Workspace


def lose(tx: Session, workspace: Workspace, run_id: int, error: str) -> None:
    """The run's process died and no attempts are left."""
    _end(tx, workspace, run_id, RunState.LOST, error, actor=None)


def mark_cancelled(tx: Session, workspace: Workspace, run_id: int, actor: str | None = None) -> None:
    """The run was cancelled, and its process, if it had one, is gone."""
    _end(tx, workspace, run_id, RunState.CANCELLED, None, actor=actor)


def fail(tx: Session, workspace: Workspace, run_id: int, error: str) -> None:
    """The run cannot succeed; `error` says which step failed, or why none could start."""
    _end(tx, workspace, run_id, RunState.FAILED, error, actor=None)


def requeue(tx: Session, workspace: Workspace, run_id: int) -> None:
    """The run's process is gone and another attempt follows."""
    run = find_run(tx, run_id)
    if run.state is RunState.RUNNING:
        run.move(RunState.QUEUED, workspace.now())
        tx.add(run)
        workspace.record(tx, "run.requeued", run.reference, {"pipeline": run.pipeline})


def reopen(tx: Session, workspace: Workspace, run_id: int, *, actor: str | None = None) -> None:
    """The run ended badly and is tried again from its beginning.

    Raises:
        IllegalTransitionError: it did not end badly.
    """
    run = find_run(tx, run_id)
    data = {"pipeline": run.pipeline, "after": str(run.state)}
    run.move(RunState.QUEUED, workspace.now())
    tx.add(run)
    workspace.record(tx, "run.requeued", run.reference, data, actor=actor)


def end_steps(tx: Session, workspace: Workspace, run: Run, error: str) -> None:
    """Close the steps of a run that ends early: the one that was running failed, those after it never start."""
    open_states = (StepState.PENDING, StepState.RUNNING)
    for step in tx.exec(select(RunStep).where(RunStep.run_id == run.id, col(RunStep.state).in_(open_states))):
        if step.state is StepState.RUNNING:
            step.state = StepState.FAILED
            step.finished_at = workspace.now()
            step.error = error
        else:
            step.state = StepState.SKIPPED
        tx.add(step)


def _end(
    tx: Session, workspace: Workspace, run_id: int, state: RunState, error: str | None, *, actor: str | None
) -> None:
    run = find_run(tx, run_id)
    if run.state in ENDED:
        return
    run.move(state, workspace.now(), error)
    end_steps(tx, workspace, run, error or str(state))
    tx.add(run)
    data = {"pipeline": run.pipeline, **({"error": error} if error is not None else {})}
    workspace.record(tx, f"run.{state}", run.reference, data, actor=actor)
