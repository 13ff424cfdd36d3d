"""The judgement of a frame of columns: which have drifted, which are quiet, which cannot be told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from quarterdeck.statistics.column import Column, Kind, PreparedColumn, all_missing
from quarterdeck.statistics.column import prepare as prepare_column
from quarterdeck.statistics.comparison import Comparison, Measure, compare
from quarterdeck.statistics.significance import benjamini_hochberg, two_shares_p
from quarterdeck.statistics.unseen import share_unseen, unseen_p

__all__ = ["Column", "ColumnScore", "PreparedColumn", "Verdict", "prepare", "score_columns", "score_pairs"]

Verdict = Literal["drifted", "quiet", "inconclusive"]

UNSEEN = 0.01
"""The share of values that the reference does not know, from which that is a finding."""


@dataclass(frozen=True, slots=True)
class ColumnScore:
    """What a monitor says of one column.

    `effect` is in units of the measure: W1 in robust sigmas of the reference, Jensen-Shannon distance (nats),
    or the excess share of moved values where the reference has zero spread. `n_reference` and `n_current`
    count the rows with a usable value; the missing shares are of all rows, infinities among the missing.
    `unseen` is the share of current values that the reference does not know: of a category that it never saw, or
    outside of its range.

    Verdicts: *drifted*: significant and the effect at or over the threshold, at any size; otherwise
    *inconclusive* where either side has fewer rows than the stated power needs; otherwise *quiet*.
    """

    column: str
    kind: Kind
    measure: Measure
    effect: float
    p_value: float
    q_value: float
    n_reference: int
    n_current: int
    missing_reference: float
    missing_current: float
    missing_effect: float
    missing_q: float
    unseen: float
    unseen_q: float
    verdict: Verdict
    missing_verdict: Verdict
    unseen_verdict: Verdict

    @property
    def moved(self) -> bool:
        """Whether any of the three was found."""
        return "drifted" in (self.verdict, self.missing_verdict, self.unseen_verdict)


def prepare(columns: Sequence[Column]) -> list[PreparedColumn]:
    """Sort and count the reference's columns once; `score_columns` takes the result for many windows."""
    return [prepare_column(column) for column in columns]


def score_columns(
    reference: Sequence[Column | PreparedColumn],
    current: Sequence[Column | PreparedColumn],
    *,
    threshold: float = 0.1,
    q: float = 0.05,
    minimum_rows: int = 180,
    unseen: float = UNSEEN,
    seed: int = 0,
) -> list[ColumnScore]:
    """Judge every reference column against the current frame; one score each, in the reference's order.

    The p-values of all columns are corrected together (Benjamini-Hochberg), those of missing shares as a
    second family. A column absent from the current frame is taken as all missing over that frame's rows;
    columns only in the current frame are not judged. The draws depend on the seed and on a column's name,
    not on its position. Raises ValueError where a column's kind differs between the frames or a name comes
    twice in one.
    """
    before = [_prepared(column) for column in reference]
    found = {column.name: _prepared(column) for column in current}
    if len({column.name for column in before}) < len(before) or len(found) < len(current):
        raise ValueError("Two columns of one frame have the same name; rename one of them.")
    rows = max((column.rows for column in found.values()), default=0)
    after = [found.get(column.name) or all_missing(column.name, column.kind, rows) for column in before]
    return score_pairs(
        zip(before, after, strict=True), threshold=threshold, q=q, minimum_rows=minimum_rows, unseen=unseen, seed=seed
    )


def score_pairs(
    pairs: Iterable[tuple[PreparedColumn, PreparedColumn]],
    *,
    threshold: float = 0.1,
    q: float = 0.05,
    minimum_rows: int = 180,
    unseen: float = UNSEEN,
    seed: int = 0,
) -> list[ColumnScore]:
    """As `score_columns`, of columns that come one after the other: no two pairs need be in memory at once."""
    judged = [_judge(reference, current, threshold, seed) for reference, current in pairs]
    q_values = benjamini_hochberg([one.result.p_value for one in judged])
    missing_q = benjamini_hochberg([one.missing_p for one in judged])
    unseen_q = benjamini_hochberg([one.unseen_p for one in judged])
    limits, of_unseen = Limits(threshold, q, minimum_rows), Limits(unseen, q, minimum_rows)
    return [
        _score(one, (float(q_value), float(q_missing), float(q_unseen)), limits, of_unseen)
        for one, q_value, q_missing, q_unseen in zip(judged, q_values, missing_q, unseen_q, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Side:
    """What is kept of a column's sample once it was compared."""

    rows: int
    present: int
    missing_share: float


@dataclass(frozen=True, slots=True)
class _Judged:
    column: str
    kind: Kind
    result: Comparison
    missing_p: float
    unseen: float
    unseen_p: float
    reference: _Side
    current: _Side


def _judge(reference: PreparedColumn, current: PreparedColumn, threshold: float, seed: int) -> _Judged:
    return _Judged(
        reference.name,
        reference.kind,
        compare(reference, current, threshold=threshold, seed=seed),
        two_shares_p(reference.missing, reference.rows, current.missing, current.rows),
        share_unseen(reference, current),
        unseen_p(reference, current),
        *(_Side(side.rows, side.present, side.missing_share) for side in (reference, current)),
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a verdict is held against: smallest effect that matters, false discovery rate, fewest rows."""

    threshold: float
    q: float
    minimum_rows: int

    def verdict(self, effect: float, q_value: float, rows: int) -> Verdict:
        """Return the verdict on an effect; `rows` is the smaller of both sides' sizes."""
        if q_value < self.q and effect >= self.threshold:
            return "drifted"
        return "inconclusive" if rows < self.minimum_rows else "quiet"


def _score(judged: _Judged, q_values: tuple[float, float, float], limits: Limits, of_unseen: Limits) -> ColumnScore:
    reference, current, result = judged.reference, judged.current, judged.result
    q_value, missing_q, unseen_q = q_values
    gap = abs(current.missing_share - reference.missing_share) if reference.rows and current.rows else 0.0
    return ColumnScore(
        column=judged.column,
        kind=judged.kind,
        measure=result.measure,
        effect=result.effect,
        p_value=result.p_value,
        q_value=q_value,
        n_reference=reference.present,
        n_current=current.present,
        missing_reference=reference.missing_share,
        missing_current=current.missing_share,
        missing_effect=gap,
        missing_q=missing_q,
        unseen=judged.unseen,
        unseen_q=unseen_q,
        verdict=limits.verdict(result.effect, q_value, min(reference.present, current.present)),
        missing_verdict=limits.verdict(gap, missing_q, min(reference.rows, current.rows)),
        unseen_verdict=of_unseen.verdict(judged.unseen, unseen_q, min(reference.present, current.present)),
    )


def _prepared(column: Column | PreparedColumn) -> PreparedColumn:
    return column if isinstance(column, PreparedColumn) else prepare_column(column)
