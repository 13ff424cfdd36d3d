"""Training-serving skew: what was served, and what the data for training says of the same rows, by their keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sqlmodel import Session, col, select

from quarterdeck.datasets.frames import find_dataset_version
from quarterdeck.datasets.version import DatasetVersion
from quarterdeck.errors import NotFoundError, SettingsError
from quarterdeck.events import Event
from quarterdeck.monitoring.inputs import as_column, watched_features, window_columns
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.settings.monitoring import SkewSettings
from quarterdeck.statistics.drift import Column
from quarterdeck.traffic.window import WindowRows
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

COMPARED = "skew.compared"
CONFIDENCE = 0.95


class StoredRows:
    """The newest version of a dataset, of which rows are looked up by their key."""

    def __init__(self, workspace: Workspace, monitor: Monitor, settings: SkewSettings, version: DatasetVersion) -> None:
        """Raises SettingsError: the dataset has no key, or does not have that column."""
        self.version = version
        self._workspace = workspace
        known = workspace.settings.datasets.get(settings.dataset)
        self._names = [column["name"] for column in version.columns]
        self._key = None if known is None else known.key
        if self._key is None:
            raise SettingsError(
                f"[monitors.{monitor.name}.skew] compares with dataset '{settings.dataset}', whose key is not named. "
                f'Say which column has the keys that predictions come with: [datasets.{settings.dataset}] key = "...".'
            )
        if self._key not in self._names:
            raise SettingsError(
                f"[monitors.{monitor.name}.skew] looks for `{self._key}` in version {version.number} of dataset "
                f"'{settings.dataset}', which has no such column. Mend key under [datasets.{settings.dataset}]. "
                f"It has: {', '.join(self._names)}."
            )

    def of(self, keys: Sequence[str | None], features: Sequence[Feature]) -> pd.DataFrame:
        """The rows with one of these keys, by key: of several with one key the last. Features that it has not are left
        out.

        Raises:
            ArtifactError: the table is missing or damaged.
        """
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        path = self._workspace.artifacts.path(self.version.artifact)
        stored = pq.read_table(path, columns=[self._key])[self._key]
        if pa.types.is_floating(stored.type):  # Whole numbers, some of which are missing.
            stored = stored.cast(pa.int64(), safe=False)
        texts = stored.cast(pa.string())
        wanted = pc.is_in(texts, value_set=pa.array(sorted({key for key in keys if key is not None}), pa.string()))
        names = [one.name for one in features if one.name in self._names]
        frame: pd.DataFrame = pq.read_table(path, columns=names).filter(wanted).to_pandas()
        frame.index = texts.filter(wanted).to_pandas()
        return frame[~frame.index.duplicated(keep="last")]


def newest_rows(workspace: Workspace, monitor: Monitor, settings: SkewSettings) -> StoredRows:
    """The newest version of the dataset that a monitor compares with.

    Raises:
        SettingsError: there is no such dataset, or none whose rows can be told by a key.
    """
    with workspace.state.read() as tx:
        try:
            version = find_dataset_version(tx, settings.dataset)
        except NotFoundError as error:
            raise SettingsError(
                f"[monitors.{monitor.name}.skew] compares with dataset '{settings.dataset}': {error}"
            ) from error
    return StoredRows(workspace, monitor, settings, version)


def is_compared(tx: Session, monitor: Monitor, rows: StoredRows) -> bool:
    """Whether the windows that were judged by then were compared with that version."""
    mine = select(Event).where(Event.kind == COMPARED, Event.subject == f"monitor/{monitor.name}")
    newest = tx.exec(mine.order_by(col(Event.id).desc()).limit(1)).first()
    return newest is not None and newest.data["artifact"] == rows.version.artifact


def note_compared(tx: Session, workspace: Workspace, monitor: Monitor, rows: StoredRows, windows: int) -> None:
    """Note that all windows that wait were compared with that version: the next one is looked at when it comes."""
    settings = monitor.settings.skew
    assert settings is not None
    facts = {"dataset": f"{settings.dataset}:{rows.version.number}", "artifact": rows.version.artifact}
    workspace.record(tx, COMPARED, f"monitor/{monitor.name}", {**facts, "windows": windows})


def judge_skew(
    workspace: Workspace, monitor: Monitor, version: ModelVersion, rows: WindowRows, stored: StoredRows
) -> tuple[int, list[dict[str, Any]]]:
    """How many rows of a window are in the data, and one score for each column that is in both.

    `different` of `n` rows had another value, a `share`, which is at least `low` (Clopper and Pearson 1934, 95%
    one-sided); numbers differ where they lie apart by more than `tolerance` of the larger one, and a missing value
    differs from any other. *Drifted* where `low` reaches the settings' share. `example`: key, what was served and what
    is stored, of the first row that differs. The severity is the share times the column's importance.
    """
    settings = monitor.settings.skew
    assert settings is not None
    omitted = workspace.settings.deployment(monitor.settings.deployment).omit
    features = watched_features(monitor, version, monitor.settings.columns, omitted)
    found = stored.of(rows.keys, features)
    rows = rows.only([key in found.index for key in rows.keys])
    served = window_columns(Signature.from_dict(version.signature), rows.inputs)
    matched = found.loc[rows.keys]
    known, equal = version.importances, 1 / max(len(features), 1)
    scores = []
    for feature in features:
        if feature.name not in matched.columns:
            continue
        there = _stored_column(feature, matched[feature.name])
        apart = _differs(served[feature.name], there, settings.tolerance)
        count, n = int(apart.sum()), rows.n
        low = float(beta.ppf(1 - CONFIDENCE, count, n - count + 1)) if count else 0.0
        first = int(apart.argmax()) if count else None
        verdict = "drifted" if low >= settings.share else "quiet"
        scores.append(
            {
                "column": feature.name,
                "n": n,
                "different": count,
                "share": count / max(n, 1),
                "low": low,
                "example": None if first is None else _example(rows.keys[first], served[feature.name], there, first),
                "verdict": "inconclusive" if verdict == "quiet" and n < monitor.settings.minimum_rows else verdict,
                "severity": count / max(n, 1) * (known.get(feature.name, 0.0) if known else equal),
            }
        )
    return rows.n, scores


def _stored_column(feature: Feature, values: pd.Series[Any]) -> Column:
    import pandas as pd

    if feature.kind == "numeric":
        # A text where a number belongs is another value, and no error.
        values = pd.to_numeric(values, errors="coerce")
    return as_column(feature, values.tolist())


def _differs(served: Column, stored: Column, tolerance: float) -> NDArray[np.bool_]:
    one, other = served.values, stored.values
    if served.kind == "categorical":
        return np.array([a != b for a, b in zip(one, other, strict=True)], dtype=bool)
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        close = (a == b) | (np.abs(a - b) <= tolerance * np.maximum(np.abs(a), np.abs(b)))
    return np.asarray(~(close | (np.isnan(a) & np.isnan(b))))


def _example(key: str | None, served: Column, stored: Column, row: int) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        return None if value is None or value != value else str(value) if isinstance(value, str) else float(value)

    return {"key": key, "served": plain(served.values[row]), "stored": plain(stored.values[row])}
