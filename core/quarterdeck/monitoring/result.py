"""What one evaluation of one window found."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from quarterdeck.database import Entity, choice_column, json_column, time_column


class Aspect(StrEnum):
    """What was judged."""

    INPUTS = "inputs"
    """The columns of the window against the reference of a version."""
    QUALITY = "quality"
    """The predictions of the window against their labels."""
    ESTIMATE = "estimate"
    """The same without labels: what the version's own holdout lets expect of its predictions."""
    PREDICTIONS = "predictions"
    """The answers of the window against those to the holdout."""
    FAIRNESS = "fairness"
    """How differently groups are treated by the answers."""
    ACROSS = "across"
    """The columns of the window together, beyond what each of them shows."""
    TRAFFIC = "traffic"
    """Whether what should come comes: requests, labels, answers."""
    SKEW = "skew"
    """What was served against what the data for training says of the same rows."""


class Verdict(StrEnum):
    QUIET = "quiet"
    FOUND = "found"
    """At least one finding: see the scores."""
    INCONCLUSIVE = "inconclusive"
    """Too little data to say: never the same as quiet."""


OF_ALL_VERSIONS = (Aspect.INPUTS, Aspect.ACROSS, Aspect.TRAFFIC, Aspect.SKEW)
"""About what comes in: the same whatever version answers."""
SILENCE = "silence"
"""The signal of traffic that came and comes no more."""
VERDICTS = {"verdict": "severity", "missing_verdict": "missing_severity", "unseen_verdict": "unseen_severity"}
"""What is said of a column, and how much each weighs: of its distribution, its missing values, and those never seen
before. Of answers, and in what was judged by an older Quarterdeck, not all are there."""


def moved(row: dict[str, Any], floor: float = 0.0) -> bool:
    """Whether something was found in a column that weighs at least so much."""
    return any(
        row.get(verdict) == "drifted" and row.get(weight, floor) >= floor for verdict, weight in VERDICTS.items()
    )


class Result(Entity, table=True):
    """One window of one monitor, judged against one version."""

    __tablename__ = "monitor_result"
    __table_args__ = (
        UniqueConstraint("monitor", "window_start", "aspect", "version"),
        Index("ix_result_version", "deployment", "version", "window_end"),
    )

    id: int | None = Field(default=None, primary_key=True)
    monitor: str = Field(index=True)
    deployment: str
    aspect: Aspect = Field(sa_column=choice_column("aspect", Aspect))
    version: int
    """The version whose reference or predictions were judged."""
    served: bool
    """True when this version answered the window's requests; false when it was judged for comparison:
    would the window have looked strange to that version too?"""
    window_start: datetime = Field(sa_column=time_column(required=True))
    window_end: datetime = Field(sa_column=time_column(required=True))
    n_reference: int
    n_current: int
    n_labelled: int = 0
    verdict: Verdict = Field(sa_column=choice_column("verdict", Verdict))
    scores: list[dict[str, Any]] = Field(sa_column=json_column())
    """For inputs and predictions a `ColumnScore` with its slice and severity for each column; for traffic and across
    a row for each signal (`monitoring.arrivals`, `monitoring.across`); for quality and estimate one row: metric,
    baseline, low, value, high, loss, severity (`monitoring.quality`). Of a window too large to be held each says as
    `sampled` how many rows it goes by, and the effect of an input, which goes by all, its `error`."""
    evaluated_at: datetime = Field(sa_column=time_column(required=True))
