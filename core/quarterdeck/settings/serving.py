"""The parts of quarterdeck.toml by which versions serve and are watched: deployments, monitors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime, Field, field_validator, model_validator

from quarterdeck.settings.section import Section
from quarterdeck.values import Duration, Name

MetricName = Literal["accuracy", "f1", "log_loss", "roc_auc", "average_precision", "mae", "rmse", "r2"]


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


class MonitorSettings(Section):
    deployment: Name
    """The deployment to watch."""
    window: Duration = timedelta(days=1)
    """Length of a window, in event time. Windows do not overlap and are aligned to `origin`."""
    origin: AwareDatetime = datetime(1970, 1, 5, tzinfo=UTC)
    """A moment at which a window begins: a Monday, so that weekly windows begin on Mondays."""
    grace: Duration = timedelta(minutes=5)
    """A window is judged once the newest event time lies this far behind its end."""
    every: Duration = timedelta(minutes=5)
    """How often to look for windows that can be judged."""
    columns: tuple[str, ...] = ()
    """The features to watch; all of them when empty."""
    rule: Literal["quarterdeck", "evidently"] = "quarterdeck"
    """Whose verdict counts: ours, which minds the sizes, or that of Evidently's DataDriftPreset, which does not."""
    threshold: float = Field(default=0.1, gt=0)
    """The effect from which a significant shift is called drift."""
    significance: float = Field(default=0.05, gt=0, lt=1)
    """Bound on the Benjamini-Hochberg q value."""
    minimum_rows: int = Field(default=180, ge=2)
    """Below this many rows a window that shows no drift is inconclusive, not quiet."""
    persistence: tuple[int, int] = (2, 3)
    """Open an alert when a finding stands in `m` of the last `k` windows."""
    metric: MetricName | None = None
    """The quality metric to follow when labels arrive; by default roc_auc (two classes), f1 or rmse."""
    tolerance: float = Field(default=0.1, gt=0)
    """The relative loss of quality from which a significant loss is a finding."""
    label_coverage: float = Field(default=0.6, gt=0, le=1)
    """A window's quality is judged once this share of its predictions has labels."""
    warning: float = Field(default=0.02, ge=0)
    """Severity score from which an alert is a warning; below it is informational and tells nobody."""
    page: float = Field(default=0.1, ge=0)
    """Severity score from which an alert pages."""
    owner: str | None = None
    """Who is asked about its alerts: shown with each of them."""
    runbook: str | None = None
    """What to do about its alerts, as a URL: shown with each of them, and sent along."""

    @model_validator(mode="after")
    def _persistence_is_possible(self) -> MonitorSettings:
        needed, of = self.persistence
        if not 1 <= needed <= of:
            raise ValueError("persistence = [m, k] needs 1 <= m <= k")
        return self
