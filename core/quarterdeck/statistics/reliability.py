"""Whether probabilities come true as often as they say: the reliability curve, and its mean distance from the diagonal.

Expected calibration error: Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian
Binning"; with bins of equal size, as Nixon et al. 2019 ("Measuring Calibration in Deep Learning") have them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from quarterdeck.statistics.distance import Floats

BINS, LEAST_IN_BIN = 10, 20


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows with like probabilities."""

    rows: int
    said: float
    """The mean of their probabilities."""
    came: float
    """The share of them that came true."""


@dataclass(frozen=True, slots=True)
class Reliability:
    bins: tuple[Bin, ...]
    """By probability, of equal size."""
    error: float
    """The mean of |came - said|, weighted by rows. Above 0 by chance alone, the more the fewer rows there are."""
    by_chance: float
    """What probabilities that are right would stay below in 95% of windows like this one."""

    @property
    def calibrated(self) -> bool:
        return self.error <= self.by_chance


def reliability(truth: ArrayLike, probability: ArrayLike, *, draws: int = 500, seed: int = 0) -> Reliability | None:
    """Compare probabilities (n,) with what came true (n,), 0 or 1; None where there is no row.

    At most ten bins with at least 20 rows each. `by_chance` is found by drawing truths from the probabilities
    themselves (consistency resampling; Brocker and Smith 2007).

    Raises:
        ValueError: unequal lengths, or numbers out of their range.
    """
    came, said = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if came.shape != said.shape or not np.isin(came, (0.0, 1.0)).all() or not ((said >= 0) & (said <= 1)).all():
        raise ValueError("A reliability curve needs truths of 0 and 1, and as many probabilities.")
    if not came.size:
        return None
    order = np.argsort(said, kind="stable")
    came, said = came[order], said[order]
    starts = np.unique(np.linspace(0, said.size, max(1, min(BINS, said.size // LEAST_IN_BIN)) + 1).astype(int))[:-1]
    rows = np.diff(np.append(starts, said.size))
    means = np.add.reduceat(said, starts) / rows

    def error(truths: Floats) -> Floats:
        """(r,) of truths (r, n)."""
        shares = np.add.reduceat(truths, starts, axis=1) / rows
        return np.asarray(np.abs(shares - means) @ rows / said.size)

    rng = np.random.default_rng(seed)
    drawn = np.concatenate([error((rng.random((1, said.size)) < said).astype(np.float64)) for _ in range(draws)])
    bins = zip(rows.tolist(), means.tolist(), (np.add.reduceat(came, starts) / rows).tolist(), strict=True)
    return Reliability(tuple(Bin(*one) for one in bins), float(error(came[None])[0]), float(np.quantile(drawn, 0.95)))
