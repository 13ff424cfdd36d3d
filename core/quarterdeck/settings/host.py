"""The parts of quarterdeck.toml that concern this host: its processes, its disk, and whom it tells."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from quarterdeck.settings.section import Section
from quarterdeck.values import Duration, Size


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
