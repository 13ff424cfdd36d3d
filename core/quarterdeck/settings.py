"""quarterdeck.toml, typed. Every key is documented under itself; `QUARTERDECK_GATEWAY__PORT=9000` overrides one."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentSettingsError

from quarterdeck.errors import SettingsError, UsageError
from quarterdeck.values import Duration, Name, Size

MetricName = Literal["accuracy", "f1", "log_loss", "roc_auc", "average_precision", "mae", "rmse", "r2"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkspaceSettings(Section):
    name: str = "quarterdeck"
    """Shown in the console's first line."""
    environment: str = "development"
    """The environment stripe of the console: `production` is shown in red."""
    read_only: bool = False
    """Refuse every write, from the console, the command line and Python alike."""
    pipelines: str = "pipelines"
    """The folder, beside quarterdeck.toml, whose modules define pipelines."""


class GatewaySettings(Section):
    host: str = "127.0.0.1"
    """The address to listen on. Where it is not loopback, ask for tokens, and set a certificate."""
    port: int = Field(default=8480, ge=0, le=65535)
    """The port to listen on. 0 takes a free one; `quarterdeck status` says which."""
    workers: int = Field(default=1, ge=1, le=32)
    """Worker processes on that port."""
    max_body_bytes: int = Field(default=32 * 1024 * 1024, ge=1024)
    """A larger request body is answered with 413."""
    models_in_memory: int = Field(default=8, ge=2)
    """Loaded models kept by each worker. The serving and the last known-good one are always kept."""
    record_queue: int = Field(default=20_000, ge=100)
    """Predictions waiting to be recorded. What does not fit is counted and shown, never dropped silently."""
    require_token: bool = False
    """Answer only requests with a token (`quarterdeck token create`); health is told to everybody."""
    tls_certificate: Path | None = None
    """A PEM file with the gateway's certificate and what leads up to it: then it speaks HTTPS alone."""
    tls_key: Path | None = None
    """A PEM file with the certificate's private key."""

    @property
    def scheme(self) -> str:
        return "https" if self.tls_certificate else "http"

    @model_validator(mode="after")
    def _certificate_has_key(self) -> GatewaySettings:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together: set both or none")
        return self


class RunnerSettings(Section):
    concurrency: int = Field(default=2, ge=1, le=64)
    """Jobs that run at once."""
    lease: Duration = timedelta(seconds=60)
    """How long a runner keeps its place without a heartbeat; then another one takes over."""
    heartbeat: Duration = timedelta(seconds=10)
    """How often a runner renews its lease."""
    timeout: Duration = timedelta(days=1)
    """A job that runs longer is ended, unless `pipelines.NAME.timeout` says otherwise."""
    memory: Size | None = None
    """A job whose processes use more is ended, unless `pipelines.NAME.memory` says otherwise: `"2GB"`."""
    heartbeat_url: str | None = None
    """Gets a JSON POST at every `heartbeat_every` while the runner works: whoever waits for it learns of a dead box."""
    heartbeat_every: Duration = timedelta(minutes=1)
    """How often `heartbeat_url` is told."""


class PoolSettings(Section):
    slots: int = Field(default=1, ge=0, le=1000)
    """Jobs of this pool that run at once. 0 holds them all."""


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


class LogSettings(Section):
    mask: tuple[str, ...] = ()
    """Names of environment variables whose values are replaced by `***` in every log."""
    max_bytes: Size = 64_000_000
    """A log that grows past this is continued in a fresh file; the one before it is kept."""


class DiskSettings(Section):
    stop_recording: Size = 512_000_000
    """With less room than this on the disk predictions are no longer recorded. They are counted, and answered."""
    stop_jobs: Size = 256_000_000
    """With less room than this no further jobs start."""
    reserve: Size = 32_000_000
    """Kept in a file that is given up when the disk is full, so that a rollback can still be written."""

    @model_validator(mode="after")
    def _recording_stops_first(self) -> DiskSettings:
        if self.stop_recording < self.stop_jobs:
            raise ValueError("stop_recording must not be smaller than stop_jobs")
        return self


class TrafficSettings(Section):
    compact_after: Duration = timedelta(days=2)
    """Hours of predictions that ended longer ago than this are moved from traffic.db to Parquet files."""
    keep: Duration = timedelta(days=90)
    """Recorded predictions and their labels that are older than this are removed."""
    max_bytes: Size = 10_000_000_000
    """What recorded traffic may occupy in all; above that the oldest goes first."""


