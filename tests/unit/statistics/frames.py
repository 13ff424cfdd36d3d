"""Frames of simulated columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quarterdeck.statistics.drift import Column

Rng = np.random.Generator

_SHARES = [0.5, 0.3, 0.1, 0.07, 0.03]
_MANY = [f"c{number}" for number in range(40)]
_NUMERIC: list[Callable[[Rng, int], NDArray[Any]]] = [
    lambda rng, rows: rng.normal(size=rows),
    lambda rng, rows: rng.lognormal(size=rows),
    lambda rng, rows: rng.pareto(1.5, size=rows),
    lambda rng, rows: np.where(rng.random(rows) < 0.4, 0.0, rng.exponential(size=rows)),
    lambda rng, rows: rng.poisson(2, rows).astype(np.float64),
]


def numeric(values: Any, name: str = "amount") -> Column:
    return Column(name, "numeric", np.asarray(values, dtype=np.float64))


def categorical(values: Any, name: str = "channel") -> Column:
    return Column(name, "categorical", np.array(values, dtype=object))


def mixed_frame(rng: Rng, rows: int, columns: int) -> list[Column]:
    """Columns that cycle through normal, heavy-tailed, zero-inflated, count, few and many categories."""
    frame = []
    for position in range(columns):
        kind, name = position % 7, f"column_{position}"
        if kind < 5:
            frame.append(numeric(_NUMERIC[kind](rng, rows), name))
        elif kind == 5:
            frame.append(categorical(rng.choice(list("abcde"), rows, p=_SHARES), name))
        else:
            frame.append(categorical(rng.choice(_MANY, rows), name))
    return frame
