"""The losses that are to be expected of rows without labels, by slice, against those of the holdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.monitoring.cutting import Cuts
from quarterdeck.monitoring.errors import Errors
from quarterdeck.monitoring.inputs import as_column, window_columns
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.holdout import Holdout
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.statistics.distance import Floats
from quarterdeck.statistics.estimation import Calibration
from quarterdeck.statistics.loss import LossModel
from quarterdeck.statistics.slices import Loss, culprit, expected_log_losses, expected_slice_losses, grown
from quarterdeck.traffic.window import WindowRows

LEARNT_ROWS = 2_000
"""Of the holdout, at most."""
WAYS = 20
"""How often the calibration is learnt anew, to see how much it may be off."""


class ExpectedErrors:
    """What calibrated probabilities, or a model of the losses, expect of each row: prepared once for many windows."""

    def __init__(
        self,
        monitor: Monitor,
        signature: Signature,
        holdout: Holdout,
        cuts: Cuts,
        model: Calibration | LossModel,
        features: Sequence[Feature],
    ) -> None:
        """`features` are those that `model` has learnt from, if it is one of losses."""
        self._monitor, self._signature, self._cuts, self._features = monitor, signature, cuts, features
        self._model = model
        kept = np.sort(np.random.default_rng(0).permutation(len(holdout.truth))[:LEARNT_ROWS])
        self._members = {name: rows[kept] for name, rows in cuts.before.items()}
        answers = holdout.predictions
        self._shares = np.empty((0, 0)) if answers.probabilities is None else answers.probabilities[kept]
        self._before = np.empty((0, 0))
        if isinstance(model, LossModel):
            inputs = [as_column(one, holdout.inputs[one.name].iloc[kept].tolist()).values for one in features]
            self._before = model.expected(inputs, answers.values[kept].astype(np.float64))

    def judge(self, rows: WindowRows) -> Errors | None:
        """The slices of a window, each with what its rows are expected to lose; None where that cannot be told."""
        if isinstance(self._model, LossModel):
            before, after = self._before, self._model.expected(self._inputs(rows), np.array(rows.predictions, float))
            measure: Loss = "absolute_error" if self._model.metric == "mae" else "squared_error"
        else:
            # What a fallback answered has no probabilities, and is no answer of this version.
            rows = rows.only([bool(shares) for shares in rows.probabilities])
            before, after = self._log_losses(self._model, np.array(rows.probabilities, dtype=np.float64))
            measure = "log_loss"
        if len(before) < 2 or not after.size:
            return None
        members = self._cuts.of(window_columns(self._signature, rows.inputs))
        found = expected_slice_losses(before, after, self._members, members)
        level = self._monitor.settings.significance
        worse = grown(found, level=level, by=self._monitor.settings.tolerance)
        return Errors(measure, found, worse, culprit(found, level=level), change=None, cost=None)

    def _inputs(self, rows: WindowRows) -> list[NDArray[Any]]:
        columns = window_columns(self._signature, rows.inputs)
        return [columns[one.name].values for one in self._features]

    def _log_losses(self, calibration: Calibration, shares: Floats) -> tuple[Floats, Floats]:
        """Of the holdout and of the window, by every way to learn the calibration, the same for both."""
        if shares.ndim != 2 or shares.shape[1] != calibration.classes:
            return np.empty((0, 0)), np.empty((0, 0))
        both = np.vstack([self._shares, shares])
        drawn = calibration.drawn(both, WAYS, np.random.default_rng(0))
        losses = np.stack([expected_log_losses(likely, both) for likely in drawn])
        return losses[:, : len(self._shares)], losses[:, len(self._shares) :]
