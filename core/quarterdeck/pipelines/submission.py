"""Asking for a run, and taking that back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from quarterdeck import events
from quarterdeck.errors import RefusedError
from quarterdeck.events import Entry
from quarterdeck.pipelines.discovery import Found, find_pipeline
from quarterdeck.pipelines.ending import mark_cancelled
from quarterdeck.pipelines.run import ENDED, Run, RunState, find_run
from quarterdeck.pipelines.step import PipelineError
from quarterdeck.workspace import Workspace

MANUAL = "manual"
"""The trigger of a run that a person asked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that is asked for."""

    pipeline: str
    parameters: Mapping[str, Any]
    trigger: str
    actor: str
    seed: int = 0


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
    check(workspace, pipeline, parameters or {})
    with workspace.change("run") as tx:
        wanted = Wanted(pipeline, parameters or {}, trigger, actor or workspace.actor, seed)
        (run,) = submit_in(tx, workspace, wanted)
        assert run.id is not None
        return run.id


def check(workspace: Workspace, pipeline: str, parameters: Mapping[str, Any]) -> None:
    """Whether a run of `pipeline` with `parameters` can be asked for, as far as the syntax of its module tells.

    Raises:
        NotFoundError, PipelineError: as `submit`.
    """
    _check_parameters(find_pipeline(workspace, pipeline), parameters)


def submit_in(tx: Session, workspace: Workspace, *wanted: Wanted) -> list[Run]:
    """Queue runs inside the caller's transaction.

    Whether a pipeline exists is not looked up here, since that reads files: a run of one that is gone fails at
    once and says so, where a schedule that quietly does nothing would not be noticed.
    """
    now = workspace.now()
    runs = [
        Run(
            pipeline=one.pipeline,
            state=RunState.QUEUED,
            parameters=dict(one.parameters),
            seed=one.seed,
            trigger=one.trigger,
            requested_by=one.actor,
            queued_at=now,
        )
        for one in wanted
    ]
    tx.add_all(runs)
    tx.flush()
    entries = []
    for one, run in zip(wanted, runs, strict=True):
        data = {"pipeline": one.pipeline, "parameters": dict(one.parameters), "trigger": one.trigger}
        entries.append(Entry(now, one.actor, "run.queued", run.reference, data))
    events.record(tx, *entries)
    return runs


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
