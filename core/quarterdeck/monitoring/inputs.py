"""The columns of a window against the rows that a version was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any
from zlib import crc32

from quarterdeck.datasets.frames import read_frame
from quarterdeck.errors import SettingsError
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.statistics.column import of_values
from quarterdeck.statistics.drift import Column, ColumnScore, PreparedColumn, Verdict, prepare, score_columns
from quarterdeck.statistics.figures import figures
from quarterdeck.statistics.localisation import localise
from quarterdeck.statistics.preset import PresetFigure, preset_figure
from quarterdeck.statistics.sketch import ColumnSketch, sketch_of
from quarterdeck.statistics.sketched import SketchedPair, score_sketches
from quarterdeck.traffic.whole import Whole
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

MAX_LEVELS = 20


@dataclass(frozen=True, slots=True)
class Reference:
    """The rows that windows are compared with, prepared once for many of them."""

    version: ModelVersion
    signature: Signature
    columns: list[Column]
    prepared: list[PreparedColumn] = field(repr=False)
    whole: Whole | None = None
    """Where the columns are a sample, what is known of all rows."""

    @property
    def rows(self) -> int:
        """How many there are, held or not."""
        return max((column.rows for column in self.prepared), default=0) if self.whole is None else self.whole.n

    @property
    def sampled(self) -> int | None:
        """How many are held, where that is a sample."""
        return None if self.whole is None else max((column.rows for column in self.prepared), default=0)


def load_reference(
    workspace: Workspace, monitor: Monitor, version: ModelVersion, omitted: Sequence[str]
) -> Reference | None:
    """What a version was trained on, its watched features only (all that are recorded when none are named).

    None if that is not stored.

    Raises:
        SettingsError: a watched column is no feature of the version, or is not recorded.
        ArtifactError: it is missing or damaged.
    """
    if version.reference is None:
        return None
    features = watched_features(monitor, version, monitor.settings.columns, omitted)
    frame = read_frame(workspace, version.reference)
    return reference_of(version, [as_column(feature, frame[feature.name].tolist()) for feature in features])


def reference_of(version: ModelVersion, columns: list[Column], whole: Whole | None = None) -> Reference:
    """What a version's windows are compared with; where the columns are a sample, with what is known of all rows."""
    return Reference(version, Signature.from_dict(version.signature), columns, prepare(columns), whole)


def watched_features(
    monitor: Monitor, version: ModelVersion, watched: Sequence[str], omitted: Sequence[str], setting: str = "columns"
) -> list[Feature]:
    """The features of a version that a monitor watches: all that are recorded when none are named.

    `setting` is the key under [monitors.NAME] that names them.

    Raises:
        SettingsError: a watched column is no feature of the version, or is not recorded.
    """
    signature = Signature.from_dict(version.signature)
    strangers = sorted(set(watched) - set(signature.names))
    if strangers:
        raise SettingsError(
            f"`{setting}` under [monitors.{monitor.name}] names {', '.join(strangers)}, which model version "
            f"{version.number} does not take. Mend it in quarterdeck.toml. The version takes: "
            f"{', '.join(signature.names)}."
        )
    unseen = sorted(set(watched) & set(omitted))
    if unseen:
        raise SettingsError(
            f"`{setting}` under [monitors.{monitor.name}] names {', '.join(unseen)}, which `omit` under "
            f"[deployments.{monitor.settings.deployment}] keeps from being recorded. Take it out of one of the two."
        )
    return [f for f in signature.features if (f.name in watched or not watched) and f.name not in omitted]


def window_columns(signature: Signature, rows: Sequence[Sequence[Any]]) -> dict[str, Column]:
    """Recorded inputs (a sequence of rows, values in the order of the features) as columns by name."""
    by_position = list(zip(*rows, strict=True)) if rows else [()] * len(signature.features)
    return {
        feature.name: as_column(feature, values)
        for feature, values in zip(signature.features, by_position, strict=True)
    }


def as_column(feature: Feature, values: Sequence[Any]) -> Column:
    """One feature's values, None or NaN for a missing one, as the statistics take them."""
    return of_values(feature.name, feature.kind, values)


