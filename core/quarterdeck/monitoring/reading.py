"""A monitor's windows as rows: what came in, and what that is compared with. What is too large is held as a sample."""

from __future__ import annotations

from collections.abc import Sequence

from quarterdeck.monitoring.inputs import Reference, load_reference, reference_of, watched_features, window_columns
from quarterdeck.monitoring.monitor import Monitor, Span
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.traffic.sampling import Sampling, Sketched, sample_window
from quarterdeck.traffic.window import WindowRows, merge_windows, most_rows, read_window
from quarterdeck.workspace import Workspace

WHOLE_VALUES = 5_000_000
"""So many recorded values are held, and judged one by one; to judge a fifth more takes 1 GB."""
OF_A_ROW = 10
"""Values that a row's id, times and answer take the room of."""
SAMPLE_VALUES, SAMPLE_ROWS = 2_000_000, 50_000
"""Where there are more: at most so many of both."""
USUAL_FEATURES = 30
"""Where no version is registered that says how many there are."""


def read_span(
    workspace: Workspace,
    monitor: Monitor,
    span: Span,
    like: ModelVersion | None,
    *,
    version: int | None = None,
    labelled: bool = False,
    sketched: bool = False,
) -> WindowRows:
    """The predictions of a span that the monitor watches, of one version or of all: see `read_spans`."""
    return read_spans(workspace, monitor, [span], like, version=version, labelled=labelled, sketched=sketched)


def read_spans(
    workspace: Workspace,
    monitor: Monitor,
    spans: Sequence[Span],
    like: ModelVersion | None,
    *,
    version: int | None = None,
    labelled: bool = False,
    sketched: bool = False,
) -> WindowRows:
    """The predictions of the spans that the monitor watches, of one version or of all, oldest first.

    Where they have more values than can be held, a sample of at most 50,000, in equal parts of each version: with
    `labelled` of those that have a label, with `sketched` beside sketches of the watched features. `like` is a version
    of the deployment: all of them take the same features in the same order.

    Raises:
        SettingsError: a watched column is no feature of the version, or is not recorded.
    """
    name = monitor.settings.deployment
    times = [(span.start, span.end) for span in spans]
    features = USUAL_FEATURES if like is None else len(Signature.from_dict(like.signature).features)
    of_a_row = features + OF_A_ROW
    if sum(most_rows(workspace, name, *one, version=version) for one in times) * of_a_row <= WHOLE_VALUES:
        read = [read_window(workspace, name, *one, version=version).at(monitor.takes) for one in times]
        return read[0] if len(read) == 1 else merge_windows(read)
    columns = _sketched(workspace, monitor, like) if sketched and like is not None else []
    sampling = Sampling(columns, min(SAMPLE_ROWS, max(1, SAMPLE_VALUES // of_a_row)), labelled)
    return sample_window(workspace, name, times, sampling, monitor.takes, version=version)


def _sketched(workspace: Workspace, monitor: Monitor, like: ModelVersion) -> list[Sketched]:
    """The watched features."""
    watched = watched_features(monitor, like, monitor.settings.columns, _omitted(workspace, monitor))
    places = {name: place for place, name in enumerate(Signature.from_dict(like.signature).names)}
    return [Sketched(places[feature.name], feature.name, feature.kind) for feature in watched]


def load_window_reference(
    workspace: Workspace, monitor: Monitor, version: ModelVersion, window: Span
) -> Reference | None:
    """The rows that a window of a version is compared with, as `reference` of the monitor says; None if not stored.

    Raises:
        SettingsError: a watched column is no feature of the version, or is not recorded.
        ArtifactError: the rows of the training are missing or damaged.
    """
    settings = monitor.settings
    omitted = _omitted(workspace, monitor)
    if settings.reference == "training":
        return load_reference(workspace, monitor, version, omitted)
    spans = monitor.past_weeks(window)
    if settings.reference_period is not None:
        spans = [Span(*settings.reference_period)]
    features = watched_features(monitor, version, settings.columns, omitted)
    # Whoever answered, it came in.
    rows = read_spans(workspace, monitor, spans, version, sketched=True).taken_as(lambda _: version.number)
    columns = window_columns(Signature.from_dict(version.signature), rows.inputs)
    whole = (rows.whole or {}).get(version.number)
    return reference_of(version, [columns[feature.name] for feature in features], whole)


def _omitted(workspace: Workspace, monitor: Monitor) -> Sequence[str]:
    return workspace.settings.deployment(monitor.settings.deployment).omit
