"""Shapley values of one answer, by the library shap, which is an extra."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

ORDERS = 10
"""How many random orders of the features are walked, each forwards and backwards."""


def shapley_values(
    ask: Callable[[pd.DataFrame], NDArray[np.float64]], base: pd.DataFrame, drawn: pd.DataFrame, *, seed: int
) -> list[float]:
    """For each feature its interventional Shapley value in the answer to the rows of `base`, which are all the same.

    Raises:
        UsageError: shap is not installed.
    """
    import numpy as np

    try:
        from shap import PermutationExplainer
        from shap.maskers import Independent
    except ImportError as error:
        raise UsageError(
            "The library shap is not installed. `pip install 'quarterdeck[shap]'` adds it, or use --method permutation."
        ) from error
    # shap masks arrays of numbers only: it gets positions instead of values, 0 for the row's own value and i for that
    # of the i-th drawn row. So text and missing values pass unchanged.
    names = list(base.columns)
    rows = len(drawn)
    positions = np.repeat(np.arange(1, rows + 1, dtype=np.float64)[:, None], len(names), axis=1)
    pools = {name: _pool(base[name], drawn[name]) for name in names}

    def answer(mixed: NDArray[Any]) -> NDArray[np.float64]:
        columns = np.asarray(mixed).astype(int)
        return ask(_frame({name: pools[name].take(columns[:, i]) for i, name in enumerate(names)}))

    explainer = PermutationExplainer(answer, Independent(positions, max_samples=rows), seed=seed)
    own = np.zeros((1, len(names)))
    found = explainer(own, max_evals=ORDERS * (2 * len(names) + 1), silent=True)
    return [float(value) for value in found.values[0]]


def _pool(own: pd.Series[Any], drawn: pd.Series[Any]) -> pd.Series[Any]:
    """The row's own value, then those of the drawn rows."""
    import pandas as pd

    return pd.concat([own.iloc[:1], drawn], ignore_index=True)


def _frame(columns: dict[str, pd.Series[Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: column.reset_index(drop=True) for name, column in columns.items()})
