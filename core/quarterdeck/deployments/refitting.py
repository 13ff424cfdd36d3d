"""The serving version's estimator, fitted anew on recent rows: what a retrain would have answered."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from quarterdeck.deployments.labelled import cut
from quarterdeck.errors import RefusedError
from quarterdeck.registry.inputs import as_inputs, inputs_frame
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.storage import load_estimator
from quarterdeck.registry.truth import truth_and_score
from quarterdeck.registry.version import Format, ModelVersion
from quarterdeck.traffic.window import WindowRows
from quarterdeck.values import plain
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from quarterdeck.registry.answers import Predictions

LEAST_ROWS = 100
"""With fewer recent rows a retrain has next to nothing new to learn from."""
LEAST_ALONE = 200
"""From this many recent rows on they may be enough without the rows of the first training."""
LEAST_OF_CLASS = 10
RECENT, TOGETHER = "recent rows alone", "reference and recent rows"


@dataclass(frozen=True, slots=True)
class Table:
    """Features and truth to fit on."""

    inputs: pd.DataFrame
    truth: list[Any]
    """Classes as the signature has them, or numbers."""

    def __len__(self) -> int:
        return len(self.truth)


@dataclass(frozen=True, slots=True)
class Refitted:
    """What the retrained model answers to the compared rows, and how it was made."""

    answers: Predictions
    trained_on: str
    """RECENT or TOGETHER."""
    why: str
    rows: int
    warned: tuple[str, ...]
    """What its libraries said while it was fitted."""


def refit(
    workspace: Workspace, version: ModelVersion, recent: WindowRows, held: WindowRows, metric: str, gap: timedelta
) -> Refitted:
    """Fit a clone of the version's estimator on recent rows, with or without those of its first training.

    Which of the two is chosen before the compared rows are looked at: both are fitted on the older two thirds of the
    recent rows, and the better one on their newest third is fitted again on all. Parameters stay as they are, open
    seeds are 0. `gap` is how far labels are behind.

    Raises:
        RefusedError: it cannot be fitted anew; the message says why, in words that end a sentence.
    """
    trainer = _Trainer(workspace, version)
    news = trainer.table(recent)
    if len(news) < LEAST_ROWS:
        raise RefusedError(f"{len(news):,} labelled rows lie before the compared ones, and {LEAST_ROWS} are needed")
    known = trainer.reference(workspace)
    trained_on, why = _choose(trainer, recent, known, metric, gap)
    table = news if trained_on == RECENT or known is None else _joined(known, news)
    answers = trainer.answers(table, trainer.frame(held))
    return Refitted(answers, trained_on, why, len(table), tuple(dict.fromkeys(trainer.warned)))


def _choose(trainer: _Trainer, recent: WindowRows, known: Table | None, metric: str, gap: timedelta) -> tuple[str, str]:
    """What to train on, and why."""
    from quarterdeck.statistics.quality import METRICS

    alone = trainer.lacking(trainer.table(recent), LEAST_ALONE)
    if known is None:
        return RECENT, "the rows of the first training are not stored with their truth"
    if alone is not None:
        return TOGETHER, alone
    parts = cut(recent, gap)
    older = trainer.table(parts.before)
    if trainer.lacking(older, LEAST_ROWS) is not None:
        return TOGETHER, "there are too few recent rows to find out whether they are enough alone"
    found = {
        RECENT: trainer.figure(older, parts.after, metric),
        TOGETHER: trainer.figure(_joined(known, older), parts.after, metric),
    }
    if any(math.isnan(value) for value in found.values()):
        return TOGETHER, f"{metric} is undefined on the rows that were to decide"
    sign = 1 if METRICS[metric].greater_is_better else -1
    best, other = (RECENT, TOGETHER) if sign * found[RECENT] > sign * found[TOGETHER] else (TOGETHER, RECENT)
    rows = f"on the {parts.after.n:,} newest rows before the compared ones"
    return best, f"{metric} {found[best]:.3f} {rows}, {found[other]:.3f} on {other}"


class _Trainer:
    """Fits clones of a version's estimator."""

    def __init__(self, workspace: Workspace, version: ModelVersion) -> None:
        self.version = version
        self.signature = Signature.from_dict(version.signature)
        self.warned: list[str] = []
        self._classes = None if self.signature.classes is None else {plain(one): one for one in self.signature.classes}
        self._untrained, self._by_names = _untrained(workspace, version)

    def frame(self, rows: WindowRows) -> pd.DataFrame:
        """The inputs, as the model takes them."""
        names = self.signature.names
        return inputs_frame(self.signature, {name: [row[i] for row in rows.inputs] for i, name in enumerate(names)})

    def table(self, rows: WindowRows) -> Table:
        """The rows whose label the model can learn."""
        return self._known(self.frame(rows), rows.labels)

    def reference(self, workspace: Workspace) -> Table | None:
        """The stored rows of the first training; None where their truth is not there."""
        target = self.signature.target
        if self.version.reference is None or target is None:
            return None
        from quarterdeck.datasets.frames import read_frame

        frame = read_frame(workspace, self.version.reference)
        if target not in frame.columns:
            return None
        missing = frame[target].isna()
        truth = [None if gone else value for value, gone in zip(frame[target], missing, strict=True)]
        return self._known(as_inputs(frame, self.signature), truth)

    def _known(self, inputs: pd.DataFrame, labels: Iterable[Any]) -> Table:
        truth = [None if label is None else self._truth(label) for label in labels]
        kept = [i for i, value in enumerate(truth) if value is not None]
        return Table(inputs.iloc[kept].reset_index(drop=True), [truth[i] for i in kept])

    def _truth(self, label: Any) -> Any:
        """The class, or the number; None for what is neither."""
        if self._classes is not None:
            return self._classes.get(plain(label))
        try:
            value = float(label)
        except (TypeError, ValueError):
            return None
        return value if math.isfinite(value) else None

    def lacking(self, table: Table, least: int) -> str | None:
        """What is missing for a fit, in words that end a sentence."""
        if len(table) < least:
            return f"there are {len(table):,} rows to learn from, and {least} are needed"
        counts = Counter(table.truth)
        for name in self.signature.classes or ():
            if counts[name] < LEAST_OF_CLASS:
                return f"{counts[name]} of the rows to learn from are of class {plain(name)}, not {LEAST_OF_CLASS}"
        return None

    def answers(self, table: Table, frame: pd.DataFrame) -> Predictions:
        """Fit on the table, and answer the rows of `frame`.

        Raises:
            RefusedError: too few rows of a class, or fitting or answering fails.
        """
        import numpy as np
        from sklearn.base import clone

        from quarterdeck.registry.predictor import EstimatorPredictor

        lacking = self.lacking(table, LEAST_ROWS)
        if lacking is not None:
            raise RefusedError(lacking)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                fitted = clone(self._untrained)
                fitted.fit(table.inputs if self._by_names else table.inputs.to_numpy(), np.array(table.truth))
                answers = EstimatorPredictor(fitted, self.signature, self.version.task).predict(frame)
            except Exception as error:  # an estimator raises what it likes about its data
                raise RefusedError(f"its estimator cannot be fitted on these rows ({_line(error)})") from error
        self.warned += [f"{warning.category.__name__}: {_line(warning.message)}" for warning in caught]
        return answers

    def figure(self, table: Table, rows: WindowRows, metric: str) -> float:
        """The metric on `rows` of what is fitted on the table."""
        from quarterdeck.statistics.quality import metric as figure

        answers = self.answers(table, self.frame(rows))
        shares = [None] * rows.n if answers.probabilities is None else answers.probabilities.tolist()
        return figure(metric, *truth_and_score(self.signature, metric, rows.labels, answers.values.tolist(), shares))


