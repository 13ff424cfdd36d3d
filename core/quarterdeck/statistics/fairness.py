"""How differently a model treats groups of rows: differences of rates, as Fairlearn names and defines them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quarterdeck.statistics.significance import two_shares_p

Measure = Literal["demographic_parity_difference", "equal_opportunity_difference", "equalized_odds_difference"]
LEAST_ROWS = 30
"""Of a group, among the rows that a rate is of: below that it is left out."""
REACH = 1.96
"""Standard errors to either side: 95%."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Disparity:
    """The two groups that are furthest apart."""

    rate: Literal["selected", "found", "falsely selected"]
    """Of all rows; of the true ones; of the false ones."""
    most: str
    least: str
    difference: float
    low: float
    high: float
    """The 95% interval of the difference of these two (Wald)."""
    p_value: float
    """That both have one rate, times the number of pairs that were looked at (Bonferroni); at most 1."""
    rates: dict[str, float]


def disparity(
    measure: Measure, selected: Mask, groups: Mapping[str, Mask], truth: Mask | None = None
) -> Disparity | None:
    """The greatest difference between groups; None where fewer than two have 30 rows.

    `selected` (n,) says which rows were answered with the positive class, `truth` (n,) which are of it. Demographic
    parity compares the share that was selected (Dwork et al. 2012), equal opportunity that among the true rows (Hardt,
    Price and Srebro 2016), equalized odds the larger of that difference and of the one among the false rows.

    Raises:
        ValueError: the measure needs the truth.
    """
    if measure == "demographic_parity_difference":
        return _furthest("selected", selected, groups, np.ones(selected.size, dtype=bool))
    if truth is None:
        raise ValueError(f"{measure} needs the truth of the rows.")
    found = _furthest("found", selected, groups, truth)
    if measure == "equal_opportunity_difference":
        return found
    falsely = _furthest("falsely selected", selected, groups, ~truth)
    return max((one for one in (found, falsely) if one is not None), key=lambda one: one.difference, default=None)


def _furthest(
    rate: Literal["selected", "found", "falsely selected"], selected: Mask, groups: Mapping[str, Mask], among: Mask
) -> Disparity | None:
    sizes = {name: int((mask & among).sum()) for name, mask in groups.items()}
    counts = {name: int((groups[name] & among & selected).sum()) for name, n in sizes.items() if n >= LEAST_ROWS}
    if len(counts) < 2:
        return None
    rates = {name: count / sizes[name] for name, count in counts.items()}
    most, least = max(rates, key=lambda name: rates[name]), min(rates, key=lambda name: rates[name])
    difference = rates[most] - rates[least]
    variance = sum(rates[name] * (1 - rates[name]) / sizes[name] for name in (most, least))
    pairs = len(rates) * (len(rates) - 1) // 2
    p = min(1.0, pairs * two_shares_p(counts[most], sizes[most], counts[least], sizes[least]))
    reach = REACH * math.sqrt(variance)
    return Disparity(rate, most, least, difference, difference - reach, difference + reach, p, rates)
