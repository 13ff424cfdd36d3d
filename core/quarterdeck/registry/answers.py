"""What a model answers, and what can be asked of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers in the order of the rows."""

    values: NDArray[Any]
    """(n,): the predicted class or number."""
    probabilities: NDArray[np.float64] | None
    """(n, classes), in the order of the signature's classes; None for regressors and where not known."""


class Predictor(Protocol):
    """A model that can be asked, whatever it is and wherever it runs."""

    runtime: str
    """What computes the answers: `scikit-learn`, `onnxruntime`, `xgboost`, `lightgbm`, `process`."""

    def predict(self, frame: pd.DataFrame) -> Predictions:
        """Answer every row of `frame`, which `inputs_frame` or `as_inputs` made."""
        ...

    def predict_columns(self, columns: Mapping[str, Sequence[Any]]) -> Predictions:
        """Answer a request's rows: for each feature its plain values, which fit the signature; None is missing."""
        ...

    def close(self) -> None:
        """Give back what it holds. It is asked no more."""
        return None