def _untrained(workspace: Workspace, version: ModelVersion) -> tuple[Any, bool]:
    """A clone of the stored estimator that is not fitted, and whether the stored one was fitted by column names."""
    if version.format is Format.EXTERNAL or version.artifact is None:
        raise RefusedError(f"version {version.number} is served elsewhere, and its model is not stored here")
    if version.format is not Format.SKOPS:
        raise RefusedError(
            f"version {version.number} is stored as {version.format}, and only a scikit-learn estimator that is stored "
            "by skops can be fitted anew"
        )
    from sklearn.base import clone

    estimator = load_estimator(workspace, version.artifact)
    # A frozen part would stay as it was trained, and the retrain be none.
    parts = [estimator, *estimator.get_params(deep=True).values()]
    if any(type(part).__name__ == "FrozenEstimator" for part in parts):
        raise RefusedError(f"version {version.number} holds a frozen estimator, which stays as it was trained")
    fresh = clone(estimator)
    seeds = {
        name: 0
        for name, value in fresh.get_params(deep=True).items()
        if name.rpartition("__")[2] == "random_state" and value is None
    }
    return fresh.set_params(**seeds), hasattr(estimator, "feature_names_in_")


def _joined(known: Table, news: Table) -> Table:
    import pandas as pd

    return Table(pd.concat([known.inputs, news.inputs], ignore_index=True), [*known.truth, *news.truth])


def _line(error: object) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
