"""What the rollback screen reads. Everything here runs in a thread."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from quarterdeck_console.formatting import clean, duration

if TYPE_CHECKING:
    from quarterdeck.deployments.analysis import CandidateDetail, RollbackPlan
    from quarterdeck.deployments.rows import OperationRow, RevisionRow
    from quarterdeck.workspace import Workspace
    from quarterdeck_console.screens.pane import RollbackTarget


@dataclass(frozen=True, slots=True)
class Opening:
    """The first look: what is planned, or what is under way already."""

    plan: RollbackPlan
    undone: RevisionRow | None
    """For an undo: the newest change, which it reverses."""
    under_way: OperationRow | None
    view_id: int | None
    """By which `close_plan` takes back that this plan is open."""


@dataclass(frozen=True, slots=True)
class Look:
    """A candidate under the cursor: the first line for it, and how it differs."""

    plan: RollbackPlan
    detail: CandidateDetail


def open_plan(workspace: Workspace, target: RollbackTarget, *, undo: bool) -> Opening | str:
    """Plan going back, or the reverse of the newest change; a sentence where there is nothing to plan."""
    from quarterdeck.deployments import analysis, presence
    from quarterdeck.deployments.queries import operations, revisions
    from quarterdeck.errors import BusyError

    history = revisions(workspace, target.deployment)
    under_way = next((o for o in operations(workspace, open_only=True) if o.deployment == target.deployment), None)
    newest = next((row for row in history if row.desired), None)
    to = target.revision
    if undo:
        if newest is None or newest.replaces is None:
            return f"There is nothing to undo in {target.deployment}: its first revision serves."
        to = newest.replaces
    elif to is None and target.version is not None:
        to = next((row.number for row in history if row.version == target.version and not row.desired), None)
    plan = analysis.plan(workspace, target.deployment, to=to, alert=target.alert)
    try:
        view_id = presence.open_plan(workspace, target.deployment)
    except BusyError:
        # Only a courtesy to others: no reason to keep a rollback from being planned.
        view_id = None
    return Opening(plan, newest if undo else None, under_way, view_id)


def close_plan(workspace: Workspace, view_id: int | None) -> None:
    from quarterdeck.deployments import presence

    presence.close_plan(workspace, view_id)


def look_at(workspace: Workspace, deployment: str, revision: int, alert: int | None) -> Look:
    """The plan and the comparison for one candidate."""
    from quarterdeck.deployments import analysis

    plan = analysis.plan(workspace, deployment, to=revision, alert=alert)
    return Look(plan, analysis.compare(workspace, deployment, revision))


def execute(
    workspace: Workspace, deployment: str, *, undo: bool, to: int, expected: int, reason: str
) -> OperationRow | str:
    """Do it, as compare-and-swap on the revision that was seen; a sentence when that moved."""
    from quarterdeck.deployments import rollout
    from quarterdeck.errors import ConflictError

    try:
        if undo:
            return rollout.undo(workspace, deployment, expected=expected, reason=reason)
        return rollout.roll_back(workspace, deployment, to=to, expected=expected, reason=reason)
    except ConflictError:
        return who_moved(workspace, deployment)


def who_moved(workspace: Workspace, deployment: str) -> str:
    """`now revision 14 by alice, 12 s ago: plan again (r)`."""
    from quarterdeck.deployments.queries import revisions

    now = next(row for row in revisions(workspace, deployment) if row.desired)
    ago = duration(max(0.0, (datetime.now(UTC) - now.created_at).total_seconds()))
    return f"Nothing was changed: now revision {now.number} by {clean(now.actor)}, {ago} ago: plan again (r)."


def watch(workspace: Workspace, operation: int) -> OperationRow:
    from quarterdeck.deployments.queries import operation as read

    return read(workspace, operation)


def score_again(workspace: Workspace, deployment: str) -> str:
    """Ask for what the bad version wrote to be scored again; a sentence about it."""
    from quarterdeck.deployments.scoring import ask_to_score_again
    from quarterdeck.runner.queries import runner_state

    ask_to_score_again(workspace, deployment)
    if runner_state(workspace).alive:
        return "They are scored again by a job: `:job` lists it."
    return "A job will score them again once a runner is there: start one with `quarterdeck up`."


def start_replay(workspace: Workspace, deployment: str, version: int) -> tuple[int, bool]:
    """Ask for a replay; its number, and whether a runner is there to make it."""
    from quarterdeck.deployments.replaying import request
    from quarterdeck.runner.queries import runner_state

    return request(workspace, deployment, version), runner_state(workspace).alive


def replay_outcome(workspace: Workspace, replay: int) -> dict[str, Any] | None:
    from quarterdeck.deployments.queries import replay_outcome as read

    return read(workspace, replay)
