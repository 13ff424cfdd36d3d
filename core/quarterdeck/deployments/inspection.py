"""One recorded prediction beside the version that answered it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quarterdeck.datasets.position import Position, position
from quarterdeck.deployments.deployment import find_deployment
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import find_version
from quarterdeck.traffic.queries import PredictionRow
from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Input:
    """One recorded input."""

    name: str
    value: Any
    """None is a missing value."""
    position: Position | None
    """Where it lies among the version's reference rows; None where the version has none."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """A prediction, with names for its values."""

    deployment: str
    model: str
    prediction: PredictionRow
    target: str | None
    classes: tuple[str | int | bool, ...] | None
    """In the order of the probabilities; None for numbers."""
    inputs: tuple[Input, ...]
    """In the signature's order."""


def inspect(workspace: Workspace, deployment: str, row: PredictionRow) -> Inspection:
    """`row`, a recorded prediction of `deployment`, beside the signature and the reference of its version.

    Raises:
        NotFoundError: there is no such deployment, or its model has no such version.
    """
    with workspace.state.read() as tx:
        model = find_deployment(tx, deployment).model
        version = find_version(tx, model, row.version)
    signature = Signature.from_dict(version.signature)
    profiles = {profile["name"]: profile for profile in version.profile}
    inputs = tuple(
        Input(name, value, position(profiles[name], value) if name in profiles else None)
        for name, value in zip(signature.names, row.inputs, strict=False)
    )
    return Inspection(deployment, model, row, signature.target, signature.classes, inputs)


def named_inputs(workspace: Workspace, deployment: str, rows: list[PredictionRow]) -> list[dict[str, Any]]:
    """For each of the rows its inputs by name.

    Raises:
        NotFoundError: there is no such deployment, or its model has no such version.
    """
    with workspace.state.read() as tx:
        model = find_deployment(tx, deployment).model
        names = {
            version: Signature.from_dict(find_version(tx, model, version).signature).names
            for version in {row.version for row in rows}
        }
    return [dict(zip(names[row.version], row.inputs, strict=False)) for row in rows]
