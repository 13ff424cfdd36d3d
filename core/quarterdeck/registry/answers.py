"""What a model answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Predictions:
    """Answers in the order of the rows."""

    values: NDArray[Any]
    """(n,): the predicted class or number."""
    probabilities: NDArray[np.float64] | None
    """(n, classes), in the order of the signature's classes; None for regressors and where not known."""
