"""By which settings a deployment's quality is followed: those of its monitor."""

from __future__ import annotations

from quarterdeck.registry.signature import Signature
from quarterdeck.registry.truth import default_metric
from quarterdeck.registry.version import ModelVersion
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.workspace import Workspace


def followed_by(workspace: Workspace, deployment: str, monitor: str | None = None) -> MonitorSettings:
    """The settings of `monitor`; where there are none, of the deployment's first monitor that names a metric, else of
    its first one, else the defaults.
    """
    asked = workspace.settings.monitors.get(monitor or "")
    if asked is not None and asked.deployment == deployment:
        return asked
    monitors = [one for one in workspace.settings.monitors.values() if one.deployment == deployment]
    named = (one for one in monitors if one.metric is not None)
    return next(named, monitors[0] if monitors else MonitorSettings(deployment=deployment))


def metric_of(settings: MonitorSettings, version: ModelVersion) -> str:
    """The metric that a monitor follows, or the one for the version's kind of answer."""
    return settings.metric or default_metric(version.task, Signature.from_dict(version.signature))
