"""How often a backtest's interval holds the true gain, and how often its verdict is wrong, on simulated deployments.

Three models of one kind are fitted on rows of their own: the one that serves, the one before it, and a retrained one.
What each is truly worth is measured on many fresh rows; the backtest sees the compared ones alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from bench.rows import Budget, Row
from quarterdeck.deployments.weighing import KEEP, RETRAIN, ROLL_BACK, Comparison, compare, weigh
from quarterdeck.statistics.quality import METRICS, metric

METRICS_TRIED = ("roc_auc", "accuracy")
KINDS: dict[str, Callable[[], Any]] = {
    "logistic regression": LogisticRegression,
    "forest": lambda: RandomForestClassifier(20, min_samples_leaf=3, random_state=0),
}
COMPARED = (180, 500, 2_000)
TRAINING_ROWS, FRESH_ROWS, DEPLOYMENTS = 400, 20_000, 100
WORTH = 0.02
STATED, LEAST = 95.0, 92.3
"""Percent: what is stated, and less the Monte Carlo error of 400 deployments (2.5 standard errors)."""
WRONG = 5.0
"""Percent: of two verdicts that change something, each is wrong in 2.5% at most where nothing is to be gained."""
SEED = 20_262


@dataclass(frozen=True, slots=True)
class Plan:
    """Deployments of one kind."""

    metric: str
    kind: str
    rows: int
    changed: bool = False
    """The inputs mean something else since the model that serves was fitted."""


@dataclass(frozen=True, slots=True)
class Found:
    """Percent of the deployments."""

    inside: float
    wrong: float
    """With a verdict that changes something to what is truly no better than what serves."""
    retrained: float


def measure() -> list[Row]:
    """Where nothing changed, for every metric and number of compared rows; and where the concept did."""
    plans = [Plan(*one) for one in product(METRICS_TRIED, KINDS, COMPARED)]
    changed = [Plan("roc_auc", kind, rows, changed=True) for kind, rows in product(KINDS, COMPARED[:2])]
    with ProcessPoolExecutor(os.cpu_count(), initializer=threadpool_limits, initargs=(1,)) as pool:
        every = [*plans, *changed]
        found = dict(zip(every, pool.map(simulated, every), strict=True))
    made: list[Row] = []
    for rows in COMPARED:
        same = [found[plan] for plan in plans if plan.rows == rows]
        inside, wrong = (sum(getattr(one, name) for one in same) / len(same) for name in ("inside", "wrong"))
        note = ", ".join(f"{plan.metric} {plan.kind} {found[plan].inside:.0f}" for plan in plans if plan.rows == rows)
        case = f"nothing changed, {rows:,} compared rows"
        within = f"{case}: true gains within the interval of {STATED:g}%"
        made.append(Row("backtests", within, inside, "%", Budget("at least", LEAST), note=note))
        made.append(Row("backtests", f"{case}: verdicts that gain nothing", wrong, "%", Budget("at most", WRONG)))
    for rows in COMPARED[:2]:
        shares = [found[plan].retrained for plan in changed if plan.rows == rows]
        case = f"the concept changed, {rows:,} compared rows: verdict retrain"
        made.append(Row("backtests", case, sum(shares) / len(shares), "%", Budget("at least", 90.0)))
    return made


def simulated(plan: Plan) -> Found:
    inside = wrong = retrained = intervals = 0
    for number in range(DEPLOYMENTS):
        random = np.random.default_rng([SEED, number, plan.rows, plan.changed])
        models = {
            ROLL_BACK: _fitted(random, plan, changed=False),
            KEEP: _fitted(random, plan, changed=False),
            RETRAIN: _fitted(random, plan, changed=plan.changed),
        }
        seen, truth = _drawn(random, plan.rows, changed=plan.changed)
        fresh, fresh_truth = _drawn(random, FRESH_ROWS, changed=plan.changed)
        scores = {name: _answers(plan, model, seen) for name, model in models.items()}
        worth = {name: metric(plan.metric, fresh_truth, _answers(plan, model, fresh)) for name, model in models.items()}
        pairs = ((RETRAIN, KEEP), (ROLL_BACK, KEEP), (RETRAIN, ROLL_BACK))
        compared = [compare(of, against, plan.metric, truth, scores, WORTH) for of, against in pairs]
        known = [one for one in compared if one is not None]
        inside += sum(_holds(one, worth) for one in known)
        intervals += len(known)
        verdict = weigh(known, {}).verdict
        retrained += verdict == RETRAIN
        wrong += verdict in (RETRAIN, ROLL_BACK) and worth[verdict] <= worth[KEEP]
    return Found(100 * inside / intervals, 100 * wrong / DEPLOYMENTS, 100 * retrained / DEPLOYMENTS)


def _holds(one: Comparison, worth: dict[str, float]) -> bool:
    return one.low <= worth[one.of] - worth[one.against] <= one.high


def _fitted(random: np.random.Generator, plan: Plan, *, changed: bool) -> Any:
    return KINDS[plan.kind]().fit(*_drawn(random, TRAINING_ROWS, changed=changed))


def _answers(plan: Plan, model: Any, inputs: Any) -> Any:
    if METRICS[plan.metric].needs == "label":
        return model.predict(inputs)
    return model.predict_proba(inputs)[:, 1]


def _drawn(random: np.random.Generator, rows: int, *, changed: bool) -> tuple[Any, Any]:
    """Inputs (rows, 3) and their truth, 0 or 1: the second input counts the other way once the concept changed."""
    inputs = random.normal(size=(rows, 3))
    score = inputs[:, 0] + (inputs[:, 1] if changed else -inputs[:, 1])
    return inputs, (score + random.logistic(scale=0.5, size=rows) > 0).astype(np.float64)
