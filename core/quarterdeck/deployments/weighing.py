"""Which of keeping, rolling back and retraining the same labelled rows speak for: the rule, without any data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from quarterdeck.deployments.backtest import BacktestVerdict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEEP, ROLL_BACK, RETRAIN = "keep", "roll back", "retrain"
Side = Literal["better", "no gain", "unclear"]
_WORDS = {KEEP: "keeping", ROLL_BACK: "rolling back", RETRAIN: "retraining"}
MOST_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two candidates on the same rows, by a paired bootstrap. The gain is positive where `of` is better."""

    of: str
    against: str
    metric: str
    low: float
    gain: float
    high: float
    worth: float
    """The gain from which `of` is worth it."""
    rows: int

    @property
    def side(self) -> Side:
        """*better*: the interval lies above zero and the gain is worth it; *no gain*: it excludes what would be."""
        if self.low > 0 and self.gain >= self.worth:
            return "better"
        return "no gain" if self.high < self.worth else "unclear"

    @property
    def rows_needed(self) -> int | None:
        """About how many labelled rows would settle it, as intervals narrow with the root of the rows; None: many."""
        apart = self.gain if self.gain >= self.worth else self.worth - self.gain
        half = (self.high - self.low) / 2
        needed = self.rows * (half / apart) ** 2 if apart > 0 else math.inf
        # Twice that: a gain that lies just outside of the interval would be found in half of the cases only.
        return math.ceil(2 * needed) if 2 * needed < MOST_ROWS else None

    @property
    def words(self) -> str:
        interval = f"({self.low:+.3f} to {self.high:+.3f})"
        return f"{_WORDS[self.of]} gains {self.gain:+.3f} {self.metric} against {_WORDS[self.against]} {interval}"


@dataclass(frozen=True, slots=True)
class Weighed:
    """The verdict and why."""

    verdict: BacktestVerdict
    because: str
    missing: tuple[str, ...]
    """What would have to be there for a clear answer, in sentences without their end."""


def compare(
    of: str,
    against: str,
    metric: str,
    truth: NDArray[np.float64],
    scores: dict[str, NDArray[np.float64]],
    worth: float,
) -> Comparison | None:
    """Compare two of `scores`, each (n,) as `truth`; None where the metric is undefined on these rows.

    `worth` is the gain that is worth it, as a share of what `against` reaches.
    """
    from quarterdeck.statistics.quality import METRICS, paired_difference
    from quarterdeck.statistics.quality import metric as figure

    low, difference, high = paired_difference(metric, truth, scores[of], scores[against])
    if math.isnan(difference):
        return None
    if not METRICS[metric].greater_is_better:
        low, difference, high = -high, -difference, -low
    enough = worth * abs(figure(metric, truth, scores[against]))
    return Comparison(of, against, metric, low, difference, high, enough, len(truth))


def weigh(comparisons: list[Comparison], cannot: dict[str, str]) -> Weighed:
    """Choose among the candidates that were compared; `cannot` says of the others why they were not.

    Where there is nothing to roll back to, rolling back stands in neither of the two.
    """
    by_pair = {(one.of, one.against): one for one in comparisons}
    retrain, back = by_pair.get((RETRAIN, KEEP)), by_pair.get((ROLL_BACK, KEEP))
    against_back = by_pair.get((RETRAIN, ROLL_BACK))
    no_way_back = ROLL_BACK not in cannot and back is None
    beats_back = no_way_back or (against_back is not None and against_back.side == "better")
    if retrain is not None and retrain.side == "better" and beats_back:
        said = [retrain.words, *([against_back.words] if against_back is not None else [])]
        return Weighed(BacktestVerdict.RETRAIN, "; ".join(said), ())
    if back is not None and back.side == "better":
        said = [back.words, *([against_back.words] if against_back is not None else [])]
        return Weighed(BacktestVerdict.ROLL_BACK, "; ".join(said), _sentences(cannot))
    against_keep = [one for one in (retrain, back) if one is not None]
    if against_keep and not cannot and all(one.side == "no gain" for one in against_keep):
        words = "; ".join(one.words for one in against_keep)
        return Weighed(BacktestVerdict.KEEP, f"not worth it: {words}", ())
    return _undecided([one for one in (retrain, back, against_back) if one is not None], cannot)


def _undecided(compared: list[Comparison], cannot: dict[str, str]) -> Weighed:
    unclear = [one for one in compared if one.side == "unclear"]
    missing = []
    for one in unclear:
        needed = one.rows_needed
        rows = "many more" if needed is None else f"about {max(needed, one.rows + 1):,}"
        missing.append(
            f"{rows} labelled rows to tell {_WORDS[one.of]} from {_WORDS[one.against]}; there are {one.rows:,}"
        )
    said = "; ".join(one.words for one in compared) or "nothing could be compared"
    return Weighed(BacktestVerdict.UNDECIDED, said, (*missing, *_sentences(cannot)))


def _sentences(cannot: dict[str, str]) -> tuple[str, ...]:
    return tuple(f"{_WORDS[name]} could not be tried: {why}" for name, why in cannot.items())
