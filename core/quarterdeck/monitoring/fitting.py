"""Whether what a monitor is told to look at can be judged of the version that it watches."""

from __future__ import annotations

from quarterdeck.errors import SettingsError
from quarterdeck.monitoring.costs import CostTable
from quarterdeck.monitoring.inputs import watched_features
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion, Task
from quarterdeck.statistics.quality import METRICS
from quarterdeck.workspace import Workspace


def check_settings(workspace: Workspace, monitor: Monitor, version: ModelVersion) -> None:
    """Compare the settings with what the version takes and answers; it needs no window.

    Raises:
        SettingsError: a column is no feature of it, or is not recorded; the metric, the costs or the bounds of
            fairness are not for what it answers. The monitor and the key are named.
    """
    settings = monitor.settings
    omitted = workspace.settings.deployment(settings.deployment).omit
    fairness = () if settings.fairness is None else settings.fairness.columns
    for key, named in (("columns", settings.columns), ("slices", settings.slices), ("fairness.columns", fairness)):
        if named:
            watched_features(monitor, version, named, omitted, key)
    signature = Signature.from_dict(version.signature)
    _check_metric(monitor, version, signature)
    if fairness and signature.positive is None:
        raise SettingsError(
            f"[monitors.{monitor.name}.fairness] is for two classes, and {_answers(version, signature)}. Take it out."
        )
    if settings.costs is not None:
        CostTable(monitor, signature)


def _check_metric(monitor: Monitor, version: ModelVersion, signature: Signature) -> None:
    fitting = [name for name, metric in METRICS.items() if metric.needs in _NEEDS[_kind(version, signature)]]
    name = monitor.settings.metric
    if name is not None and name not in fitting:
        raise SettingsError(
            f'`metric = "{name}"` under [monitors.{monitor.name}] cannot be computed: {_answers(version, signature)}. '
            f"Those that can: {', '.join(fitting)}."
        )


_NEEDS = {"numbers": ("number",), "two classes": ("label", "probability", "score"), "classes": ("label",)}
"""What metrics may need, by what a model answers."""


def _kind(version: ModelVersion, signature: Signature) -> str:
    if version.task is Task.REGRESSION:
        return "numbers"
    return "classes" if signature.positive is None else "two classes"


def _answers(version: ModelVersion, signature: Signature) -> str:
    names = f" ({', '.join(map(str, signature.classes))})" if signature.classes else ""
    return f"model version {version.number} answers {_kind(version, signature)}{names}"
