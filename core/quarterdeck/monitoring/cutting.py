"""Rows cut into slices by features: the levels of a text, the quarters of a number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.monitoring.inputs import as_column, watched_features
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.holdout import Holdout
from quarterdeck.registry.signature import Feature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.statistics.drift import Column

Members = dict[str, NDArray[np.bool_]]
"""For each slice, by its name, which rows are in it."""
MOST_LEVELS = 20
"""Of one column: those with the most rows in the holdout."""
QUARTERS = (0.25, 0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Cut:
    """How one column cuts rows: by its levels, or by the quarters of the holdout."""

    name: str
    levels: tuple[str, ...]
    edges: tuple[float, ...]

    def members(self, column: Column) -> Members:
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


class Cuts:
    """How the holdout of a version is cut, by several of its features: once for many windows."""

    def __init__(
        self,
        monitor: Monitor,
        version: ModelVersion,
        holdout: Holdout,
        names: Sequence[str],
        omitted: Sequence[str],
        setting: str,
    ) -> None:
        """`setting` is the key under [monitors.NAME] that names the features; no name is no cut.

        Raises:
            SettingsError: one of them is no feature of the version, or is not recorded.
        """
        named = watched_features(monitor, version, names, omitted, setting) if names else []
        columns = {feature.name: as_column(feature, holdout.inputs[feature.name].tolist()) for feature in named}
        self._cuts = [_cut_of(feature, columns[feature.name]) for feature in named]
        self.before = self.of(columns)
        """The rows of the holdout."""
        self.levels_before = self.levels(columns)
        """Their levels."""

    def __bool__(self) -> bool:
        return bool(self._cuts)

    def of(self, columns: Mapping[str, Column]) -> Members:
        """The rows of a window, given as its columns by name."""
        return {name: rows for _, members in self.by_feature(columns) for name, rows in members.items()}

    def by_feature(self, columns: Mapping[str, Column]) -> Iterator[tuple[str, Members]]:
        """The same, one feature after the other."""
        for cut in self._cuts:
            yield cut.name, cut.members(columns[cut.name])

    def levels(self, columns: Mapping[str, Column]) -> dict[str, NDArray[Any]]:
        """For each feature the name of each row's slice, None where it is in none."""
        found = {}
        for feature, members in self.by_feature(columns):
            names = np.full(len(columns[feature].values), None, dtype=object)
            for name, rows in members.items():
                names[rows] = name
            found[feature] = names
        return found


def _cut_of(feature: Feature, column: Column) -> Cut:
    if column.kind == "numeric":
        numbers = np.asarray(column.values, dtype=np.float64)
        known = numbers[np.isfinite(numbers)]
        edges = np.unique(np.quantile(known, QUARTERS)).tolist() if known.size else []
        return Cut(feature.name, (), tuple(edges))
    values, counts = np.unique([value for value in column.values if value is not None], return_counts=True)
    common = values[np.argsort(-counts, kind="stable")][:MOST_LEVELS]
    return Cut(feature.name, tuple(sorted(str(value) for value in common)), ())
