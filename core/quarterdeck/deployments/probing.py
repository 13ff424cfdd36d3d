"""Asking which version answers elsewhere."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session

from quarterdeck.deployments.deployment import Deployment, ServedBy, find_deployment
from quarterdeck.deployments.outside import filled, run_outside
from quarterdeck.deployments.queries import deployment_row
from quarterdeck.deployments.rows import State
from quarterdeck.deployments.witnessing import witness
from quarterdeck.errors import QuarterdeckError, RefusedError, UsageError
from quarterdeck.registry.version import find_version
from quarterdeck.workspace import Workspace

_NAMES = ("model_version", "version")


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe found."""

    deployment: str
    version: int
    """The version that answers there."""
    wanted: int
    """The version that is wanted."""
    state: State
    """That of the deployment afterwards."""


def probe(workspace: Workspace, name: str, *, fence: Callable[[Session], None] | None = None) -> Probed:
    """Ask the `version_probe` of a deployment which version answers there, and write it down.

    Raises:
        NotFoundError: there is no such deployment, or the model has no version of the number that it tells.
        RefusedError: the deployment is served here.
        UsageError: it has no probe.
        QuarterdeckError: the probe does not answer, or not with a version.
    """
    with workspace.state.read() as tx:
        deployment = _external(tx, name)
    said = _ask(workspace, name)
    version = _version_in(said, name)
    with workspace.state.read() as tx:
        if fence is not None:
            fence(tx)
        find_version(tx, deployment.model, version)
    witness(workspace, name, {version: [workspace.now()]})
    row = deployment_row(workspace, name)
    return Probed(name, version, row.version, row.state)


def _external(tx: Session, name: str) -> Deployment:
    deployment = find_deployment(tx, name)
    if deployment.served_by is not ServedBy.EXTERNAL:
        raise RefusedError(f"Deployment '{name}' is served here: its workers prove what they serve. `status` shows it.")
    return deployment


def _ask(workspace: Workspace, name: str) -> str:
    settings = workspace.settings.deployment(name)
    seconds = settings.command_timeout.total_seconds()
    asked = settings.version_probe
    if not asked:
        raise UsageError(
            f"[deployments.{name}] in {workspace.settings_file} has no version_probe. Give a URL or an argument list "
            "that tells which version answers there."
        )
    if isinstance(asked, str):
        return workspace.ports.fetcher.fetch(asked.replace("{deployment}", name), seconds=seconds)
    ended = run_outside(workspace, filled(asked, deployment=name), seconds=seconds, capture=True)
    if ended.status != 0:
        raise QuarterdeckError(f"The version_probe of '{name}' ended with {ended.words}. Run it by hand to see why.")
    return ended.output


def _version_in(said: str, name: str) -> int:
    """The version in a probe's answer: `3`, `v3`, or a JSON object with `version` or `model_version`."""
    found: Any = said.strip()
    try:
        document = json.loads(found)
    except ValueError:
        document = None
    if isinstance(document, dict):
        found = next((document[key] for key in _NAMES if key in document), None)
    match = re.fullmatch(r"[vV]?(\d{1,9})", str(found))
    if match is None or isinstance(found, bool):
        raise QuarterdeckError(
            f"The version_probe of '{name}' told {said.strip()[:80]!r}, which names no version. It should tell a "
            'number, or a JSON object like {"version": 3}.'
        )
    return int(match.group(1))
