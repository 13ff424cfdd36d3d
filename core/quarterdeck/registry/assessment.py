"""How good a model is on a holdout, and which features that rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import DataError
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.holdout import Holdout
from quarterdeck.registry.inputs import as_inputs, missing_column
from quarterdeck.registry.predictor import Predictor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.truth import default_metric
from quarterdeck.registry.version import Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

IMPORTANCE_ROWS = 2_000
IMPORTANCE_REPEATS = 3


@dataclass(frozen=True, slots=True)
class Assessment:
    metrics: dict[str, float]
    """Defined metrics only: one that the holdout leaves undefined, such as roc_auc of one class, is left out."""
    importances: dict[str, float]
    """Share of each feature in the default metric, summing to 1; empty where that is undefined."""
    holdout: Holdout | None
    """The rows whose truth is known, with the answers to them; None where there are none."""


NOTHING = Assessment({}, {}, None)


def assess(
    predictor: Predictor, holdout: pd.DataFrame, signature: Signature, task: Task, *, seed: int = 0
) -> Assessment:
    """Metrics on the rows of `holdout` whose target is known, and permutation importances (Breiman 2001).

    Importances: the mean loss of the default metric over three shuffles of each feature, on at most 2,000 rows,
    clipped at 0 and normalised.

    Raises:
        DataError: the target is not there, a row's truth is no class of a binary model, or columns do not fit.
    """
    import numpy as np

    if signature.target is None or signature.target not in holdout.columns:
        raise missing_column(signature.target or "(target)", holdout.columns)
    known = holdout[holdout[signature.target].notna()]
    if known.empty:
        return NOTHING
    inputs = as_inputs(known, signature)
    truth = _encoded(known[signature.target].tolist(), signature, task)
    answers = predictor.predict(inputs)
    metrics = measure(answers, truth, signature, task)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(known))[:IMPORTANCE_ROWS])
    sample = inputs.iloc[chosen].reset_index(drop=True)
    importances = _importances(predictor, sample, truth[chosen], signature, task, rng)
    return Assessment(metrics, importances, Holdout(inputs, truth.astype(np.float64), answers))


def measure(predictions: Predictions, truth: NDArray[Any], signature: Signature, task: Task) -> dict[str, float]:
    """The defined metrics of `predictions`; `truth` (n,) holds numbers, or positions in the signature's classes."""
    from quarterdeck.statistics.quality import metric

    figures: dict[str, float] = {}
    try:
        if task is Task.REGRESSION:
            for name in ("mae", "rmse", "r2"):
                figures[name] = metric(name, truth, predictions.values)
        else:
            answered = _encoded(predictions.values.tolist(), signature, task, strict=False)
            for name in ("accuracy", "f1"):
                figures[name] = metric(name, truth, answered)
            figures |= _probability_metrics(predictions.probabilities, truth, signature)
    except ValueError as error:
        raise DataError(f"The model's answers on the holdout cannot be judged: {error}") from error
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _probability_metrics(
    probabilities: NDArray[np.float64] | None, truth: NDArray[Any], signature: Signature
) -> dict[str, float]:
    from sklearn.metrics import log_loss

    from quarterdeck.statistics.quality import metric

    classes = len(signature.classes or ())
    if probabilities is None:
        return {}
    if classes == 2:
        # Sums of float32 may pass 1 by a rounding error.
        score = probabilities[:, 1].clip(0.0, 1.0)
        return {name: metric(name, truth, score) for name in ("roc_auc", "average_precision", "log_loss")}
    if (truth < 0).any():
        return {}
    return {"log_loss": float(log_loss(truth, probabilities, labels=list(range(classes))))}


def _encoded(values: list[Any], signature: Signature, task: Task, *, strict: bool = True) -> NDArray[Any]:
    """Numbers as float64; classes as their positions, -1 for one that the model does not know."""
    import numpy as np

    if task is Task.REGRESSION:
        try:
            return np.array(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"Column '{signature.target}' is no target of a regression: {error}.") from error
    classes = signature.classes or ()
    position = {label: number for number, label in enumerate(classes)}
    encoded = np.array([position.get(value, -1) for value in values], dtype=np.int64)
    if strict and len(classes) == 2 and (encoded < 0).any():
        stranger = values[int(np.argmax(encoded < 0))]
        raise DataError(
            f"Column '{signature.target}' holds {stranger!r}, and the model knows only {classes[0]!r} and "
            f"{classes[1]!r}. Mend the label (`replace` in the dataset's settings) or train on all classes."
        )
    return encoded


def _importances(
    predictor: Predictor,
    inputs: pd.DataFrame,
    truth: NDArray[Any],
    signature: Signature,
    task: Task,
    rng: np.random.Generator,
) -> dict[str, float]:
    from quarterdeck.statistics.quality import METRICS

    def quality(frame: pd.DataFrame) -> float | None:
        metrics = measure(predictor.predict(frame), truth, signature, task)
        # A classifier without probabilities has no ranking metric.
        name = default_metric(task, signature)
        name = name if name in metrics else "f1"
        return None if name not in metrics else metrics[name] * (1 if METRICS[name].greater_is_better else -1)

    whole = quality(inputs)
    if whole is None:
        return {}
    losses: dict[str, float] = {}
    for name in signature.names:
        total = 0.0
        for _ in range(IMPORTANCE_REPEATS):
            shuffled = inputs.copy(deep=False)
            shuffled[name] = inputs[name].take(rng.permutation(len(inputs))).set_axis(inputs.index)
            total += whole - (quality(shuffled) or 0.0)
        losses[name] = max(total / IMPORTANCE_REPEATS, 0.0)
    overall = sum(losses.values())
    return {name: loss / overall for name, loss in losses.items()} if overall > 0 else {}
