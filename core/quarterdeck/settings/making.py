"""The parts of quarterdeck.toml by which versions are made: datasets, pipelines, schedules, models."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field, model_validator

from quarterdeck.errors import UsageError
from quarterdeck.settings.section import Section
from quarterdeck.values import Duration, Name, Size


class DatasetSettings(Section):
    target: str | None = None
    """The column to predict."""
    time: str | None = None
    """The column with the event time. It is not a feature."""
    key: str | None = None
    """The column with the row's own key, by which labels find their prediction. It is not a feature."""
    weight: str | None = None
    """The column with row weights. It is not a feature."""
    exclude: tuple[str, ...] = ()
    """Columns that are kept in the data and are no features."""
    header: tuple[str, ...] = ()
    """Column names of a CSV file without a header line."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """The separator of a CSV file; found out when not given."""
    strip: bool = False
    """Remove blanks around text values before anything else."""
    missing: tuple[str, ...] = ()
    """Text values that mean a missing value, beside the empty one."""
    replace: dict[str, dict[str, str]] = Field(default_factory=dict)
    """For each column, text values to replace: `replace.income = {"<=50K." = "<=50K"}`."""


class PipelineSettings(Section):
    concurrency: int | None = Field(default=None, ge=1, le=64)
    """Runs of this pipeline at once; by default only `runner.concurrency` limits them."""
    pool: Name | None = None
    """The pool, one of `pools`, in which its runs need a slot."""
    priority: int = Field(default=0, ge=-100, le=100)
    """Among jobs that are due, the highest goes first."""
    retries: int = Field(default=0, ge=0, le=20)
    """How often a run that failed is tried again, later each time, before it waits for a person."""
    timeout: Duration | None = None
    """A run that takes longer is ended."""
    memory: Size | None = None
    """A run whose processes use more memory is ended, and says so: `"2GB"`."""


class ScheduleSettings(Section):
    pipeline: Name | None = None
    """The pipeline to run."""
    score: Name | None = None
    """The batch deployment that scores `input` into `output`, instead of a pipeline."""
    input: str | None = None
    """The table to score, from the folder of quarterdeck.toml; `{date}` is the day of the tick, in `timezone`."""
    output: str | None = None
    """The table to write, with `{date}` likewise: `"scored/{date}.parquet"`."""
    cron: str | None = None
    """Minute, hour, day of month, month, day of week (0 is Sunday), in `timezone`."""
    every: Duration | None = None
    """A fixed interval, instead of `cron`."""
    on_data: Name | None = None
    """Run when this dataset gets a new version, instead of `cron` or `every`."""
    timezone: str = "UTC"
    """The zone of `cron`."""
    parameters: dict[str, str | int | float | bool] = Field(default_factory=dict)
    """Parameters of the runs: `"estimator.C" = 0.5`."""
    paused: bool = False
    """Do not fire."""
    overlap: Literal["skip", "queue", "replace"] = "skip"
    """When a tick comes while the work of an earlier one goes on: leave the tick out, wait, or cancel the earlier."""
    misfire: Literal["once", "skip", "each"] = "once"
    """After ticks were missed (nobody ran, the machine slept): fire for the last one, for none, or for each."""
    grace: Duration = timedelta(hours=1)
    """A tick that was missed longer ago than this is left out."""

    @model_validator(mode="after")
    def _exactly_one_trigger(self) -> ScheduleSettings:
        given = [name for name in ("cron", "every", "on_data") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of cron, every and on_data")
        return self

    @model_validator(mode="after")
    def _fires(self) -> ScheduleSettings:
        if self.cron is None:
            return self
        # APScheduler takes a tenth of a second to import, and most settings have no crontab line.
        from quarterdeck.triggers import cron_trigger, fire_after

        try:
            trigger = cron_trigger(self.cron, self.timezone)
        except UsageError as error:
            raise ValueError(str(error).rstrip(".")) from None
        if fire_after(trigger, datetime.now(UTC)) is None:
            raise ValueError(f"cron = '{self.cron}' names a day that never comes")
        return self

    @model_validator(mode="after")
    def _exactly_one_target(self) -> ScheduleSettings:
        if (self.pipeline is None) == (self.score is None):
            raise ValueError("give exactly one of pipeline and score")
        if (self.score is not None) != (self.input is not None) or (self.score is not None) != (
            self.output is not None
        ):
            raise ValueError("score needs input and output, and only score takes them")
        return self


class Bound(Section):
    min: float | None = None
    """The metric must be at least this."""
    max: float | None = None
    """The metric must be at most this."""


class ModelSettings(Section):
    gate: dict[str, Bound] = Field(default_factory=dict)
    """Bounds on the metrics of the holdout: `gate.roc_auc = {min = 0.8}`. A missing metric fails the gate."""
    deploy: Name | None = None
    """A deployment that takes each new version that its gate did not refuse."""
    convert: bool = True
    """Serve by ONNX Runtime where a converted estimator gives the same answers."""
    load_timeout: Duration = timedelta(minutes=1)
    """A version that takes longer to start, load and answer its first rows is given up."""
    timeout: Duration = timedelta(seconds=30)
    """A model in a process of its own that takes longer for a request is killed and started again, and answered 504."""
    memory: Size | None = None
    """A version that uses more while it is tried, or later in a process of its own, is ended, and says so: `"2GB"`."""
