"""The loss of a regression without labels: a second model has learnt how wrong the first one is, and where.

Direct loss estimation (DLE; NannyML 2022, "Direct Loss Estimation: estimating performance of regression models without
ground truth"): the loss of each row is predicted from the inputs and the answer. As every estimate from inputs it is
blind to a change of what inputs mean, and to regions that it never saw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.statistics.distance import Floats
from quarterdeck.statistics.estimation import CELLS, Estimate
from quarterdeck.statistics.threads import one_thread

ESTIMATED = ("mae", "rmse")
FOLDS = 5
LEAST_ROWS = 100
"""Below so many rows there is nothing to learn: the loss is the same everywhere."""
MOST_LEVELS = 254
"""Of one column; the learner has room for 255. The rarer ones count as missing."""


class LossModel:
    """How large a regression's losses are, by its inputs and its answer."""

    def __init__(
        self, metric: str, columns: list[NDArray[Any]], truth: Floats, predictions: Floats, *, seed: int = 0
    ) -> None:
        """Learn it from m rows: `columns` are (m,) each, numbers with NaN or objects with None for a missing value.

        Gradient boosting in five folds: what a fold's model says of rows that it did not learn from shows how far the
        losses scatter around what is expected.

        Raises:
            ValueError: no such metric, or no rows.
        """
        if metric not in ESTIMATED:
            raise ValueError(f"'{metric}' cannot be estimated; {', '.join(ESTIMATED)} can.")
        if not truth.size:
            raise ValueError("There are no rows to learn from.")
        self.metric = metric
        errors = np.asarray(predictions, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
        losses = np.abs(errors) if metric == "mae" else errors**2
        self._codes = [None if column.dtype.kind == "f" else _codes(column) for column in columns]
        table = self._table(columns, predictions)
        self._unit = float(losses.mean()) or 1.0
        self._models: list[Any] = []
        self._ratios = losses / self._unit
        if len(losses) < LEAST_ROWS or not losses.any():
            return
        expected = np.empty(losses.size)
        folds = np.random.default_rng(seed).permutation(losses.size) % FOLDS
        with one_thread():
            for fold in range(FOLDS):
                learner = _learner([code is not None for code in self._codes], seed)
                learner.fit(table[folds != fold], losses[folds != fold] / self._unit)
                expected[folds == fold] = self._of(learner, table[folds == fold])
                self._models.append(learner)
        scatter = self._ratios / expected
        # What is expected has to be right on average, over all that is known.
        self._ratios = scatter * (self._ratios.sum() / expected.sum() / scatter.mean())

    def estimate(
        self,
        columns: list[NDArray[Any]],
        predictions: Floats,
        *,
        confidence: float = 0.95,
        draws: int = 400,
        seed: int = 0,
    ) -> Estimate:
        """Estimate the metric of n rows, given as for learning.

        The value is the mean of the folds' models. The band is the central `confidence` of `draws` draws: each takes
        one fold's model, its level learnt anew on resampled rows, and for every row a loss that scatters around what is
        expected of it as the losses of the rows it was learnt from did. NaN where there is no row.
        """
        rows = len(predictions)
        if not rows:
            return Estimate(np.nan, np.nan, np.nan)
        expected = self._expected(columns, predictions)
        rng = np.random.default_rng(seed)
        value = float(expected.mean()) * float(self._ratios.mean())
        mean = float(self._ratios.mean())
        unsure = float(self._ratios.std()) / mean / np.sqrt(self._ratios.size) if mean else 0.0
        figures = np.empty(draws)
        at_once = max(1, CELLS // rows)
        for start in range(0, draws, at_once):
            some = min(at_once, draws - start)
            scatter = self._ratios[rng.integers(0, self._ratios.size, (some, rows))]
            # What the scatter's own mean does not know, from as many rows as it was learnt from.
            level = rng.normal(1.0, unsure, some)
            chosen = expected[rng.integers(0, len(expected), some)]
            figures[start : start + some] = (chosen * scatter).mean(axis=1) * level.clip(min=0.0)
        low, high = np.quantile(figures, [(1 - confidence) / 2, (1 + confidence) / 2])
        found = np.array([min(low, value), value, max(high, value)]) * self._unit
        return Estimate(*(found if self.metric == "mae" else np.sqrt(found)).tolist())

    def expected(self, columns: list[NDArray[Any]], predictions: Floats) -> Floats:
        """The losses of n rows, (folds, n), as each fold's model expects them; (1, n) where nothing was learnt."""
        return self._expected(columns, predictions) * (float(self._ratios.mean()) * self._unit)

    def _expected(self, columns: list[NDArray[Any]], predictions: Floats) -> Floats:
        table = self._table(columns, np.asarray(predictions, dtype=np.float64))
        with one_thread():
            return np.stack([self._of(model, table) for model in self._models] or [np.ones(len(table))])

    def _table(self, columns: list[NDArray[Any]], predictions: Floats) -> Floats:
        encoded = [
            column.astype(np.float64) if codes is None else _encoded(column, codes)
            for column, codes in zip(columns, self._codes, strict=True)
        ]
        return np.column_stack([*encoded, predictions])

    @staticmethod
    def _of(model: Any, table: Floats) -> Floats:
        return np.asarray(model.predict(table), dtype=np.float64)


def _learner(categorical: list[bool], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    # Losses are never below 0, and scatter the more the larger they are: Poisson's deviance has that.
    return HistGradientBoostingRegressor(
        loss="poisson",
        max_iter=100,
        learning_rate=0.05,
        min_samples_leaf=30,
        categorical_features=[*categorical, False],
        random_state=seed,
    )


def _codes(column: NDArray[Any]) -> dict[str, float]:
    values, counts = np.unique([str(value) for value in column if value is not None], return_counts=True)
    kept = sorted(values[np.argsort(-counts, kind="stable")][:MOST_LEVELS].tolist())
    return {value: float(number) for number, value in enumerate(kept)}


def _encoded(column: NDArray[Any], codes: dict[str, float]) -> Floats:
    return np.array([np.nan if value is None else codes.get(str(value), np.nan) for value in column], dtype=np.float64)
