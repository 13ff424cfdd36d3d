"""Forests that answer a few rows at once: scikit-learn hands each tree to joblib, which takes longer than the tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_ROWS = 1_000
"""With more rows than this the trees take longer than joblib does, and may share the work."""
_CLASSIFIERS = frozenset({"RandomForestClassifier", "ExtraTreesClassifier"})
_REGRESSORS = frozenset({"RandomForestRegressor", "ExtraTreesRegressor"})


def hasten(forest: Any) -> None:
    """Let a forest that was loaded from an artifact ask its trees one after the other, with the same answers.

    They are the same to the last bit: the sum over the trees is taken in their order, as `predict_proba` and `predict`
    of scikit-learn's forests do without threads. Anything but a forest with one output is left as it is.
    """
    kind = type(forest)
    if not kind.__module__.startswith("sklearn.ensemble.") or getattr(forest, "n_outputs_", 0) != 1:
        return
    if kind.__name__ in _CLASSIFIERS:
        forest.predict_proba = partial(_mean, forest, kind.predict_proba, columns=slice(forest.n_classes_))
    elif kind.__name__ in _REGRESSORS:
        forest.predict = partial(_mean, forest, kind.predict, columns=0)


def _mean(forest: Any, slowly: Any, inputs: Any, *, columns: slice | int) -> NDArray[np.float64]:
    """The mean of what the trees answer to `inputs` (n, features); `columns` of a tree's answer are what counts."""
    if len(inputs) > MOST_ROWS:
        answers: NDArray[np.float64] = slowly(forest, inputs)
        return answers
    # As its own methods begin: the checks of values and names, and the type that trees take.
    trees: Sequence[Any] = forest.estimators_
    rows = forest._validate_X_predict(inputs)
    total: NDArray[np.float64] = trees[0].tree_.predict(rows)[:, columns]
    for tree in trees[1:]:
        total += tree.tree_.predict(rows)[:, columns]
    total /= len(trees)
    return total
