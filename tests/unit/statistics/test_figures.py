"""The customary figures are those that Evidently and scipy have; unknown values are counted and tested."""

from __future__ import annotations

import math
import os
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from quarterdeck.statistics.column import Column, PreparedColumn, prepare
from quarterdeck.statistics.drift import score_columns
from quarterdeck.statistics.figures import figures
from quarterdeck.statistics.unseen import share_unseen, unseen_p
from tests.unit.statistics.test_preset import CATEGORICAL, NUMERIC

SIZES = [(800, 500), (3_000, 3_000)]


def column(values: Any, kind: Any) -> PreparedColumn:
    return prepare(Column("x", kind, np.asarray(values, dtype=np.float64 if kind == "numeric" else object)))


def evidently(name: str, before: Any, after: Any, kind: str) -> float:
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from evidently.legacy.calculations.stattests import jensenshannon_stat_test, psi_stat_test
        from evidently.legacy.core import ColumnType

        test = {"psi": psi_stat_test, "jensenshannon": jensenshannon_stat_test}[name]
        of = ColumnType.Numerical if kind == "numeric" else ColumnType.Categorical
        sides = [pd.Series(side).replace([np.inf, -np.inf], np.nan).dropna() for side in (before, after)]
        return float(test(*sides, of, None).drift_score)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("name", [*NUMERIC, *CATEGORICAL])
def test_psi_and_jensen_shannon_are_evidently_s(name: str, sizes: tuple[int, int]) -> None:
    kind: Any = "numeric" if name in NUMERIC else "categorical"
    draw = (NUMERIC | CATEGORICAL)[name]
    before, after = (
        make(np.random.default_rng(place), n) for place, (make, n) in enumerate(zip(draw, sizes, strict=True))
    )
    found = figures(column(before, kind), column(after, kind))
    assert found is not None
    assert found.psi == pytest.approx(evidently("psi", before, after, kind), rel=1e-6, abs=1e-6)
    assert found.jensen_shannon == pytest.approx(evidently("jensenshannon", before, after, kind), rel=1e-6, abs=1e-6)
    assert (found.ks is None) == (kind == "categorical")


def test_the_kolmogorov_smirnov_statistic_is_scipy_s() -> None:
    rng = np.random.default_rng(1)
    before, after = rng.poisson(4, 700).astype(float), rng.poisson(5, 300).astype(float)
    found = figures(column(before, "numeric"), column(after, "numeric"))
    assert found is not None
    assert found.ks == pytest.approx(ks_2samp(before, after).statistic, abs=1e-12)


def test_new_and_vanished_categories_are_named_the_most_frequent_first() -> None:
    before = ["a"] * 5 + ["gone"] * 2 + ["lost"] * 3
    after = ["a"] * 5 + [f"new {i}" for i in range(7) for _ in range(i + 1)]
    found = figures(column(before, "categorical"), column(after, "categorical"))
    assert found is not None
    assert found.vanished == ("lost", "gone")
    assert found.new == ("new 6", "new 5", "new 4", "new 3", "new 2")


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_column_without_a_value_has_no_figures(kind: Any) -> None:
    full, empty = column([1.0, 2.0] if kind == "numeric" else ["a", "b"], kind), column([None, None], kind)
    for pair in ((full, empty), (empty, full), (empty, empty)):
        assert figures(*pair) is None
        assert unseen_p(*pair) == 1.0
        assert share_unseen(*pair) in (0.0, 1.0)


def test_the_p_value_of_the_greatest_values_is_the_share_of_orders_in_which_they_come_so() -> None:
    before, after = column(np.arange(6.0), "numeric"), column([7.0, 8.0, 2.5], "numeric")
    assert share_unseen(before, after) == pytest.approx(2 / 3)
    assert unseen_p(before, after) == pytest.approx(2 * math.comb(3, 2) / math.comb(9, 2))


@pytest.mark.parametrize("kind", ["numeric", "lognormal", "categories"])
def test_unknown_values_of_samples_of_one_kind_are_found_at_the_stated_level(kind: str) -> None:
    simulations, found = 400, 0
    for seed in range(simulations):
        rng = np.random.default_rng(seed)
        if kind == "categories":
            pair = [column(np.minimum(rng.zipf(1.6, n), 10_000).astype(str), "categorical") for n in (1_000, 400)]
        else:
            pair = [
                column(rng.lognormal(0, 1, n) if kind == "lognormal" else rng.random(n), "numeric")
                for n in (1_000, 400)
            ]
        found += unseen_p(*pair) < 0.05
    assert found / simulations <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / simulations)


def test_a_code_for_missing_and_a_new_category_are_found_though_the_distance_is_small() -> None:
    rng = np.random.default_rng(3)
    codes, names = rng.normal(1_000, 400, 1_000), rng.choice(["a", "b", "c"], 1_000).astype(object)
    after, renamed = rng.normal(1_000, 400, 1_000), rng.choice(["a", "b", "c"], 1_000).astype(object)
    after[:20], renamed[:20] = -999.0, "d"
    scores = score_columns(
        [Column("number", "numeric", codes), Column("name", "categorical", names)],
        [Column("number", "numeric", after), Column("name", "categorical", renamed)],
        threshold=0.2,
    )
    assert [score.verdict for score in scores] == ["quiet", "quiet"]
    assert [score.unseen_verdict for score in scores] == ["drifted", "drifted"]
    assert [score.unseen for score in scores] == pytest.approx([0.02, 0.02], abs=0.003)
    assert all(score.moved for score in scores)
