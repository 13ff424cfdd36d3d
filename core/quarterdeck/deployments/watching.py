"""By which settings a deployment's quality is followed: those of its monitor."""

from __future__ import annotations

from quarterdeck.registry.signature import Signature
from quarterdeck.registry.truth import default_metric
from quarterdeck.registry.version import ModelVersion
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.workspace import Workspace


def followed_by(workspace: Workspace, deployment: str) -> MonitorSettings:
    """The deployment's first monitor that names a metric, else its first one, else the defaults."""
    monitors = [one for one in workspace.settings.monitors.values() if one.deployment == deployment]
    named = (one for one in monitors if one.metric is not None)
    return next(named, monitors[0] if monitors else MonitorSettings(deployment=deployment))


def followed_metric(workspace: Workspace, deployment: str, version: ModelVersion) -> str:
    """The metric that the deployment's monitor follows, or the one for the version's kind of answer."""
    chosen = followed_by(workspace, deployment).metric
    return chosen or default_metric(version.task, Signature.from_dict(version.signature))
