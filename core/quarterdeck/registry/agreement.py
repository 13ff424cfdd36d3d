"""Whether a converted graph answers as the estimator that it was made from: only then does it serve."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import QuarterdeckError
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.inputs import as_inputs
from quarterdeck.registry.predictor import Predictor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

TOLERANCE = 1e-5
"""Bound on each probability's difference, and on each number's relative to it. A graph computes in float32."""
LEAST_ROWS = 1_000
MOST_ROWS = 5_000
PROBED_ROWS = 20
"""Rows for each feature in which it is made missing, or a category that training never saw."""
STRANGER = "\N{REPLACEMENT CHARACTER} no category of the training data"


@dataclass(frozen=True, slots=True)
class Agreement:
    """What came of the comparison. It is stored with the version and shown."""

    holdout_rows: int = 0
    other_rows: int = 0
    """Training rows, where the holdout has fewer than 1,000."""
    probes: int = 0
    """Rows in which a feature was made missing or unheard of, and both answered alike."""
    largest: float = 0.0
    """The largest difference found, absolute for probabilities and relative for numbers."""
    beyond: int = 0
    """Rows that differ by more than the tolerance."""
    labels: int = 0
    """Rows whose labels differ although their two best classes are further apart than the tolerance."""
    refuses_missing: tuple[str, ...] = ()
    """Features of which the estimator takes no missing value."""
    refuses_unseen: tuple[str, ...] = ()
    """Features of which the estimator takes no category that training has not seen."""
    left_missing: tuple[str, ...] = ()
    """Features of whose missing values the graph makes something else: such rows are left to the estimator."""
    left_unseen: tuple[str, ...] = ()
    """The same of categories that training has not seen."""
    reason: str = ""
    """Why the estimator serves itself; empty when the graph agrees."""

    @property
    def agrees(self) -> bool:
        return not self.reason


def compare(
    estimator: Predictor,
    graph: Predictor,
    holdout: pd.DataFrame | None,
    training: pd.DataFrame,
    signature: Signature,
    task: Task,
    *,
    seed: int = 0,
) -> Agreement:
    """Ask both the same at least 1,000 rows, and rows with a missing value or an unheard-of category in each feature.

    Raises:
        DataError: a frame lacks a feature, or a column does not fit it.
    """
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    known = [_sample(as_inputs(holdout, signature), MOST_ROWS, rng)] if holdout is not None else []
    held = sum(len(part) for part in known)
    if held < LEAST_ROWS:
        known.append(_sample(as_inputs(training, signature), MOST_ROWS - held, rng))
    rows = pd.concat(known, ignore_index=True)
    found = Agreement(holdout_rows=held, other_rows=len(rows) - held)
    if len(rows) < LEAST_ROWS:
        return replace(found, reason=f"{len(rows)} rows are too few to compare them: {LEAST_ROWS} at least")
    found = _judge(estimator, graph, rows, task, found)
    if found.reason:
        return found
    if found.beyond:
        reason = (
            f"{found.beyond} of {len(rows)} rows differ by more than {TOLERANCE:g} (at most by {found.largest:.2g})"
        )
        return replace(found, reason=reason)
    if found.labels:
        return replace(found, reason=f"{found.labels} of {len(rows)} rows get other labels")
    return _probe(estimator, graph, rows, signature, task, found, rng)


def _sample(frame: pd.DataFrame, rows: int, rng: np.random.Generator) -> pd.DataFrame:
    return frame if len(frame) <= rows else frame.iloc[rng.permutation(len(frame))[:rows]]


def _probe(
    estimator: Predictor,
    graph: Predictor,
    rows: pd.DataFrame,
    signature: Signature,
    task: Task,
    found: Agreement,
    rng: np.random.Generator,
) -> Agreement:
    """Ask with one feature missing or unheard of; note what the estimator refuses, and what is left to it."""
    import numpy as np

    refused: dict[str, list[str]] = {"missing": [], "unseen": []}
    left: dict[str, list[str]] = {"missing": [], "unseen": []}
    for feature in signature.features:
        strange: dict[str, Any] = {"missing": np.nan} | ({"unseen": STRANGER} if feature.type == "text" else {})
        for what, value in strange.items():
            probe = rows.iloc[rng.permutation(len(rows))[:PROBED_ROWS]].copy()
            probe[feature.name] = value if feature.kind == "numeric" else _texts(value, len(probe))
            if not _answers(estimator, probe):
                refused[what].append(feature.name)
            elif (asked := _judge(estimator, graph, probe, task, found)).beyond or asked.labels or asked.reason:
                left[what].append(feature.name)
            else:
                found = replace(asked, probes=asked.probes + len(probe))
                continue
            if what == "unseen" and feature.categories is None:
                # It could not be told which values are meant.
                return replace(found, reason=f"they differ in unseen values of {feature.name}, which has too many")
    return replace(
        found,
        refuses_missing=tuple(refused["missing"]),
        refuses_unseen=tuple(refused["unseen"]),
        left_missing=tuple(left["missing"]),
        left_unseen=tuple(left["unseen"]),
    )


def _texts(value: Any, count: int) -> NDArray[Any]:
    import numpy as np

    texts = np.empty(count, dtype=object)
    texts[:] = value
    return texts


def _answers(estimator: Predictor, probe: pd.DataFrame) -> bool:
    """Whether the estimator takes these rows."""
    try:
        estimator.predict(probe)
    except (ValueError, TypeError):
        return False
    return True


def _judge(estimator: Predictor, graph: Predictor, rows: pd.DataFrame, task: Task, found: Agreement) -> Agreement:

    wanted = estimator.predict(rows)
    try:
        given = graph.predict(rows)
    except QuarterdeckError as error:
        return replace(found, reason=str(error))
    difference = _difference(wanted, given, task)
    return replace(
        found,
        largest=max(found.largest, float(difference.max())),
        beyond=found.beyond + int((~(difference <= TOLERANCE)).sum()),
        labels=found.labels + _other_labels(wanted, given),
    )


def _difference(wanted: Predictions, given: Predictions, task: Task) -> NDArray[np.float64]:
    """(n,): the largest difference of each row."""
    import numpy as np

    if task is Task.REGRESSION:
        expected = np.asarray(wanted.values, dtype=np.float64)
        distance = np.abs(given.values - expected)
        return np.divide(distance, np.abs(expected), out=np.where(distance > 0, np.inf, 0.0), where=expected != 0)
    if wanted.probabilities is None or given.probabilities is None:
        return np.full(len(wanted.values), np.inf)
    return np.asarray(np.abs(given.probabilities - wanted.probabilities).max(axis=1), dtype=np.float64)


def _other_labels(wanted: Predictions, given: Predictions) -> int:
    import numpy as np

    if wanted.probabilities is None:
        return 0
    best = np.sort(wanted.probabilities, axis=1)[:, -2:]
    clear = best[:, 1] - best[:, 0] > TOLERANCE if best.shape[1] == 2 else np.ones(len(best), dtype=bool)
    return int((np.asarray(wanted.values)[clear] != np.asarray(given.values)[clear]).sum())
