"""When a stream of losses began to be higher: concept drift, as the error stream shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from quarterdeck.statistics.distance import Floats

Detector = Literal["adwin", "page_hinkley"]

ADWIN_DELTA = 0.002
"""Bound on a false alarm of one cut (Bifet and Gavalda 2007)."""
PH_DELTA, PH_THRESHOLD, PH_ROWS = 0.25, 50.0, 30
"""In standard deviations of the reference's losses. In simulation (3,000 rows behind a reference of 600, losses of a
calibrated classifier) none of 400 streams without a change crossed the threshold."""


@dataclass(frozen=True, slots=True)
class Change:
    """The first moment at which a detector saw that losses had risen."""

    detector: Detector
    place: int
    """Of the row, counted from 0."""
    before: float
    """Mean loss of the reference."""
    after: float
    """Mean loss from that row on."""


def find_rise(reference: Floats, stream: Floats) -> Change | None:
    """Follow the losses of a stream (n,), in order of time, behind those of a reference (m,), in any order.

    ADWIN cuts where two parts of what it remembers differ; Page-Hinkley (Page 1954) sums up what exceeds the mean. Both
    have learnt from the reference first, so that a stream which is worse from its first row on is found too. A change
    for the better is none. None, too, where the reference is empty or the stream is.
    """
    if not reference.size or not stream.size:
        return None
    from river.drift import ADWIN, PageHinkley

    mean, spread = float(reference.mean()), float(reference.std())
    # ADWIN's bound is for numbers from 0 to 1.
    most = float(reference.max()) or 1.0
    cuts = ADWIN(delta=ADWIN_DELTA)
    sums = PageHinkley(min_instances=PH_ROWS, delta=PH_DELTA, threshold=PH_THRESHOLD, mode="up")
    for value in reference.tolist():
        cuts.update(min(value / most, 1.0))
    for place, value in enumerate(stream.tolist()):
        known = float(cuts.estimation)
        cuts.update(min(value / most, 1.0))
        sums.update((value - mean) / (spread or 1.0))
        seen: Detector | None = "page_hinkley" if sums.drift_detected else None
        if cuts.drift_detected and float(cuts.estimation) > known:
            seen = "adwin"
        if seen is None:
            continue
        after = float(np.mean(stream[place:]))
        if after > mean:
            return Change(seen, place, mean, after)
    return None
