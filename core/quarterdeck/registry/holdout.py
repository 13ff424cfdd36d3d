"""The holdout of a version as its model answered it: what quality without labels is estimated from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

STORED_ROWS = 50_000
# Names that no column of a table is likely to have: the features stand beside them.
_TRUTH, _PREDICTION, _SHARE = "quarterdeck.truth", "quarterdeck.prediction", "quarterdeck.probability."


@dataclass(frozen=True, slots=True)
class Holdout:
    """Rows that training never saw, n of them, with their truth and the model's answers."""

    inputs: pd.DataFrame
    """The features, as `registry.inputs.as_inputs` has them."""
    truth: NDArray[np.float64]
    """(n,): numbers, or positions in the signature's classes, -1 for one that the model does not know."""
    predictions: Predictions

    def sampled(self, rows: int, rng: np.random.Generator) -> Holdout:
        """At most so many rows of it, drawn without replacement."""
        if len(self.truth) <= rows:
            return self
        import numpy as np

        kept = np.sort(rng.permutation(len(self.truth))[:rows])
        shares = self.predictions.probabilities
        answers = Predictions(self.predictions.values[kept], None if shares is None else shares[kept])
        return Holdout(self.inputs.iloc[kept].reset_index(drop=True), self.truth[kept], answers)


def store_holdout(workspace: Workspace, holdout: Holdout, *, seed: int = 0) -> str:
    """Store at most 50,000 rows of it as Parquet; returns the digest."""
    import numpy as np

    from quarterdeck.datasets.frames import store_frame

    kept = holdout.sampled(STORED_ROWS, np.random.default_rng(seed))
    frame = kept.inputs.copy(deep=False)
    frame[_TRUTH] = kept.truth
    frame[_PREDICTION] = kept.predictions.values
    if kept.predictions.probabilities is not None:
        for number, share in enumerate(kept.predictions.probabilities.T):
            frame[f"{_SHARE}{number}"] = share
    return store_frame(workspace, frame)


def load_holdout(workspace: Workspace, version: ModelVersion) -> Holdout | None:
    """The holdout of a version; None where it was registered without one.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    if version.holdout is None:
        return None
    import numpy as np

    from quarterdeck.datasets.frames import read_frame

    frame = read_frame(workspace, version.holdout)
    shares = [column for column in frame.columns if str(column).startswith(_SHARE)]
    probabilities = frame[shares].to_numpy(dtype=np.float64) if shares else None
    return Holdout(
        frame[list(Signature.from_dict(version.signature).names)],
        frame[_TRUTH].to_numpy(dtype=np.float64),
        Predictions(frame[_PREDICTION].to_numpy(), probabilities),
    )
