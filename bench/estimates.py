"""How often the band of quality without labels holds what the labels show, on simulated models whose inputs move.

The truth of a row is drawn by its score alone, along curves that a model's probabilities follow more or less; so the
score tells all, which is what such estimates rest on. Where inputs mean something else (concept drift) they are blind.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.special import expit, logit
from threadpoolctl import threadpool_limits

from bench.rows import Budget, Row
from quarterdeck.statistics.estimation import ESTIMATED, Calibration, estimate
from quarterdeck.statistics.loss import ESTIMATED as LOSSES
from quarterdeck.statistics.loss import LossModel
from quarterdeck.statistics.quality import METRICS, metric

HOLDOUT_ROWS, WINDOW_ROWS, WINDOWS = 2_000, 600, 80
CURVES: dict[str, Callable[[Any], Any]] = {
    "right": lambda scores: scores,
    "too sure": lambda scores: expit(0.5 * logit(scores) - 0.2),
    "too timid": lambda scores: expit(2.0 * logit(scores) + 0.3),
}
SHIFTS = {"not": 0.0, "by 0.9 sigma": 1.2, "by 1.9 sigma": 2.5}
"""Of the scores' logarithmic odds, whose standard deviation is 1.3."""
STATED, LEAST = 95.0, 91.5
"""Percent: what is stated, and less the Monte Carlo error of 240 windows (2.5 standard errors)."""
SEED = 20_261


@dataclass(frozen=True, slots=True)
class Plan:
    """Windows of one simulated model."""

    name: str
    curve: str
    shift: float
    opposite: bool = False
    """The inputs of the window mean the opposite of those of the holdout."""


def measure() -> list[Row]:
    """Every metric, for inputs that stay and that move, over models of three kinds."""
    plans = [Plan(*one) for one in product(ESTIMATED, CURVES, SHIFTS.values())]
    losses = [Plan(name, "", shift) for name, shift in product(LOSSES, (0.0, 0.8))]
    blind = Plan("roc_auc", "right", 0.0, opposite=True)
    # One thread for each process: more of them take turns on the same cores.
    with ProcessPoolExecutor(os.cpu_count(), initializer=threadpool_limits, initargs=(1,)) as pool:
        every = [*plans, blind]
        found = dict(zip(every, pool.map(classified, every), strict=True))
        found |= dict(zip(losses, pool.map(regressed, losses), strict=True))
    rows: list[Row] = []
    for name, (words, shift) in product(ESTIMATED, SHIFTS.items()):
        shares = [found[plan] for plan in plans if (plan.name, plan.shift) == (name, shift)]
        case = f"{name}, inputs moved {words}: windows whose labels fall into the band of {STATED:g}%"
        each = ", ".join(f"{curve} {share:.1f}" for curve, share in zip(CURVES, shares, strict=True))
        rows.append(Row("estimates", case, sum(shares) / len(shares), "%", Budget("at least", LEAST), note=each))
    for plan in losses:
        case = f"{plan.name} of a regression, inputs moved by {plan.shift:g} sigma: windows within the band"
        rows.append(Row("estimates", case, found[plan], "%"))
    case = "roc_auc, inputs mean the opposite (concept drift, to which estimates are blind): windows within the band"
    rows.append(Row("estimates", case, found[blind], "%"))
    return rows


def classified(plan: Plan) -> float:
    """Percent of the windows whose labels fall into the band, of a classifier."""
    inside = 0
    for number in range(WINDOWS):
        random = np.random.default_rng([SEED, number, round(10 * plan.shift), len(plan.name)])
        scores, truth = _drawn(random, HOLDOUT_ROWS, -1.0, CURVES[plan.curve])
        window, shown = _drawn(random, WINDOW_ROWS, plan.shift - 1.0, CURVES[plan.curve])
        if plan.opposite:
            shown = 1 - shown
        labels = (window[:, 1] > 0.5).astype(np.int64)
        found = estimate(plan.name, Calibration(truth, scores), window, labels, seed=number)
        realised = metric(plan.name, shown, labels if METRICS[plan.name].needs == "label" else window[:, 1])
        inside += found.low <= realised <= found.high
    return 100 * inside / WINDOWS


def regressed(plan: Plan) -> float:
    """The same of a regression whose errors grow with an input: a new holdout for every tenth window."""
    inside = 0
    for number in range(WINDOWS):
        random = np.random.default_rng([SEED, number, round(10 * plan.shift), len(plan.name)])
        if number % 10 == 0:
            columns, truth, answers = _regression(random, HOLDOUT_ROWS, 1.0)
            model = LossModel(plan.name, columns, truth, answers)
        window, shown, given = _regression(random, WINDOW_ROWS, 1.0 + plan.shift)
        found = model.estimate(window, given, seed=number)
        inside += found.low <= metric(plan.name, shown, given) <= found.high
    return 100 * inside / WINDOWS


def _drawn(random: np.random.Generator, rows: int, centre: float, curve: Callable[[Any], Any]) -> tuple[Any, Any]:
    second = expit(random.normal(centre, 1.3, rows))
    return np.column_stack([1 - second, second]), (random.random(rows) < curve(second)).astype(np.int64)


def _regression(random: np.random.Generator, rows: int, centre: float) -> tuple[list[Any], Any, Any]:
    x = np.abs(random.normal(centre, 1.0, rows))
    place = random.choice(["app", "web", "shop"], rows).astype(object)
    scale = (0.2 + x) * np.where(place == "shop", 2.0, 1.0)
    return [x, place], 3 * x + scale * random.standard_t(6, rows), 3 * x
