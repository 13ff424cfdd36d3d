"""Labels and predictions as the two arrays that a metric compares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Task
from quarterdeck.values import plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def default_metric(task: Task, signature: Signature) -> str:
    """The metric that says how good a model of this kind is, where nobody chose another."""
    if task is Task.REGRESSION:
        return "rmse"
    return "roc_auc" if signature.positive is not None else "f1"


def truth_and_score(
    signature: Signature,
    metric: str,
    labels: Sequence[Any],
    predictions: Sequence[Any],
    probabilities: Sequence[Sequence[float] | None],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `statistics.quality` takes for `metric`: truth and score, both (n,); rows without a label are left out.

    For ranking metrics and log loss the truth is 1 for the positive class and the score its probability (the
    prediction itself where no probabilities were given). For labels both are positions in the signature's classes,
    -1 for one that it does not know. For numbers both are the numbers.
    """
    import numpy as np

    from quarterdeck.statistics.quality import METRICS

    rows = [i for i, label in enumerate(labels) if label is not None]
    needs = METRICS[metric].needs
    if needs == "number":
        return (
            np.array([float(labels[i]) for i in rows], dtype=np.float64),
            np.array([float(predictions[i]) for i in rows], dtype=np.float64),
        )
    if needs == "label":
        position = {plain(name): number for number, name in enumerate(signature.classes or ())}
        return (
            np.array([position.get(plain(labels[i]), -1) for i in rows], dtype=np.float64),
            np.array([position.get(plain(predictions[i]), -1) for i in rows], dtype=np.float64),
        )
    positive = plain(signature.positive)
    truth = np.array([plain(labels[i]) == positive for i in rows], dtype=np.float64)
    scores = []
    for i in rows:
        row = probabilities[i]
        scores.append(row[1] if row is not None else float(plain(predictions[i]) == positive))
    return truth, np.array(scores, dtype=np.float64)
