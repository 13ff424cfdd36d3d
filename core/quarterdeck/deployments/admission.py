"""What a change of a deployment must not do: each rule refuses with the reason and the next step."""

from __future__ import annotations

from sqlmodel import Session

from quarterdeck.deployments.deployment import Deployment, ServedBy
from quarterdeck.deployments.fitness import why_not
from quarterdeck.errors import RefusedError
from quarterdeck.registry.version import GateVerdict, ModelVersion
from quarterdeck.workspace import Workspace


def refuse_failed_gate(version: ModelVersion, model: str) -> None:
    """Raises RefusedError: the gate of `version` failed."""
    if version.gate is GateVerdict.FAILED:
        failed = ", ".join(str(check["metric"]) for check in version.gate_checks if not check["passed"])
        raise RefusedError(
            f"{model}@{version.number} may not be deployed: its gate failed ({failed or 'no metric'}). "
            f"`quarterdeck versions {model}` shows the checks; deploy another version or mend [models.{model}]."
        )


def refuse_unless_fit(
    tx: Session, workspace: Workspace, deployment: Deployment, version: int, serving: int | None
) -> None:
    """Raises RefusedError: `version` cannot answer the callers of the serving one."""
    reason = why_not(tx, workspace, deployment, version, serving=serving)
    if reason is not None:
        raise RefusedError(
            f"Version {version} of '{deployment.model}' cannot serve '{deployment.name}': {reason}. "
            f"Nothing was changed; `quarterdeck versions {deployment.model}` lists the others."
        )


def refuse_without_reason(workspace: Workspace, name: str, reason: str) -> None:
    """Raises RefusedError: the deployment is protected and nobody says why."""
    if workspace.settings.deployment(name).protected and not reason.strip():
        raise RefusedError(f"Deployment '{name}' is protected: say why, with --reason.")


def refuse_without_command(workspace: Workspace, deployment: Deployment) -> None:
    """Raises RefusedError: it is served elsewhere, and nothing says how to change what answers there."""
    lacking = lacking_command(workspace, deployment)
    if lacking is not None:
        raise RefusedError(
            f"Deployment '{deployment.name}' is {lacking}. Or roll back there, then say so with "
            f"`quarterdeck deploy {deployment.name} --model {deployment.model} --version N`."
        )


def lacking_command(workspace: Workspace, deployment: Deployment) -> str | None:
    """What is missing for a rollback of a deployment that is served elsewhere; None where nothing is."""
    if deployment.served_by is not ServedBy.EXTERNAL or workspace.settings.deployment(deployment.name).rollback_command:
        return None
    return f"served elsewhere, and [deployments.{deployment.name}] has no rollback_command that changes it there"
