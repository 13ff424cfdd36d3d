"""How often monitors cry wolf, and how often they find what is there, by size; what Evidently's preset says beside.

Every simulated monitor has twenty columns of one family, a reference of 2,000 rows and one window. What Evidently's
preset says comes from `quarterdeck.statistics.preset`, whose figures are Evidently's to a millionth (a test runs both).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.peers import name_with_version
from bench.rows import Budget, Row
from quarterdeck.statistics.drift import Column, PreparedColumn, prepare, score_columns
from quarterdeck.statistics.preset import preset_figure

REFERENCE_ROWS, COLUMNS = 2_000, 20
SIZES = (50, 100, 200, 500, 1_000, 5_000)
MONITORS = 2_000
MOST_FALSE = 6.2
"""Percent: the 5% that are meant, and the Monte Carlo error of 2,000 monitors (2.5 standard errors)."""
FOUND = 70.0
SEED = 20_260
FAMILIES: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "normal": lambda random, rows: random.normal(size=rows),
    "lognormal": lambda random, rows: random.lognormal(size=rows),
    "Pareto": lambda random, rows: random.pareto(2.0, rows),
    "zero-inflated": lambda random, rows: np.where(random.random(rows) < 0.5, 0.0, random.lognormal(size=rows)),
    "integer": lambda random, rows: random.poisson(3, rows).astype(np.float64),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Simulated monitors of one kind."""

    family: str
    rows: int
    monitors: int
    shift: float = 0.0
    """By which the first column moves, in standard deviations of its family."""
    reference_rows: int = REFERENCE_ROWS


@dataclass(frozen=True, slots=True)
class Found:
    """How many monitors said that a column drifted, and how many that the first one did."""

    any: int
    first: int
    any_preset: int
    first_preset: int


def measure() -> list[Row]:
    """Monitors on which nothing moves, on which one column moves, and one that moves by next to nothing."""
    still = [Plan(family, rows, MONITORS // len(FAMILIES)) for rows in SIZES for family in FAMILIES]
    moved = [Plan("normal", rows, MONITORS, shift) for rows, shift in ((200, 0.3), (100, 0.4), (100, 0.3))]
    tiny = [Plan("normal", 100_000, 20, 0.02, reference_rows=100_000)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip((*still, *moved, *tiny), pool.map(simulate, (*still, *moved, *tiny)), strict=True))
    peer = name_with_version("evidently")
    rows: list[Row] = []
    for size in SIZES:
        of_size = {plan: found[plan] for plan in still if plan.rows == size}
        case = f"nothing moved, windows of {size:,} rows: monitors with a drifted column"
        ours, theirs = (_percent(of_size, which) for which in ("any", "any_preset"))
        each = ", ".join(f"{plan.family} {_percent({plan: one}, 'any'):.1f}" for plan, one in of_size.items())
        rows.append(Row("calibration", case, ours, "%", Budget("at most", MOST_FALSE), peer, theirs, each))
    for plan in moved:
        # At 100 rows no test finds a shift of 0.3 in 46% of cases.
        budget = None if (plan.rows, plan.shift) == (100, 0.3) else Budget("at least", FOUND)
        case = f"one of 20 columns moved by {plan.shift} standard deviations, windows of {plan.rows} rows: found"
        ours, theirs = (_percent({plan: found[plan]}, which) for which in ("first", "first_preset"))
        rows.append(Row("calibration", case, ours, "%", budget, peer, theirs))
    for plan in tiny:
        case = (
            f"one of 20 columns moved by {plan.shift} standard deviations, windows of {plan.rows:,} rows: called drift"
        )
        ours, theirs = (_percent({plan: found[plan]}, which) for which in ("any", "any_preset"))
        rows.append(Row("calibration", case, ours, "%", Budget("at most", 0.0), peer, theirs))
    return rows


def simulate(plan: Plan) -> Found:
    """Run the monitors of a plan; the same plan gives the same numbers."""
    names = list(FAMILIES)
    counts = [0, 0, 0, 0]
    for number in range(plan.monitors):
        random = np.random.default_rng([SEED, names.index(plan.family), plan.rows, round(100 * plan.shift), number])
        before = _frame(random, plan, plan.reference_rows, 0.0)
        after = _frame(random, plan, plan.rows, plan.shift)
        scores = score_columns(before, after, seed=number)
        ours = [score.verdict == "drifted" for score in scores]
        figures = [preset_figure(one, other) for one, other in zip(before, after, strict=True)]
        theirs = [figure is not None and figure.drifted for figure in figures]
        for place, said in enumerate((any(ours), ours[0], any(theirs), theirs[0])):
            counts[place] += said
    return Found(*counts)


def _frame(random: np.random.Generator, plan: Plan, rows: int, shift: float) -> list[PreparedColumn]:
    sample = FAMILIES[plan.family]
    columns = [Column(f"c{number}", "numeric", sample(random, rows)) for number in range(COLUMNS)]
    columns[0].values[:] += shift
    return prepare(columns)


def _percent(found: dict[Plan, Found], which: str) -> float:
    said = math.fsum(getattr(one, which) for one in found.values())
    return 100 * said / sum(plan.monitors for plan in found)