def judge_inputs(
    monitor: Monitor, reference: Reference, current: dict[str, Column], whole: Whole | None = None
) -> list[dict[str, Any]]:
    """A score for each watched column, as a dictionary: a `ColumnScore`'s fields, and

    - `slice`: `column=level` where one level carries the shift, else None;
    - `importance`: the column's share in the model's quality, an equal share where that is not known;
    - `severity`: effect times importance; `missing_severity` and `unseen_severity`: the same for these shares;
    - `figures`: a `Figures`' fields, what people know from elsewhere; None where there is no value;
    - `preset`: a `PresetFigure`'s fields, what Evidently's preset says; None where there is no value. With
      `rule = "evidently"` that is the verdict;
    - `error`, only where a side is a sample, beside what is known of all its rows: by how much the effect, which is of
      all rows, may be off. Slice, figures and preset are of the sample then;
    - `sampled_reference`, only where the reference is a sample: how many rows that has.

    `whole` is what is known of all rows of the window, where `current` is a sample of them.
    """
    settings = monitor.settings
    after = prepare([current[column.name] for column in reference.columns])
    pairs = {one.name: (one, other) for one, other in zip(reference.prepared, after, strict=True)}
    known = reference.version.importances
    equal = 1 / max(len(reference.signature.features), 1)
    marks = {} if reference.sampled is None else {"sampled_reference": reference.sampled}
    rows = []
    for score, error in _scores(settings, reference, current, after, whole):
        figure, told = preset_figure(*pairs[score.column]), figures(*pairs[score.column])
        if settings.rule == "evidently":
            score = replace(score, verdict=_of_preset(figure))
        importance = known.get(score.column, 0.0) if known else equal
        rows.append(
            {
                **asdict(score),
                **({} if error is None else {"error": error}),
                **marks,
                "preset": None if figure is None else asdict(figure),
                "figures": None if told is None else asdict(told),
                "slice": _slice(monitor, reference, current, score) if score.verdict == "drifted" else None,
                "importance": importance,
                "severity": score.effect * importance,
                "missing_severity": score.missing_effect * importance,
                "unseen_severity": score.unseen * importance,
            }
        )
    return rows


def _scores(
    settings: MonitorSettings,
    reference: Reference,
    current: dict[str, Column],
    after: list[PreparedColumn],
    whole: Whole | None,
) -> list[tuple[ColumnScore, float | None]]:
    """The score of each column, and by how much its effect may be off; None where every value was held."""
    limits: dict[str, Any] = {
        "threshold": settings.threshold,
        "q": settings.significance,
        "minimum_rows": settings.minimum_rows,
        "unseen": settings.unseen,
    }
    if reference.whole is None and whole is None:
        return [(score, None) for score in score_columns(reference.prepared, after, **limits)]
    pairs = [
        SketchedPair(column.name, _sketch(column, reference.whole, 0), _sketch(current[column.name], whole, 1))
        for column in reference.columns
    ]
    return [(one.score, one.error) for one in score_sketches(pairs, **limits)]


def _sketch(column: Column, whole: Whole | None, side: int) -> ColumnSketch:
    if whole is not None:
        return whole.inputs[column.name]
    return sketch_of(column, (side, crc32(column.name.encode())))


def _of_preset(figure: PresetFigure | None) -> Verdict:
    """Evidently's verdict: it knows no window that is too small, only one without a value, on which it fails."""
    if figure is None:
        return "inconclusive"
    return "drifted" if figure.drifted else "quiet"


def _slice(monitor: Monitor, reference: Reference, current: dict[str, Column], score: ColumnScore) -> str | None:
    values = {column.name: column for column in reference.columns}
    levels = [
        name
        for name, column in values.items()
        if column.kind == "categorical" and len({v for v in column.values if v is not None}) <= MAX_LEVELS
    ]
    found = localise(
        values[score.column],
        current[score.column],
        {name: values[name].values for name in levels},
        {name: current[name].values for name in levels},
        threshold=monitor.settings.threshold,
        q=monitor.settings.significance,
        max_levels=MAX_LEVELS,
    )
    return f"{found.column}={found.level}" if found else None


def frame_of(columns: Sequence[Column]) -> pd.DataFrame:
    """Columns as a frame, for reports."""
    import pandas as pd

    return pd.DataFrame({column.name: column.values for column in columns})
