"""What the holdout of a version says of a window before its labels come: its quality, and whether its answers moved."""

from __future__ import annotations

import math
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.monitoring.answers import AnswerReference
from quarterdeck.monitoring.cutting import Cuts
from quarterdeck.monitoring.errors import ErrorReference
from quarterdeck.monitoring.expected import ExpectedErrors
from quarterdeck.monitoring.fairness import FairnessWatch
from quarterdeck.monitoring.inputs import as_column, window_columns
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.monitoring.quality import loss_of, of_errors
from quarterdeck.registry.holdout import Holdout, load_holdout
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.truth import default_metric
from quarterdeck.registry.version import ModelVersion, Task
from quarterdeck.statistics import estimation, loss
from quarterdeck.statistics.quality import METRICS
from quarterdeck.traffic.window import WindowRows
from quarterdeck.values import plain
from quarterdeck.workspace import Workspace

LEARNT_ROWS = 20_000
"""Of the holdout, at most: more rows no longer narrow the band."""


class Expectation:
    """What the holdout of a version says of its answers: learnt once for many windows."""

    def __init__(self, workspace: Workspace, monitor: Monitor, version: ModelVersion) -> None:
        """Raises ArtifactError, SettingsError: the holdout is missing or damaged; a slice is no recorded feature."""
        self.version = version
        self.signature = Signature.from_dict(version.signature)
        self.metric = monitor.settings.metric or default_metric(version.task, self.signature)
        holdout = load_holdout(workspace, version)
        self.rows = 0
        """Of the holdout, that it has learnt from."""
        self._calibration: estimation.Calibration | None = None
        self._losses: loss.LossModel | None = None
        self._slices: ExpectedErrors | None = None
        self.answers: AnswerReference | None = None
        """What it answered; None without a holdout."""
        # A value that is not recorded cannot be learnt from.
        omitted = workspace.settings.deployment(monitor.settings.deployment).omit
        self._kept = [feature for feature in self.signature.features if feature.name not in omitted]
        self.errors: ErrorReference | None = None
        """Where and since when its errors grew; None without a holdout."""
        self.fairness: FairnessWatch | None = None
        """Where the settings bound how differently groups are treated."""
        if holdout is not None:
            self.rows = min(len(holdout.truth), LEARNT_ROWS)
            known = holdout.sampled(LEARNT_ROWS, np.random.default_rng(0))
            cuts = Cuts(monitor, version, known, monitor.settings.slices, omitted, "slices")
            model = self._learn(known)
            if cuts and model is not None:
                self._slices = ExpectedErrors(monitor, self.signature, known, cuts, model, self._kept)
            self.answers = AnswerReference(version, known.predictions, cuts)
            self.errors = ErrorReference(monitor, version, known, cuts)
            if monitor.settings.fairness is not None:
                self.fairness = FairnessWatch(monitor, version, known, monitor.settings.fairness, omitted)

    def _learn(self, holdout: Holdout) -> estimation.Calibration | loss.LossModel | None:
        """What tells of a window without labels; None where nothing does."""
        values, shares = holdout.predictions.values, holdout.predictions.probabilities
        if self.version.task is Task.REGRESSION:
            if self.metric in loss.ESTIMATED:
                inputs = [as_column(one, holdout.inputs[one.name].tolist()).values for one in self._kept]
                self._losses = loss.LossModel(self.metric, inputs, holdout.truth, values.astype(np.float64))
            return self._losses
        by_label = METRICS[self.metric].needs == "label"
        known = holdout.truth >= 0
        if shares is None or not known.any() or self.metric not in estimation.ESTIMATED:
            return None
        if by_label or shares.shape[1] == 2:
            self._calibration = estimation.Calibration(holdout.truth[known], shares[known])
        return self._calibration

    def quality(self, monitor: Monitor, rows: WindowRows, length: timedelta) -> dict[str, Any] | None:
        """Estimated quality of a window so long; None where nothing can be estimated.

        As `monitoring.quality.judge_quality` for the realised one, with the band in place of the interval, and how it
        was made: `cbpe` or `dle`. *Inconclusive* with fewer rows than the monitor's minimum. The slices are those of
        `ExpectedErrors`.
        """
        found = self._estimate(rows)
        baseline = self.version.metrics.get(self.metric)
        if found is None or math.isnan(found.value) or baseline is None:
            return None
        settings = monitor.settings
        greater = METRICS[self.metric].greater_is_better
        worse = loss_of(baseline, found.value, greater_is_better=greater)
        outside = found.high < baseline if greater else found.low > baseline
        verdict = "worse" if worse >= settings.tolerance and outside else "quiet"
        row = {
            "metric": self.metric,
            "how": "cbpe" if self._losses is None else "dle",
            "baseline": baseline,
            **asdict(found),
            "loss": worse,
            "severity": worse,
            "verdict": verdict if rows.n >= settings.minimum_rows else "inconclusive",
        }
        errors = None if self._slices is None else self._slices.judge(rows)
        if errors is not None:
            row = {**row, **errors.as_row(), **of_errors(settings, row, errors)}
        return {**row, "cost": self._cost(rows, length)}

    def _estimate(self, rows: WindowRows) -> estimation.Estimate | None:
        if self._losses is not None:
            columns = window_columns(self.signature, rows.inputs)
            inputs: list[NDArray[Any]] = [columns[one.name].values for one in self._kept]
            return self._losses.estimate(inputs, np.array(rows.predictions, dtype=np.float64))
        given = self._given(rows)
        if self._calibration is None or given is None:
            return None
        return estimation.estimate(self.metric, self._calibration, *given)

    def _cost(self, rows: WindowRows, length: timedelta) -> dict[str, Any] | None:
        """What the answers to classes are expected to cost; None where nobody said what they do."""
        given = self._given(rows)
        if self.errors is None or self.errors.costs is None or self._calibration is None or given is None:
            return None
        shares, predicted = given
        now = self.errors.costs.expected(self._calibration.calibrated(shares), np.array(predicted))
        found = self.errors.costs.excess(self.errors.costs_before, now, rows.n, length)
        return None if found is None else found.as_row()

    def _given(self, rows: WindowRows) -> tuple[NDArray[np.float64], list[int]] | None:
        """The probabilities that were given, and the positions of the answers; None where none can be learnt from."""
        if self._calibration is None:
            return None
        # What a fallback answered has no probabilities, and is no answer of this version.
        given = [(shares, label) for shares, label in zip(rows.probabilities, rows.predictions, strict=True) if shares]
        if not given or any(len(shares) != self._calibration.classes for shares, _ in given):
            return None
        position = {plain(label): number for number, label in enumerate(self.signature.classes or ())}
        predicted = [position.get(plain(label), -1) for _, label in given]
        shares = np.array([shares for shares, _ in given], dtype=np.float64)
        return shares, predicted
