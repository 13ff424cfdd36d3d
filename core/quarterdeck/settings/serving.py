"""The parts of quarterdeck.toml by which versions serve: deployments."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator, model_validator

from quarterdeck.settings.kpis import KpiSettings
from quarterdeck.settings.objectives import ObjectiveSettings
from quarterdeck.settings.section import Section
from quarterdeck.values import Duration, Name


class ColumnSettings(Section):
    missing: Literal["reject", "impute", "fallback"] | None = None
    """A request that lacks the column, or has null in it: refuse it, put a value in, or let the fallback answer. When
    not given, one that lacks the column is refused, and null is passed on to a model that takes it."""
    value: str | int | float | bool | None = None
    """What `impute` puts in; by default the training data's median, or most frequent value."""

    @model_validator(mode="after")
    def _value_is_put_in(self) -> ColumnSettings:
        if self.value is not None and self.missing != "impute":
            raise ValueError('value needs missing = "impute"')
        return self


class FallbackSettings(Section):
    constant: str | int | float | bool | None = None
    """The answer to every row."""
    rule: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """`module:function` of the workspace's folder, instead of `constant`: takes a row as a dictionary of its columns,
    where None is missing, and returns the label or the number."""
    version: int | None = Field(default=None, ge=1)
    """Another version of the model, instead of `constant`."""

    @model_validator(mode="after")
    def _exactly_one_kind(self) -> FallbackSettings:
        if sum(given is not None for given in (self.constant, self.rule, self.version)) != 1:
            raise ValueError("give exactly one of constant, rule and version")
        return self


class DeploymentSettings(Section):
    protected: bool = False
    """Ask for the deployment's name and a reason before a change."""
    probation: Duration = timedelta(minutes=5)
    """How long a revision must have served before it can be called known good."""
    probation_requests: int = Field(default=100, ge=0)
    """How many requests a revision must have served before it can be called known good."""
    record: float = Field(default=1.0, ge=0, le=1)
    """The share of requests that are recorded: chosen by the request's id, so that it is the same on every worker."""
    omit: tuple[str, ...] = ()
    """Features whose values are not recorded, and so not monitored either."""
    columns: dict[str, ColumnSettings] = Field(default_factory=dict)
    """What becomes of requests without a value, for each column: `[deployments.NAME.columns.COLUMN]`."""
    fallback: FallbackSettings | None = None
    """What answers instead of the model, where a column sends a request there: `[deployments.NAME.fallback]`."""
    slo: ObjectiveSettings | None = None
    """How good it has to be, and when somebody hears that it is not: `[deployments.NAME.slo]`."""
    kpis: dict[Name, KpiSettings] = Field(default_factory=dict)
    """Figures of the business that stand beside its alerts: `[deployments.NAME.kpis.KPI]`."""
    rollback_command: tuple[str, ...] = ()
    """Served elsewhere: what rolls back there, as a program and its arguments, with `{version}` and `{deployment}`."""
    version_probe: str | tuple[str, ...] = ()
    """Served elsewhere: a URL, or a program and its arguments, that tells which version answers there."""
    probe_every: Duration = timedelta(minutes=5)
    """How often the runner asks the `version_probe`."""
    command_timeout: Duration = timedelta(minutes=5)
    """A `rollback_command` or `version_probe` that takes longer is ended, and has failed."""

    @model_validator(mode="after")
    def _fallback_is_there(self) -> DeploymentSettings:
        for name, column in self.columns.items():
            if column.missing == "fallback" and self.fallback is None:
                raise ValueError(f'columns.{name}.missing = "fallback" needs a [deployments.NAME.fallback]')
        return self

    @field_validator("version_probe")
    @classmethod
    def _url_or_arguments(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(value, str) and not value.startswith(("http://", "https://")):
            raise ValueError('give a URL, or a list: version_probe = ["program", "argument"]')
        return value
