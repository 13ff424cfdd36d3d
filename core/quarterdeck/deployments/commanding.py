"""Rolling back elsewhere: the user's `rollback_command`, run as a job, and what is known afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlmodel import Session

from quarterdeck import logs
from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.deployments.deployment import Deployment
from quarterdeck.deployments.operation import Operation, OperationState
from quarterdeck.deployments.outside import filled, run_outside
from quarterdeck.deployments.probing import probe
from quarterdeck.deployments.revision import find_revision
from quarterdeck.errors import NotFoundError, QuarterdeckError
from quarterdeck.locking import WriteLock
from quarterdeck.workspace import Workspace

PROBE_SECONDS = 30.0
"""For how long a probe is asked again after the command: what was told to change may take a while."""
PROBE_EVERY_SECONDS = 1.0
Fence = Callable[[Session], None]


def roll_back_elsewhere(workspace: Workspace, operation_id: int, *, fence: Fence | None = None) -> None:
    """Run the command that makes the target of an operation answer elsewhere; then ask the probe, if there is one.

    Of two changes of one deployment the later waits for the earlier one's command; a change that was overtaken
    meanwhile runs nothing.

    Raises:
        NotFoundError: there is no such operation.
        QuarterdeckError: the command cannot be started, took too long or ended with another status than 0. The
            operation has failed, and says so.
    """
    name, seconds = _name_of(workspace, operation_id), _timeout(workspace, operation_id)
    with WriteLock(workspace.folder / f"rollback-{name}.lock").held("rollback", 2 * seconds):
        words = _words(workspace, operation_id)
        if words is None:
            logs.tell("INFO", f"another change of '{name}' came first: nothing is run")
            return
        try:
            error = _run(workspace, name, words, seconds)
        except SystemExit:
            _write_down(workspace, operation_id, "its job was ended before the rollback_command had ended", fence)
            raise
        _write_down(workspace, operation_id, error, fence)
    if error is not None:
        raise QuarterdeckError(error)
    if workspace.settings.deployment(name).version_probe:
        _probe(workspace, name, operation_id, fence)


def _find(tx: Session, operation_id: int) -> tuple[Operation, Deployment]:
    operation = tx.get(Operation, operation_id)
    if operation is None:
        raise NotFoundError(f"There is no operation {operation_id}. `quarterdeck status` lists those under way.")
    return operation, tx.get_one(Deployment, operation.deployment_id)


def _name_of(workspace: Workspace, operation_id: int) -> str:
    with workspace.state.read() as tx:
        return _find(tx, operation_id)[1].name


def _timeout(workspace: Workspace, operation_id: int) -> float:
    return workspace.settings.deployment(_name_of(workspace, operation_id)).command_timeout.total_seconds()


def _words(workspace: Workspace, operation_id: int) -> list[str] | None:
    """The command to run, empty where there is none; None where the operation is not what is wanted any more."""
    with workspace.state.read() as tx:
        operation, deployment = _find(tx, operation_id)
        if deployment.desired_revision != operation.to_revision:
            return None
        version = find_revision(tx, operation.deployment_id, operation.to_revision).version
    command = workspace.settings.deployment(deployment.name).rollback_command
    return filled(command, version=version, deployment=deployment.name)


def _run(workspace: Workspace, name: str, words: list[str], seconds: float) -> str | None:
    """What went wrong; None where the command ended well."""
    if not words:
        return f"[deployments.{name}] has no rollback_command any more: put it back, then retry the job"
    try:
        ended = run_outside(workspace, words, seconds=seconds)
    except QuarterdeckError as error:
        return str(error)
    if ended.status == 0:
        return None
    return f"the rollback_command {words[0]!r} ended with {ended.words}; the job's log says why"


def _write_down(workspace: Workspace, operation_id: int, error: str | None, fence: Fence | None) -> None:
    with workspace.state.write("rollback command", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
        if fence is not None:
            fence(tx)
        operation, deployment = _find(tx, operation_id)
        data = {"operation": operation.id, "revision": operation.to_revision, "error": error}
        if error is None:
            operation.routed_at = workspace.now()
        if operation.state in (OperationState.PLANNED, OperationState.FAILED):
            operation.error = error
            operation.state = OperationState.UNPROVEN if error is None else OperationState.FAILED
        kind = "deployment.commanded" if error is None else "deployment.failed"
        workspace.record(tx, kind, f"deployment/{deployment.name}", data)


def _probe(workspace: Workspace, name: str, operation_id: int, fence: Fence | None) -> None:
    """Ask until the probe tells what is wanted or the time is over. What it tells is written down each time."""
    deadline = time.monotonic() + PROBE_SECONDS
    while True:
        try:
            found = probe(workspace, name, fence=fence)
            told = f"The version_probe tells version {found.version}; wanted is {found.wanted}."
            done = found.version == found.wanted
        except QuarterdeckError as error:
            told, done = str(error), False
        logs.tell("INFO", told)
        if done or time.monotonic() > deadline or _words(workspace, operation_id) is None:
            return
        time.sleep(PROBE_EVERY_SECONDS)
