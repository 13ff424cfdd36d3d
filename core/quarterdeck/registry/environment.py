"""The Python environment of a model in a process of its own: found, and put together with what it is to run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from quarterdeck.errors import ArtifactError, RefusedError, UsageError
from quarterdeck.registry.hosted import Limits, Plan
from quarterdeck.registry.model import Model
from quarterdeck.registry.packing import unpacked
from quarterdeck.registry.version import PICKLED, Format, ModelVersion
from quarterdeck.workspace import Workspace


def find_python(given: Path | None) -> str:
    """The interpreter of an environment: `given` is one, or a virtual environment's folder; None is our own.

    Raises:
        UsageError: there is no interpreter.
    """
    if given is None:
        return sys.executable
    # Not resolved: the interpreter of a virtual environment is a link, and finds its environment by where that lies.
    place = Path(os.path.abspath(given))
    python = place / "bin" / "python" if place.is_dir() else place
    if not os.access(python, os.X_OK) or not python.is_file():
        raise UsageError(
            f"{given} is no Python environment: {python} is no program. Name a virtual environment's folder, or its "
            "interpreter."
        )
    return str(python)


def plan_of(workspace: Workspace, version: ModelVersion) -> Plan:
    """What runs for a version, and where.

    Raises:
        ArtifactError: its artifact is missing or damaged.
        RefusedError: it is a pickle, and nobody said that it may be loaded.
        UsageError: its interpreter is not there.
    """
    digest = version.artifact or ""
    if version.format in PICKLED and version.trusted != digest:
        raise RefusedError(
            f"Version {version.number} is a pickle that nobody trusted: adopt its file again with --trust-pickle."
        )
    if version.format is Format.PICKLE:
        path = workspace.artifacts.path(digest)
        if not workspace.artifacts.verify(digest):
            raise ArtifactError(f"Artifact {digest[:12]} is damaged: its bytes do not match its name.")
    else:
        path = unpacked(workspace, digest)
    python = find_python(Path(version.python) if version.python else None)
    return Plan(f"{_model(workspace, version)}@{version.number}", python, path, version.format, version.entry)


def limits_of(workspace: Workspace, version: ModelVersion) -> Limits:
    """What a version's process may take, as its model's settings say."""
    return limits_for(workspace, _model(workspace, version))


def limits_for(workspace: Workspace, model: str) -> Limits:
    """What the processes of a model may take, as `[models.NAME]` says."""
    settings = workspace.settings.model(model)
    return Limits(settings.load_timeout.total_seconds(), settings.timeout.total_seconds(), settings.memory)


def _model(workspace: Workspace, version: ModelVersion) -> str:
    with workspace.state.read() as tx:
        return tx.get_one(Model, version.model_id).name
