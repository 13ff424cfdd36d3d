"""Asking for a run, and taking that back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session

from quarterdeck.errors import RefusedError
from quarterdeck.pipelines.discovery import Found, find_pipeline
from quarterdeck.pipelines.ending import mark_cancelled
from quarterdeck.pipelines.run import ENDED, Run, RunState, find_run
from quarterdeck.pipelines.step import PipelineError
from quarterdeck.workspace import Workspace

MANUAL = "manual"
"""The trigger of a run that a person asked for."""


def submit(
    workspace: Workspace,
    pipeline: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    trigger: str = MANUAL,
    actor: str | None = None,
) -> int:
    """Queue a run of `pipeline` with `parameters` (`step.parameter`: value) and return its number.

    `seed` is that of its random numbers: a run with the same seed, code, data and parameters draws the same.

    Raises:
        NotFoundError: there is no such pipeline; the message lists those that exist.
        PipelineError: its module cannot be read, or a parameter is not one of its own.
        ReadOnlyError: the workspace is read-only.
    """
    _check_parameters(find_pipeline(workspace, pipeline), parameters or {})
    with workspace.change("run") as tx:
        run = submit_in(tx, workspace, pipeline, parameters or {}, seed=seed, trigger=trigger, actor=actor)
        assert run.id is not None
        return run.id


def submit_in(
    tx: Session,
    workspace: Workspace,
    pipeline: str,
    parameters: Mapping[str, Any],
    *,
    seed: int = 0,
    trigger: str,
    actor: str | None = None,
) -> Run:
    """Queue a run inside the caller's transaction.

    Whether the pipeline exists is not looked up here, since that reads files: a run of one that is gone fails at
    once and says so, where a schedule that quietly does nothing would not be noticed.
    """
    run = Run(
        pipeline=pipeline,
        state=RunState.QUEUED,
        parameters=dict(parameters),
        seed=seed,
        trigger=trigger,
        requested_by=actor or workspace.actor,
        queued_at=workspace.now(),
    )
    tx.add(run)
    tx.flush()
    workspace.record(
        tx,
        "run.queued",
        run.reference,
        {"pipeline": pipeline, "parameters": dict(parameters), "trigger": trigger},
        actor=actor,
    )
    return run


def cancel(workspace: Workspace, run_id: int, *, actor: str | None = None) -> None:
    """Cancel a run: one that is queued at once, one that is running by asking the runner to end it.

    Raises:
        NotFoundError: there is no such run.
        RefusedError: it has ended already.
    """
    with workspace.change("cancel") as tx:
        run = find_run(tx, run_id)
        if run.state in ENDED:
            raise RefusedError(f"Run {run_id} has ended already ({run.state}): there is nothing to cancel.")
        if run.state is RunState.QUEUED:
            mark_cancelled(tx, workspace, run_id, actor)
        else:
            workspace.record(tx, "run.cancel_requested", run.reference, actor=actor)


def _check_parameters(found: Found, parameters: Mapping[str, Any]) -> None:
    """Refuse early what the syntax already tells; the run itself checks again on what it loads."""
    if found.parameters is None:
        return
    for key in parameters:
        if key not in found.parameters:
            known = ", ".join(found.parameters) or "it has none"
            raise PipelineError(
                f"Unknown parameter '{key}' of pipeline '{found.name}' ({found.file}:{found.line}). Known: {known}."
            )