class HousekeepingSettings(Section):
    compact: Duration | None = timedelta(hours=1)
    """How often closed hours of traffic are moved to Parquet. `false` turns it off, here and below."""
    backup: Duration | None = timedelta(days=1)
    """How often `state.db` is backed up to `.quarterdeck/backups/`."""
    backups: int = Field(default=7, ge=1, le=1000)
    """How many backups are kept."""
    vacuum: Duration | None = timedelta(days=7)
    """How often the databases give room that is free inside them back to the disk."""
    tidy: Duration | None = timedelta(days=1)
    """How often old logs and old ended jobs are removed."""
    keep_logs: Duration = timedelta(days=30)
    """Logs of attempts that ended longer ago than this are removed."""
    keep_jobs: Duration = timedelta(days=90)
    """Jobs that ended longer ago than this are removed. Runs, events and alerts stay."""

    @field_validator("compact", "backup", "vacuum", "tidy", mode="before")
    @classmethod
    def _off(cls, value: object) -> object:
        return None if value is False else value


class NotificationSettings(Section):
    webhooks: tuple[str, ...] = ()
    """URLs that get a JSON POST for every alert that is opened with, or escalates to, severity `page` or `warning`."""


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


_PLAIN_DEPLOYMENT = DeploymentSettings()  # Asked for with every request.


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

    @model_validator(mode="after")
    def _persistence_is_possible(self) -> MonitorSettings:
        needed, of = self.persistence
        if not 1 <= needed <= of:
            raise ValueError("persistence = [m, k] needs 1 <= m <= k")
        return self


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


class Settings(BaseSettings):
    """The whole of quarterdeck.toml."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="QUARTERDECK_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    workspace: WorkspaceSettings = WorkspaceSettings()
    gateway: GatewaySettings = GatewaySettings()
    runner: RunnerSettings = RunnerSettings()
    notifications: NotificationSettings = NotificationSettings()
    logs: LogSettings = LogSettings()
    disk: DiskSettings = DiskSettings()
    traffic: TrafficSettings = TrafficSettings()
    housekeeping: HousekeepingSettings = HousekeepingSettings()
    pools: dict[Name, PoolSettings] = Field(default_factory=dict)
    pipelines: dict[Name, PipelineSettings] = Field(default_factory=dict)
    datasets: dict[Name, DatasetSettings] = Field(default_factory=dict)
    models: dict[Name, ModelSettings] = Field(default_factory=dict)
    deployments: dict[Name, DeploymentSettings] = Field(default_factory=dict)
    monitors: dict[Name, MonitorSettings] = Field(default_factory=dict)
    schedules: dict[Name, ScheduleSettings] = Field(default_factory=dict)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # What comes in is the file: the environment goes over it.
        return (named["env_settings"], named["init_settings"])

    @model_validator(mode="after")
    def _pools_exist(self) -> Settings:
        for name, pipeline in self.pipelines.items():
            if pipeline.pool is not None and pipeline.pool not in self.pools:
                raise ValueError(f"pipelines.{name}.pool = '{pipeline.pool}' needs a [pools.{pipeline.pool}]")
        return self

    def pipeline(self, name: str) -> PipelineSettings:
        return self.pipelines.get(name, PipelineSettings())

    def dataset(self, name: str) -> DatasetSettings:
        return self.datasets.get(name, DatasetSettings())

    def model(self, name: str) -> ModelSettings:
        return self.models.get(name, ModelSettings())

    def deployment(self, name: str) -> DeploymentSettings:
        return self.deployments.get(name, _PLAIN_DEPLOYMENT)


def load_settings(path: Path) -> Settings:
    """Read `path` (quarterdeck.toml), with environment variables over it.

    Raises:
        SettingsError: the file cannot be read or a key does not fit; the message names file, key and reason.
    """
    try:
        return Settings(**tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not text in UTF-8 (byte {error.start}).") from error
    except EnvironmentSettingsError as error:
        raise SettingsError(
            f"{error}: an environment variable QUARTERDECK_... does not fit. Unset or mend it."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        raise SettingsError(
            f"{path}: {key}: {first['msg']}. Mend that key; docs/settings.md lists them all."
        ) from error
