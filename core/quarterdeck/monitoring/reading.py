"""A monitor's windows as rows: what came in, and what that is compared with."""

from __future__ import annotations

from quarterdeck.monitoring.inputs import Reference, load_reference, reference_of, watched_features, window_columns
from quarterdeck.monitoring.monitor import Monitor, Span
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.traffic.window import WindowRows, read_window
from quarterdeck.workspace import Workspace


def read_span(workspace: Workspace, monitor: Monitor, span: Span, *, version: int | None = None) -> WindowRows:
    """The predictions of a span that the monitor watches, of one version or of all."""
    rows = read_window(workspace, monitor.settings.deployment, span.start, span.end, version=version)
    return rows.at(monitor.takes)


def load_window_reference(
    workspace: Workspace, monitor: Monitor, version: ModelVersion, window: Span
) -> Reference | None:
    """The rows that a window of a version is compared with, as `reference` of the monitor says; None if not stored.

    Raises:
        SettingsError: a watched column is no feature of the version, or is not recorded.
        ArtifactError: the rows of the training are missing or damaged.
    """
    settings = monitor.settings
    omitted = workspace.settings.deployment(settings.deployment).omit
    if settings.reference == "training":
        return load_reference(workspace, monitor, version, omitted)
    spans = monitor.past_weeks(window)
    if settings.reference_period is not None:
        spans = [Span(*settings.reference_period)]
    features = watched_features(monitor, version, settings.columns, omitted)
    # All versions of a deployment take the same features in the same order.
    rows = [row for span in spans for row in read_span(workspace, monitor, span).inputs]
    columns = window_columns(Signature.from_dict(version.signature), rows)
    return reference_of(version, [columns[feature.name] for feature in features])
