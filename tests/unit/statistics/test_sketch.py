"""Sketches stay within the error that they state, whatever the values, the pieces and the order of merging."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from quarterdeck.statistics.column import Column, PreparedColumn, prepare
from quarterdeck.statistics.comparison import compare
from quarterdeck.statistics.distance import Floats, finite_sorted, jensen_shannon, robust_sigma, wasserstein
from quarterdeck.statistics.drift import score_pairs
from quarterdeck.statistics.sketch import (
    CATEGORIES,
    ROOM,
    CategorySketch,
    Moments,
    NumericSketch,
    QuantileSketch,
    heaviest,
)
from quarterdeck.statistics.sketched import FAR, SketchedPair, SketchedScore, score_sketches

Draw = Callable[[np.random.Generator, int], Floats]
SHAPES: dict[str, Draw] = {
    "normal": lambda random, n: random.normal(size=n),
    "lognormal": lambda random, n: random.lognormal(size=n),
    "pareto": lambda random, n: random.pareto(1.5, n),
    "integers": lambda random, n: random.poisson(30, n).astype(np.float64),
    "zero-inflated": lambda random, n: np.where(random.random(n) < 0.97, 0.0, random.exponential(size=n)),
    "two values": lambda random, n: (random.random(n) < 0.3).astype(np.float64),
    "sorted": lambda random, n: np.sort(random.normal(size=n)),
}
ROWS = 300_000


def sketched(values: Floats, *, pieces: int = 3, seed: int = 1, order: Sequence[int] | None = None) -> NumericSketch:
    """A sketch for each piece, merged in that order."""
    parts = []
    for number, piece in enumerate(np.array_split(values, pieces)):
        part = NumericSketch((seed, number))
        part.update(piece)
        parts.append(part)
    chosen = [parts[place] for place in (order or range(pieces))]
    for part in chosen[1:]:
        chosen[0].merge(part)
    return chosen[0]


def rank_error(sketch: QuantileSketch, values: Floats) -> float:
    """The largest, over all ranks."""
    held, weights = sketch.points()
    assert weights.sum() == sketch.count == values.size
    ascending = np.sort(values)
    # Between two held values the sketch says what it says at the first of them.
    at = np.append(held, held[1:] - np.spacing(np.abs(held[1:])))
    said = np.concatenate(([0], np.cumsum(weights)))[np.searchsorted(held, at, side="right")]
    return float(np.abs(said - np.searchsorted(ascending, at, side="right")).max() / values.size)


def whole_effect(before: Floats, after: Floats) -> float:
    """What the sketched effect estimates, of all values."""
    first, last = (
        choose(np.quantile(side, share, method="inverted_cdf") for side in (before, after))
        for choose, share in ((min, FAR), (max, 1 - FAR))
    )
    return wasserstein(np.clip(before, first, last), np.clip(after, first, last)) / robust_sigma(before)


def judged(before: NumericSketch | CategorySketch, after: NumericSketch | CategorySketch) -> SketchedScore:
    (score,) = score_sketches([SketchedPair("x", before, after)])
    return score


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("pieces", [1, 7, 200])
def test_no_rank_is_further_off_than_is_stated(shape: str, pieces: int) -> None:
    values = SHAPES[shape](np.random.default_rng(5), ROWS)
    sketch = sketched(values, pieces=pieces).quantiles
    assert 0 < rank_error(sketch, values) <= sketch.error < 5e-4
    assert sketch.points()[0].size <= ROOM


@pytest.mark.parametrize("shape", SHAPES)
def test_the_effect_is_within_its_error_of_that_of_all_values(shape: str) -> None:
    random = np.random.default_rng(6)
    for shift, scale in ((0.0, 1.0), (0.05, 1.1), (-0.5, 0.7), (3.0, 1.0)):
        before = SHAPES[shape](random, ROWS)
        after = SHAPES[shape](random, 200_000) * scale + shift
        found = judged(sketched(before), sketched(after, seed=2))
        assert found.error > 0
        assert abs(found.score.effect - whole_effect(before, after)) <= found.error
        if shape in ("normal", "integers", "sorted", "two values"):
            assert found.error < 0.01 + 0.02 * found.score.effect


def test_merging_in_any_order_says_the_same_within_the_error() -> None:
    random = np.random.default_rng(7)
    before, after = random.lognormal(size=ROWS), 1.05 * random.lognormal(size=ROWS)
    reference = sketched(before)
    effects = []
    for _ in range(5):
        current = sketched(after, pieces=12, seed=2, order=random.permutation(12).tolist())
        effects.append(judged(reference, current))
    whole = whole_effect(before, after)
    assert all(abs(one.score.effect - whole) <= one.error for one in effects)
    assert len({one.score.effect for one in effects}) > 1


def test_a_merged_sketch_is_off_by_what_both_were_and_more() -> None:
    parts = [sketched(np.random.default_rng(seed).normal(size=ROWS), seed=seed).quantiles for seed in (1, 2)]
    each = [(part.error - 1e-6) * part.count for part in parts]
    parts[0].merge(parts[1])
    assert (parts[0].error - 1e-6) * parts[0].count >= math.hypot(*each) * (1 - 1e-9)


def test_the_same_pieces_give_the_same_sketch() -> None:
    values = np.random.default_rng(8).normal(size=ROWS)
    once, again = (sketched(values).quantiles.points() for _ in range(2))
    assert all(np.array_equal(*pair) for pair in zip(once, again, strict=True))


def test_a_sketch_that_holds_every_value_gives_the_very_score_of_whole_columns() -> None:
    random = np.random.default_rng(9)
    before, after = random.lognormal(size=2_000), 1.2 * random.lognormal(size=700)
    after[::7] = np.nan
    found = judged(sketched(before), sketched(after, pieces=20))
    columns = [prepare(Column("x", "numeric", values)) for values in (before, after)]
    assert found.error == 0.0
    assert [found.score] == score_pairs([(columns[0], columns[1])])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.2, 0.6])
def test_verdicts_are_those_of_whole_columns(shape: str, shift: float) -> None:
    random = np.random.default_rng(10)
    before = SHAPES[shape](random, 150_000)
    after = SHAPES[shape](random, 120_000) + shift * float(np.std(before))
    columns = [prepare(Column("x", "numeric", values)) for values in (before, after)]
    (whole,) = score_pairs([(columns[0], columns[1])])
    found = judged(sketched(before), sketched(after, seed=2)).score
    assert (found.verdict, found.measure) == (whole.verdict, whole.measure)


def test_an_effect_that_the_error_leaves_on_both_sides_of_the_threshold_is_inconclusive() -> None:
    random = np.random.default_rng(11)
    values = random.normal(size=ROWS)
    before, after = sketched(values), sketched(values + 0.1 * robust_sigma(values), seed=2)
    (near,) = score_sketches([SketchedPair("x", before, after)])
    assert near.score.verdict == "inconclusive"
    (above,) = score_sketches([SketchedPair("x", before, after)], threshold=0.09)
    (below,) = score_sketches([SketchedPair("x", before, after)], threshold=0.11)
    assert (above.score.verdict, below.score.verdict) == ("drifted", "quiet")


def test_a_few_rows_against_many_are_not_called_drifted_by_chance() -> None:
    random = np.random.default_rng(12)
    before = sketched(random.normal(size=ROWS))
    verdicts = Counter(judged(before, sketched(random.normal(size=250), seed=2)).score.verdict for _ in range(40))
    assert verdicts["drifted"] <= 4
    assert verdicts["quiet"] >= 30


def test_one_value_of_1e9_neither_drifts_nor_hides_drift() -> None:
    random = np.random.default_rng(13)
    before, after = random.normal(size=ROWS), random.normal(size=ROWS)
    after[0], after[1], before[0] = 1e9, -1e300, 1e9
    assert judged(sketched(before), sketched(after, seed=2)).score.verdict == "quiet"
    assert judged(sketched(before), sketched(after + 0.3, seed=2)).score.verdict == "drifted"


def test_missing_values_infinities_constants_and_nothing_are_defined() -> None:
    random = np.random.default_rng(14)
    values = random.normal(size=ROWS)
    holed = values.copy()
    holed[::3], holed[1] = np.nan, np.inf
    found = judged(sketched(values), sketched(holed, seed=2)).score
    assert (found.verdict, found.missing_verdict, found.n_current) == ("quiet", "drifted", ROWS - 100_001)
    constant = np.full(ROWS, 7.0)
    same = judged(sketched(constant), sketched(constant, seed=2))
    assert (same.score.measure, same.score.effect, same.error, same.score.verdict) == ("share_moved", 0.0, 0.0, "quiet")
    moved = judged(sketched(constant), sketched(np.where(np.arange(ROWS) % 4, 7.0, 8.0), seed=2))
    assert (moved.score.measure, moved.score.verdict) == ("share_moved", "drifted")
    assert abs(moved.score.effect - 0.25) <= moved.error
    nothing = sketched(np.full(1_000, np.nan))
    for before, after in ((nothing, sketched(values)), (sketched(values), nothing), (nothing, nothing)):
        none = judged(before, after)
        assert (none.score.effect, none.score.p_value, none.error) == (0.0, 1.0, 0.0)
    empty = judged(NumericSketch(), NumericSketch())
    assert (empty.score.verdict, empty.score.missing_verdict) == ("inconclusive", "inconclusive")


def test_moments_are_those_of_all_values() -> None:
    values = np.random.default_rng(15).lognormal(size=10_000)
    whole = Moments()
    for piece in np.array_split(values, 37):
        whole.update(piece)
    assert (whole.count, whole.minimum, whole.maximum) == (values.size, values.min(), values.max())
    assert whole.mean == pytest.approx(values.mean(), rel=1e-12)
    assert whole.sigma == pytest.approx(values.std(), rel=1e-12)
    assert Moments().sigma == 0.0


def counted(names: NDArray[np.str_], pieces: int = 1) -> CategorySketch:
    sketch = CategorySketch()
    for piece in np.array_split(names, pieces):
        part = CategorySketch()
        distinct, counts = np.unique(piece, return_counts=True)
        kept, cut = heaviest(counts)
        heavy = {str(distinct[place]): int(counts[place]) - cut for place in kept}
        part.update(heavy, rows=piece.size, present=piece.size, error=cut)
        sketch.merge(part)
    return sketch


def text_column(names: NDArray[np.str_]) -> PreparedColumn:
    return prepare(Column("x", "categorical", names.astype(object)))


def test_few_categories_are_counted_exactly() -> None:
    random = np.random.default_rng(16)
    before, after = (random.choice(["app", "web", "shop"], 150_000, p=p) for p in ([0.5, 0.3, 0.2], [0.2, 0.5, 0.3]))
    found = judged(counted(before, 9), counted(after, 5))
    whole = compare(text_column(before), text_column(after))
    assert (found.error, found.score.effect) == (0.0, whole.effect)
    assert found.score.verdict == "drifted"
    quiet = judged(counted(before), counted(random.permutation(before)))
    assert (quiet.score.effect, quiet.score.verdict) == (0.0, "quiet")


def test_of_many_categories_the_heavy_ones_are_kept_within_their_error() -> None:
    random = np.random.default_rng(17)
    ranks = np.arange(1, 100_001)
    shares = 1 / ranks**1.1
    shares /= shares.sum()
    before = random.choice(ranks, 400_000, p=shares).astype(str)
    after = random.choice(np.roll(ranks, 2), 400_000, p=shares).astype(str)
    found = judged(counted(before, 10), counted(after, 10))
    sketch = counted(before, 10)
    truth = Counter(before.tolist())
    assert len(sketch.counts) <= CATEGORIES
    assert 0 < sketch.error <= before.size / (CATEGORIES + 1)
    assert all(0 <= truth[name] - count <= sketch.error for name, count in sketch.counts.items())
    assert all(count <= sketch.error for name, count in truth.items() if name not in sketch.counts)
    assert sketch.lost == before.size - sum(sketch.counts.values())
    names = sorted({*before.tolist(), *after.tolist()})
    other = Counter(after.tolist())
    whole = jensen_shannon([truth[name] for name in names], [other[name] for name in names])
    assert abs(found.score.effect - whole) <= found.error
    assert found.score.verdict == "drifted"


def test_finite_values_are_what_whole_columns_hold() -> None:
    values = np.array([1.0, np.nan, -np.inf, 1e200, -1e200])
    sketch = sketched(values)
    assert np.array_equal(sketch.prepared("x").ascending, finite_sorted(values))
    assert sketch.rows == 5
