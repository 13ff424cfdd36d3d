"""The preset's figures are Evidently's own, to a millionth."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quarterdeck.statistics.column import Column, PreparedColumn, prepare
from quarterdeck.statistics.preset import PresetFigure, preset_figure

Sampler = Callable[[np.random.Generator, int], Any]
NUMERIC: dict[str, tuple[Sampler, Sampler]] = {
    "normal": (lambda r, n: r.normal(size=n), lambda r, n: r.normal(0.2, 1, n)),
    "lognormal": (lambda r, n: r.lognormal(size=n), lambda r, n: r.lognormal(size=n)),
    "pareto": (lambda r, n: r.pareto(1.2, n), lambda r, n: r.pareto(1.1, n)),
    "zeros": (lambda r, n: np.where(r.random(n) < 0.5, 0.0, r.random(n)), lambda r, n: r.random(n)),
    "counts": (lambda r, n: r.poisson(8, n).astype(float), lambda r, n: r.poisson(9, n).astype(float)),
    "holes": (lambda r, n: holed(r, r.normal(size=n)), lambda r, n: holed(r, r.normal(size=n))),
    "outlier": (lambda r, n: np.append(r.normal(size=n - 1), 1e9), lambda r, n: r.normal(size=n)),
    "three": (lambda r, n: r.integers(0, 3, n).astype(float), lambda r, n: r.integers(0, 3, n).astype(float)),
    "five": (lambda r, n: r.integers(0, 4, n).astype(float), lambda r, n: r.integers(0, 5, n).astype(float)),
    "two": (lambda r, n: (r.random(n) < 0.3).astype(float), lambda r, n: (r.random(n) < 0.4).astype(float)),
    "constant": (lambda r, n: np.full(n, 2.5), lambda r, n: np.full(n, 2.5)),
    "nearly constant": (lambda r, n: np.full(n, 2.5), lambda r, n: np.append(np.full(n - 1, 2.5), 2.6)),
}
CATEGORICAL: dict[str, tuple[Sampler, Sampler]] = {
    "few": (lambda r, n: r.choice(["a", "b", "c"], n), lambda r, n: r.choice(["a", "b", "c"], n, p=[0.4, 0.3, 0.3])),
    "many": (lambda r, n: r.integers(0, 60, n).astype(str), lambda r, n: r.integers(0, 60, n).astype(str)),
    "new": (lambda r, n: r.choice(["a", "b"], n), lambda r, n: r.choice(["a", "b", "new"], n)),
    "gone": (lambda r, n: r.choice(["a", "b", "gone"], n), lambda r, n: r.choice(["a", "b"], n)),
    "pair": (lambda r, n: r.choice(["no", "yes"], n), lambda r, n: r.choice(["no", "yes"], n, p=[0.45, 0.55])),
    "one": (lambda r, n: np.full(n, "x"), lambda r, n: np.full(n, "x")),
    "none among them": (
        lambda r, n: with_none(r, r.choice(["a", "b", "c"], n)),
        lambda r, n: with_none(r, r.choice(["a", "b", "c"], n)),
    ),
}
SIZES = [(800, 800), (900, 300), (1_000, 2_500), (1_001, 400), (3_000, 3_000), (2_500, 4_001)]


def holed(random: np.random.Generator, values: Any) -> Any:
    values[random.random(values.size) < 0.2] = np.nan
    values[:2] = np.inf, -np.inf
    return values


def with_none(random: np.random.Generator, values: Any) -> Any:
    values = values.astype(object)
    values[random.random(values.size) < 0.1] = None
    return values


@cache
def frames(n: int, m: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    random = np.random.default_rng(n + m)
    samplers = NUMERIC | CATEGORICAL
    return (
        pd.DataFrame({name: before(random, n) for name, (before, _) in samplers.items()}),
        pd.DataFrame({name: after(random, m) for name, (_, after) in samplers.items()}),
    )


@cache
def evidently(n: int, m: int) -> dict[str, tuple[float, str]]:
    """Score and method of each column, as the preset itself finds them."""
    os.environ["DO_NOT_TRACK"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what Evidently will have to change
        from evidently import DataDefinition, Dataset, Report
        from evidently.presets import DataDriftPreset

        columns = DataDefinition(numerical_columns=list(NUMERIC), categorical_columns=list(CATEGORICAL))
        reference, current = (Dataset.from_pandas(frame, data_definition=columns) for frame in frames(n, m))
        found: list[Any] = Report([DataDriftPreset()]).run(current, reference).dict()["metrics"]
    drift = [metric for metric in found if "ValueDrift" in metric["metric_name"]]
    return {metric["config"]["column"]: (float(metric["value"]), metric["config"]["method"]) for metric in drift}


def ours(name: str, n: int, m: int) -> PresetFigure | None:
    kind: Any = "numeric" if name in NUMERIC else "categorical"
    before, after = (prepare(Column(name, kind, frame[name].to_numpy())) for frame in frames(n, m))
    return preset_figure(before, after)


METHODS = {
    "wasserstein": "Wasserstein distance (normed)",
    "jensenshannon": "Jensen-Shannon distance",
    "ks": "K-S p_value",
    "chisquare": "chi-square p_value",
    "z": "Z-test p_value",
}


@pytest.mark.parametrize(("n", "m"), SIZES)
def test_every_figure_is_evidentlys(n: int, m: int) -> None:
    theirs = evidently(n, m)
    assert theirs.keys() == {*NUMERIC, *CATEGORICAL}
    for name, (score, method) in theirs.items():
        figure = ours(name, n, m)
        assert figure is not None
        assert METHODS[figure.method] == method, name
        assert figure.score == pytest.approx(score, rel=1e-6, abs=1e-6), name


def test_a_column_without_a_value_has_no_figure_where_evidently_fails() -> None:
    some, none = np.arange(2_000.0), np.full(2_000, np.nan)
    before, after = (prepare(Column("x", "numeric", values)) for values in (some, none))
    assert preset_figure(before, after) is None
    assert preset_figure(after, before) is None


def test_kinds_that_differ_are_refused() -> None:
    number: PreparedColumn = prepare(Column("x", "numeric", np.arange(3.0)))
    text = prepare(Column("x", "categorical", np.array(["a"], dtype=object)))
    with pytest.raises(ValueError, match="'x' is numeric before and categorical after"):
        preset_figure(number, text)


def test_a_threshold_is_met_as_evidently_meets_it() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=2_000))
    sigma = float(np.std(values))
    at, below = (prepare(Column("x", "numeric", values + shift * sigma)) for shift in (0.1 + 1e-9, 0.1 - 1e-9))
    reference = prepare(Column("x", "numeric", values))
    figures = [preset_figure(reference, current) for current in (at, below)]
    assert [figure is not None and figure.drifted for figure in figures] == [True, False]
    assert figures[0] is not None
    assert math.isclose(figures[0].score, 0.1, rel_tol=1e-6)
