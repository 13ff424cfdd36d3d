"""What wrong answers cost, in money: by a cost matrix for classes, by the unit for numbers."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from quarterdeck.errors import SettingsError
from quarterdeck.monitoring.monitor import Monitor
from quarterdeck.registry.signature import Signature
from quarterdeck.statistics.distance import Floats
from quarterdeck.values import plain

DAY = timedelta(days=1)
REACH = 1.96
"""Standard errors to either side of a mean: 95%."""


@dataclass(frozen=True, slots=True)
class Excess:
    """What a window's answers cost more than those on the holdout did."""

    currency: str
    before: float
    """Of one answer to the holdout."""
    now: float
    """Of one answer of the window."""
    a_day: float
    """The difference, times the answers of a day; negative where they cost less."""
    low: float
    high: float
    """The 95% interval of that (the normal approximation of both means)."""

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


class CostTable:
    """The costs that a monitor's settings name, for one version's answers."""

    def __init__(self, monitor: Monitor, signature: Signature) -> None:
        """Raises SettingsError: a class that the version does not answer is named, or another kind of costs."""
        settings = monitor.settings.costs
        assert settings is not None
        self.currency = settings.currency
        place = f"[monitors.{monitor.name}.costs]"
        self._under, self._over = settings.under, settings.over
        self._table: Floats | None = None
        if signature.classes is None:
            if settings.matrix:
                raise SettingsError(f"{place} has a matrix, and the model answers numbers: name `under` and `over`.")
            return
        if settings.under or settings.over:
            raise SettingsError(f"{place} names `under` or `over`, and the model answers classes: name a `matrix`.")
        known = {plain(label): number for number, label in enumerate(signature.classes)}
        named = {name for truth, costs in settings.matrix.items() for name in (truth, *costs)}
        if named - known.keys():
            raise SettingsError(
                f"{place} has costs of {', '.join(sorted(named - known.keys()))}; the model answers {', '.join(known)}."
            )
        # One more row and column of zeros, for what the model does not know: position -1.
        self._table = np.zeros((len(known) + 1, len(known) + 1))
        for truth, costs in settings.matrix.items():
            for answer, cost in costs.items():
                self._table[known[truth], known[answer]] = cost

    def of(self, truth: Floats, answered: Floats) -> Floats:
        """The cost of each row (n,): numbers, or positions in the signature's classes."""
        if self._table is not None:
            return np.asarray(self._table[truth.astype(np.int64), answered.astype(np.int64)])
        errors = answered - truth
        return np.where(errors > 0, errors * self._over, -errors * self._under)

    def expected(self, shares: Floats, answered: Floats) -> Floats:
        """The cost of each row (n,) whose truth is only known by the shares (n, classes) of what it may be."""
        assert self._table is not None
        return np.asarray((shares * self._table[:-1, answered.astype(np.int64)].T).sum(axis=1))

    def excess(self, before: Floats, now: Floats, rows: int, length: timedelta) -> Excess | None:
        """What `rows` answers of a window of that length cost more, where `now` (m,) is known of some of them."""
        if not before.size or not now.size or length <= timedelta(0):
            return None
        per_day = rows * (DAY / length)
        gap = float(now.mean() - before.mean())
        error = math.sqrt(float(now.var()) / now.size + float(before.var()) / before.size)
        low, high = (per_day * (gap + way * REACH * error) for way in (-1, 1))
        return Excess(self.currency, float(before.mean()), float(now.mean()), per_day * gap, low, high)
