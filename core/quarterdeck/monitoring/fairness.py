"""How differently the answers of a window treat groups of rows: the bounds that the settings name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from quarterdeck.monitoring.cutting import Cuts
from quarterdeck.monitoring.inputs import window_columns
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.holdout import Holdout
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.settings.monitoring import FairnessSettings
from quarterdeck.statistics.fairness import disparity
from quarterdeck.traffic.window import WindowRows
from quarterdeck.values import plain

WITHOUT_LABELS = "demographic_parity_difference"
GRAVE = 2.0
"""So many times the bound pages; less warns."""


class FairnessWatch:
    """The groups of a version's rows, cut once by the holdout for many windows."""

    def __init__(
        self,
        monitor: Monitor,
        version: ModelVersion,
        holdout: Holdout,
        settings: FairnessSettings,
        omitted: Sequence[str],
    ) -> None:
        """Raises SettingsError: a column is no feature of the version, or is not recorded."""
        self._settings, self._monitor = settings, monitor.settings
        self._signature = Signature.from_dict(version.signature)
        self._cuts = Cuts(monitor, version, holdout, settings.columns, omitted, "fairness.columns")
        self.needs_labels = settings.measure != WITHOUT_LABELS

    def judge(self, rows: WindowRows) -> list[dict[str, Any]]:
        """One row for each column: the groups furthest apart, and whether they are by the bound or more.

        *Inconclusive* where fewer than two groups have 30 rows. Empty for a model that does not answer two classes.
        """
        positive = plain(self._signature.positive)
        if self._signature.positive is None:
            return []
        if self.needs_labels:
            rows = rows.only([label is not None for label in rows.labels])
        selected = np.array([plain(answer) == positive for answer in rows.predictions], dtype=bool)
        truth = np.array([plain(label) == positive for label in rows.labels], dtype=bool) if self.needs_labels else None
        found = []
        for name, members in self._cuts.by_feature(window_columns(self._signature, rows.inputs)):
            apart = disparity(self._settings.measure, selected, members, truth)
            beyond = apart is not None and apart.difference >= self._settings.bound
            certain = apart is not None and apart.p_value < self._monitor.significance
            grave = apart is not None and apart.difference >= GRAVE * self._settings.bound
            found.append(
                {
                    "column": name,
                    "measure": self._settings.measure,
                    "bound": self._settings.bound,
                    **({} if apart is None else asdict(apart)),
                    "verdict": "inconclusive" if apart is None else "drifted" if beyond and certain else "quiet",
                    "severity": self._monitor.page if grave else self._monitor.warning,
                }
            )
        return found
