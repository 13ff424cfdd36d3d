"""Waiting for the proof that a new revision serves, and how a verb ends without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from quarterdeck_console.cli.output import say
from quarterdeck_console.cli.session import runner_is_alive, wait_until

if TYPE_CHECKING:
    from quarterdeck.deployments.queries import OperationRow
    from quarterdeck.workspace import Workspace

PROOF_SECONDS = 60.0


def wait_for_proof(workspace: Workspace, operation_id: int) -> tuple[OperationRow, str | None]:
    """The operation as it became, and why it cannot be called done although a gateway is there to prove it."""
    from quarterdeck.deployments.queries import gateway_state, operation

    row = operation(workspace, operation_id)
    if row.state != "planned":
        return row, _without_proof(row)
    elsewhere = row.served_by == "external"
    if elsewhere and not runner_is_alive(workspace):
        return row, None
    if not elsewhere and not gateway_state(workspace).alive:
        say("No gateway is alive: it is written down and takes effect when one starts (`quarterdeck up`).")
        return row, None

    def look() -> OperationRow | None:
        seen = operation(workspace, operation_id)
        # A command that has ended well proves nothing yet: what is seen there does.
        waits = ("planned", "unproven") if elsewhere else ("planned",)
        return seen if seen.state not in waits else None

    row = wait_until(workspace, look, seconds=PROOF_SECONDS) or operation(workspace, operation_id)
    return row, _without_proof(row)


def exit_without_proof(missing: str | None) -> None:
    """End with 1 where something is missing, and say what."""
    if missing is not None:
        say(missing)
        raise typer.Exit(1)


def _without_proof(row: OperationRow) -> str | None:
    """Why an operation that was waited for is not done; None where it is, or where nobody could ever prove it."""
    what = f"{row.deployment}: revision {row.to_revision}"
    match str(row.state):
        case "planned" if row.served_by == "external":
            return (
                f"{what}: the rollback_command has not ended after {PROOF_SECONDS:g} s. It goes on by itself: "
                f"`quarterdeck jobs` shows it."
            )
        case "unproven" if row.served_by == "external" and row.kind != "deploy":
            return (
                f"{what} is unproven: the rollback_command ended well, and after {PROOF_SECONDS:g} s nothing has named "
                f"version {row.version} there. The next prediction that does, or `quarterdeck probe {row.deployment}`, "
                "verifies it."
            )
        case "planned":
            return (
                f"{what} is not verified after {PROOF_SECONDS:g} s: not every gateway worker has served it. "
                f"It goes on by itself: `quarterdeck history {row.deployment}` shows when it is verified."
            )
        case "superseded":
            return (
                f"{what} was superseded: another change came before it was verified. "
                f"`quarterdeck history {row.deployment}` shows which."
            )
        case "failed" if row.served_by == "external":
            why = (row.error or "nobody knows why").rstrip(".")
            return (
                f"{what} failed: {why}. What answers there now is not known. `quarterdeck history "
                f"{row.deployment}` shows what was seen; `quarterdeck jobs` has the log."
            )
        case "failed":
            return (
                f"{what} failed, and what served before goes on serving. "
                f"`quarterdeck undo {row.deployment}` takes it back."
                if row.from_revision is not None
                else f"{what} failed, and nothing served before. Deploy another version, or mend what it needs and "
                f"deploy this one again: `quarterdeck deploy {row.deployment} --version {row.version}`."
            )
        case _:
            return None
