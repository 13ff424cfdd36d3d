"""The errors of a window, row by row, against those on the holdout: in which slice they grew, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.database import timestamp
from quarterdeck.monitoring.costs import CostTable, Excess
from quarterdeck.monitoring.inputs import as_column, watched_features, window_columns
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.holdout import Holdout
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.truth import truth_and_score
from quarterdeck.registry.version import ModelVersion, Task
from quarterdeck.statistics.change import find_rise
from quarterdeck.statistics.distance import Floats
from quarterdeck.statistics.drift import Column
from quarterdeck.statistics.slices import Loss, SliceLoss, culprit, log_losses, slice_losses
from quarterdeck.traffic.window import WindowRows
from quarterdeck.values import plain

MOST_LEVELS = 20
"""Of one column: those with the most rows in the holdout."""
QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Cut:
    """How one column cuts rows: by its levels, or by the quarters of the holdout."""

    name: str
    levels: tuple[str, ...]
    edges: tuple[float, ...]

    def members(self, column: Column) -> dict[str, NDArray[np.bool_]]:
        """The rows of each slice, by its name."""
        if column.kind == "categorical":
            values = column.values
            return {
                f"{self.name}={level}": np.array([value == level for value in values], dtype=bool)
                for level in self.levels
            }
        numbers = np.asarray(column.values, dtype=np.float64)
        ends = [-np.inf, *self.edges, np.inf]
        return {self._between(low, high): (numbers >= low) & (numbers < high) for low, high in pairwise(ends)}

    def _between(self, low: float, high: float) -> str:
        if low == -np.inf:
            return f"{self.name}<{high:g}"
        return f"{self.name}>={low:g}" if high == np.inf else f"{low:g}<={self.name}<{high:g}"


@dataclass(frozen=True, slots=True)
class Errors:
    """What the errors of a window say beyond one metric: see `ErrorReference.judge`."""

    measure: Loss
    slices: list[SliceLoss]
    culprit: SliceLoss | None
    change: dict[str, Any] | None
    cost: Excess | None

    def as_row(self) -> dict[str, Any]:
        return {
            "measure": self.measure,
            "slices": [{**asdict(one), "growth": one.growth} for one in self.slices],
            "change": self.change,
            "cost": None if self.cost is None else self.cost.as_row(),
        }


class ErrorReference:
    """The errors of a version on its holdout, cut into slices: prepared once for many windows."""

    def __init__(self, monitor: Monitor, version: ModelVersion, holdout: Holdout, omitted: Sequence[str]) -> None:
        """Raises SettingsError: a slice is no feature of the version, or is not recorded."""
        self._signature = Signature.from_dict(version.signature)
        self._number = version.task is Task.REGRESSION
        self._squared = monitor.settings.metric != "mae"
        self._significance, self._tolerance = monitor.settings.significance, monitor.settings.tolerance
        shares = holdout.predictions.probabilities
        self._by_share = shares is not None
        self.measure: Loss = "error_rate"
        if self._number:
            self.measure = "squared_error" if self._squared else "absolute_error"
        elif self._by_share:
            self.measure = "log_loss"
        truth, answered = holdout.truth, self._answered(holdout)
        self._losses = self._losses_of(truth, answered, shares)
        self.costs = CostTable(monitor, self._signature) if monitor.settings.costs is not None else None
        """What wrong answers cost; None where nobody said so."""
        self.costs_before = np.empty(0) if self.costs is None else self.costs.of(truth, answered)
        """Of each row of the holdout."""
        slices = monitor.settings.slices
        named = watched_features(monitor, version, slices, omitted, "slices") if slices else []
        columns = [as_column(feature, holdout.inputs[feature.name].tolist()) for feature in named]
        self._cuts = [cut_of(feature, column) for feature, column in zip(named, columns, strict=True)]
        self._members: dict[str, NDArray[np.bool_]] = {}
        for cut, column in zip(self._cuts, columns, strict=True):
            self._members |= cut.members(column)

    def judge(self, window: WindowRows, length: timedelta, stream: WindowRows) -> Errors | None:
        """Judge the labelled rows of a window so long, and those of `stream`: it and what came before, by event time.

        None where no row of the window can be judged.
        """
        rows = self._judged(window)
        losses = self._of_rows(rows)
        if not losses.size:
            return None
        columns = window_columns(self._signature, rows.inputs)
        members: dict[str, NDArray[np.bool_]] = {}
        for cut in self._cuts:
            members |= cut.members(columns[cut.name])
        found = slice_losses(self._losses, losses, self._members, members)
        followed = self._judged(stream)
        rise = find_rise(self._losses, self._of_rows(followed))
        change = None
        # What was over before this window is not told again.
        if rise is not None and losses.mean() >= rise.before * (1 + self._tolerance):
            change = {
                "detector": rise.detector,
                "at": timestamp(followed.event_times[rise.place]),
                "before": rise.before,
                "after": rise.after,
                "now": float(losses.mean()),
            }
        cost = None
        if self.costs is not None:
            cost = self.costs.excess(self.costs_before, self.costs.of(*self._pairs(rows)), window.n, length)
        return Errors(self.measure, found, culprit(found, level=self._significance), change, cost)

    def _judged(self, rows: WindowRows) -> WindowRows:
        """The rows with a label, and where probabilities are compared those with the model's own."""
        classes = len(self._signature.classes or ())
        return rows.only(
            [
                label is not None and (not self._by_share or (shares is not None and len(shares) == classes))
                for label, shares in zip(rows.labels, rows.probabilities, strict=True)
            ]
        )

    def _of_rows(self, rows: WindowRows) -> Floats:
        truth, answered = self._pairs(rows)
        shares = np.array(rows.probabilities, dtype=np.float64) if self._by_share and rows.n else None
        return self._losses_of(truth, answered, shares)

    def _pairs(self, rows: WindowRows) -> tuple[Floats, Floats]:
        """Truth and answer of each row with a label: numbers, or positions in the signature's classes."""
        metric = "mae" if self._number else "accuracy"
        return truth_and_score(self._signature, metric, rows.labels, rows.predictions, rows.probabilities)

    def _answered(self, holdout: Holdout) -> Floats:
        values = holdout.predictions.values
        if self._number:
            return values.astype(np.float64)
        position = {plain(label): number for number, label in enumerate(self._signature.classes or ())}
        return np.array([position.get(plain(value), -1) for value in values.tolist()], dtype=np.float64)

    def _losses_of(self, truth: Floats, answered: Floats, shares: Floats | None) -> Floats:
        if self._number:
            errors = np.abs(answered - truth)
            return errors**2 if self._squared else errors
        if shares is not None:
            return log_losses(truth.astype(np.int64), shares)
        return np.asarray(truth != answered, dtype=np.float64)


def cut_of(feature: Feature, column: Column) -> Cut:
    if column.kind == "numeric":
        numbers = np.asarray(column.values, dtype=np.float64)
        known = numbers[np.isfinite(numbers)]
        edges = np.unique(np.quantile(known, QUARTERS)).tolist() if known.size else []
        return Cut(feature.name, (), tuple(edges))
    values, counts = np.unique([value for value in column.values if value is not None], return_counts=True)
    common = values[np.argsort(-counts, kind="stable")][:MOST_LEVELS]
    return Cut(feature.name, tuple(sorted(str(value) for value in common)), ())
