"""A backtest: would retraining on recent data have beaten keeping what serves, and beaten rolling back?"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Field

from quarterdeck.database import Entity, choice_column, json_column, time_column


class BacktestVerdict(StrEnum):
    """What the labelled traffic speaks for."""

    RETRAIN = "retrain"
    """Retraining gains something, against keeping and against rolling back."""
    ROLL_BACK = "roll back"
    """Rolling back gains something, and that retraining gains more is not shown."""
    KEEP = "keep"
    """Neither would gain what is worth it."""
    UNDECIDED = "not enough evidence"
    """What is missing is said. No data is never a pass."""


class Backtest(Entity, table=True):
    """A request for the comparison, and its outcome once a job has made it."""

    id: int | None = Field(default=None, primary_key=True)
    deployment_id: int = Field(foreign_key="deployment.id", index=True)
    version: int
    """The version that serves."""
    alert: int | None = None
    """The alert for which a policy asks; None where a person does."""
    requested_by: str
    requested_at: datetime = Field(sa_column=time_column(required=True))
    finished_at: datetime | None = Field(default=None, sa_column=time_column())
    verdict: BacktestVerdict | None = Field(
        default=None, sa_column=choice_column("verdict", BacktestVerdict, required=False)
    )
    outcome: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """A `weighing.Weighed` as a dictionary and what it rests on: see `backtesting`; or error."""

    @property
    def reference(self) -> str:
        return f"backtest/{self.id}"
