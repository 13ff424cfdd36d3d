"""How much each input moved one answer of a model, found out by asking it again with other values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import QuarterdeckError
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.inputs import as_inputs, inputs_frame
from quarterdeck.registry.predictor import Predictor
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import Task
from quarterdeck.values import plain

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

DRAWN_ROWS = 100


class Method(StrEnum):
    """How influences are measured."""

    PERMUTATION = "permutation"
    """Each input alone is replaced by drawn values of its own."""
    SHAP = "shap"
    """Shapley values, estimated by the library shap."""

    @property
    def definition(self) -> str:
        """What an influence is, by this method."""
        return _DEFINITIONS[self]

    @property
    def source(self) -> str:
        """Where the formula is from."""
        return _SOURCES[self]

    @property
    def limits(self) -> str:
        """What an influence is not."""
        return _LIMITS[self]


_DEFINITIONS = {
    Method.PERMUTATION: (
        "One-feature-at-a-time interventional difference: the answer, less its mean when this input alone takes the "
        "values of rows drawn from the version's reference. +- is the standard error of the draw."
    ),
    Method.SHAP: (
        "Interventional Shapley value: the mean change of the answer when this input becomes known, over the orders "
        "in which inputs may; what is not known yet takes the values of rows drawn from the version's reference."
    ),
}
_SOURCES = {
    Method.PERMUTATION: (
        "The difference of predictions of Robnik-Sikonja and Kononenko, Explaining Classifications for Individual "
        "Instances, IEEE TKDE 20(5), 2008; the unary influence of Datta, Sen and Zick, IEEE S&P 2016."
    ),
    Method.SHAP: (
        "Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, NeurIPS 2017; estimated by the "
        "library shap, PermutationExplainer."
    ),
}
_LIMITS = {
    Method.PERMUTATION: (
        "They do not add up to the answer, and are no Shapley values. Inputs that hang together are pulled apart, into "
        "rows that may never occur, and of two that say the same each may seem to count little. They tell about the "
        "model, not about causes in the world."
    ),
    Method.SHAP: (
        "They add up to the answer less its average, but inputs that hang together are pulled apart, into rows that "
        "may never occur. They tell about the model, not about causes in the world."
    ),
}


@dataclass(frozen=True, slots=True)
class Influence:
    """What one input did to the answer."""

    feature: str
    influence: float
    """In the unit of the answer; above 0 where it made it greater."""
    error: float | None
    """Standard error of the draw; None where the method gives none."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One answer, and what moved it."""

    method: Method
    outcome: str
    """What the answer is a number of: `probability of yes`."""
    answer: float
    """Of the recorded inputs, asked for anew."""
    average: float
    """Over the drawn rows as they are."""
    rows: int
    """How many rows of the reference were drawn."""
    influences: tuple[Influence, ...]
    """The one that moved it most comes first."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Answers as the one number that is explained."""

    name: str
    position: int | None = None
    """Which probability it is; None where there are none."""
    label: str | None = None
    """The class, where only that is answered: then the number is 1 for this class and 0 for others."""

    def of(self, predictions: Predictions) -> NDArray[np.float64]:
        """(n,): the number for each answer."""
        import numpy as np

        if self.position is not None and predictions.probabilities is not None:
            return np.asarray(predictions.probabilities[:, self.position], dtype=np.float64)
        if self.label is not None:
            return np.array([plain(value) == self.label for value in predictions.values.tolist()], dtype=np.float64)
        return np.asarray(predictions.values, dtype=np.float64)


def outcome_of(signature: Signature, task: Task, prediction: Any, probabilities: Sequence[float] | None) -> Outcome:
    """What to explain of a recorded answer: the probability of the class that was predicted, or the number."""
    if task is Task.REGRESSION:
        return Outcome("predicted number")
    label = plain(prediction)
    classes = [plain(name) for name in signature.classes or ()]
    if probabilities is None or label not in classes:
        return Outcome(f"share of answers {label}", label=label)
    return Outcome(f"probability of {label}", classes.index(label))


def explain(
    predictor: Predictor,
    signature: Signature,
    outcome: Outcome,
    inputs: Sequence[Any],
    reference: pd.DataFrame,
    method: Method = Method.PERMUTATION,
    *,
    rows: int = DRAWN_ROWS,
    seed: int = 0,
) -> Explanation:
    """Explain the answer to `inputs`, values in the order of the features, by rows drawn from `reference`.

    Raises:
        DataError: the reference lacks a feature, or a value does not fit its type.
        UsageError: the library shap is asked for and not installed.
        QuarterdeckError: the model cannot answer the inputs, or a mixture of them with the reference.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(reference))[:rows])
    drawn = as_inputs(reference.iloc[chosen].reset_index(drop=True), signature)
    base = inputs_frame(signature, {n: [v] * len(drawn) for n, v in zip(signature.names, inputs, strict=True)})
    ask = _asking(predictor, outcome)
    answer, average = float(ask(base)[0]), float(ask(drawn).mean())
    if method is Method.SHAP:
        from quarterdeck.registry.shapley import shapley_values

        values = shapley_values(ask, base, drawn, seed=seed)
        found = [Influence(name, value, None) for name, value in zip(signature.names, values, strict=True)]
    else:
        found = _one_at_a_time(ask, answer, base, drawn, of_rows=len(reference))
    ranked = sorted(found, key=lambda influence: -abs(influence.influence))
    return Explanation(method, outcome.name, answer, average, len(drawn), tuple(ranked))


def _asking(predictor: Predictor, outcome: Outcome) -> Callable[[pd.DataFrame], NDArray[np.float64]]:
    def ask(frame: pd.DataFrame) -> NDArray[np.float64]:
        try:
            return outcome.of(predictor.predict(frame))
        except QuarterdeckError:
            raise
        except Exception as error:  # estimators raise whatever they like
            reason = str(error).strip().partition("\n")[0]
            raise QuarterdeckError(f"The model cannot answer again: {type(error).__name__}: {reason}") from error

    return ask


def _one_at_a_time(
    ask: Callable[[pd.DataFrame], NDArray[np.float64]],
    answer: float,
    base: pd.DataFrame,
    drawn: pd.DataFrame,
    *,
    of_rows: int,
) -> list[Influence]:
    """f(x) - mean over the drawn rows b of f(x with x_i := b_i), for each feature i.

    The standard error is that of a mean of rows drawn without replacement: 0 where all were drawn.
    """
    import numpy as np

    rows = len(drawn)
    found = []
    for name in base.columns:
        replaced = base.copy(deep=False)
        replaced[name] = drawn[name]
        answers = ask(replaced)
        spread = float(answers.std(ddof=1)) if rows > 1 else 0.0
        error = spread / np.sqrt(rows) * np.sqrt(1 - rows / of_rows)
        found.append(Influence(str(name), answer - float(answers.mean()), float(error)))
    return found
