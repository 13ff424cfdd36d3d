"""The part of quarterdeck.toml that says what follows from a monitor's alerts: reactions."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator, model_validator

from quarterdeck.settings.section import Section
from quarterdeck.values import Duration, Name

AlertName = Literal[
    "drift",
    "missing",
    "quality",
    "outage",
    "estimate",
    "predictions",
    "fairness",
    "across",
    "traffic",
    "unseen",
    "slo",
    "skew",
]
SeverityName = Literal["informational", "warning", "page"]
Deed = Literal["retrain", "rollback", "tell"]
NOT_TO_RETRAIN = {
    "drift": "while an alert on inputs is open retraining is held, so it would never come",
    "missing": "while an alert on inputs is open retraining is held, so it would never come",
    "unseen": "while an alert on inputs is open retraining is held, so it would never come",
    "skew": "training would go on with values that are not those that are served",
    "outage": "a version that took the gateway along is not mended by training",
}


class ReactionSettings(Section):
    on: tuple[AlertName, ...] = Field(min_length=1)
    """The kinds of alerts that it follows: one as a text, or several as a list."""
    severity: SeverityName = "page"
    """The least severity that it follows."""
    do: Deed
    """Run a pipeline, roll back to the last known-good version, or only tell."""
    pipeline: Name | None = None
    """The pipeline that `retrain` runs. The gate of what it registers decides about that, as always."""
    parameters: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Parameters of that run: `"estimator.C" = 0.5`."""
    cooldown: Duration = timedelta(hours=6)
    """After it fired it does not fire again for so long, whatever the alert."""
    daily_limit: int = Field(default=1, ge=1)
    """How often it fires within 24 hours at most."""
    backtest: bool | None = None
    """Fire only when a backtest speaks for it, and say what that found; by default for `retrain` and `rollback`. An
    outage waits for none."""

    @field_validator("on", mode="before")
    @classmethod
    def _one_is_enough(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _pipeline_goes_with_retrain(self) -> ReactionSettings:
        if (self.do == "retrain") != (self.pipeline is not None):
            raise ValueError('do = "retrain" goes with pipeline = "NAME", and pipeline with that')
        if self.parameters and self.do != "retrain":
            raise ValueError('parameters go with do = "retrain"')
        return self

    @model_validator(mode="after")
    def _retrain_can_come(self) -> ReactionSettings:
        for kind in self.on if self.do == "retrain" else ():
            if kind in NOT_TO_RETRAIN:
                raise ValueError(f'do = "retrain" does not go with on = "{kind}": {NOT_TO_RETRAIN[kind]}')
        return self

    @property
    def name(self) -> str:
        """What tells it from the monitor's others: `rollback`, `retrain/train`."""
        return self.do if self.pipeline is None else f"{self.do}/{self.pipeline}"

    @property
    def asks_backtest(self) -> bool:
        return self.do != "tell" if self.backtest is None else self.backtest
