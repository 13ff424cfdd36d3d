"""Shifts that no single column shows."""

from __future__ import annotations

import numpy as np
import pytest

from quarterdeck.statistics.column import Column
from quarterdeck.statistics.multivariate import reconstruction, separation


def table(seed: int, n: int, correlation: float = 0.8, wide: int = 6) -> list[Column]:
    """Standard normal columns, of which the first two go together; and a category that goes with the third."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, wide))
    values[:, 1] = correlation * values[:, 0] + np.sqrt(1 - correlation**2) * values[:, 1]
    names = np.where(values[:, 2] > 0, "high", "low").astype(object)
    return [*(Column(f"c{i}", "numeric", values[:, i]) for i in range(wide)), Column("level", "categorical", names)]


def test_columns_that_no_longer_go_together_are_told_apart_and_leave_the_plane() -> None:
    found = []
    for seed in range(5):
        apart = separation(table(2 * seed, 1_500), table(2 * seed + 1, 1_000, correlation=0.0), seed=seed)
        assert 0.5 < apart.low < apart.auc < apart.high
        assert set(apart.columns[:2]) == {"c0", "c1"}
        found.append(apart.low)
    assert np.mean(found) > 0.6
    away = reconstruction(table(1, 1_500), table(2, 1_000, correlation=-0.8))
    assert away.p_value < 0.001
    assert away.effect > 0.1
    assert away.current > away.reference


def test_samples_of_one_kind_are_not_told_apart() -> None:
    simulations = 60
    alarms, far = 0, 0
    for seed in range(simulations):
        found = separation(table(2 * seed, 400), table(2 * seed + 1, 300), seed=seed)
        alarms += found.low > 0.5
        far += reconstruction(table(2 * seed, 400), table(2 * seed + 1, 300), seed=seed).p_value < 0.05
    # 2.5% and 5%, with three standard deviations of so many simulations.
    assert alarms <= 5
    assert far <= 8


@pytest.mark.parametrize("kind", ["missing", "constant", "infinite", "two rows"])
def test_odd_tables_are_defined(kind: str) -> None:
    reference, current = table(1, 300), table(2, 300)
    if kind == "two rows":
        current = [Column(c.name, c.kind, c.values[:2]) for c in current]
    else:
        value = {"missing": np.nan, "constant": 1.0, "infinite": np.inf}[kind]
        for side in (reference, current):
            side[0] = Column("c0", "numeric", np.full(300, value))
            side[-1] = Column("level", "categorical", np.full(300, None if kind == "missing" else "x", dtype=object))
    found = separation(reference, current)
    assert 0 <= found.low <= found.auc <= found.high <= 1
    assert np.isfinite([reconstruction(reference, current).effect, reconstruction(reference, current).p_value]).all()


def test_a_side_with_one_row_is_refused() -> None:
    empty = [Column(c.name, c.kind, c.values[:1]) for c in table(1, 10)]
    for compare in (separation, reconstruction):
        with pytest.raises(ValueError, match="nothing to compare"):
            compare(table(1, 10), empty)
