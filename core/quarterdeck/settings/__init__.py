"""quarterdeck.toml, typed. Every key is documented under itself; `QUARTERDECK_GATEWAY__PORT=9000` overrides one."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentSettingsError

from quarterdeck.errors import SettingsError
from quarterdeck.settings import mistakes
from quarterdeck.settings.host import (
    DiskSettings,
    GatewaySettings,
    HousekeepingSettings,
    LogSettings,
    PoolSettings,
    RunnerSettings,
    TrafficSettings,
    WorkspaceSettings,
)
from quarterdeck.settings.making import DatasetSettings, ModelSettings, PipelineSettings, ScheduleSettings
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.settings.notifications import NotificationSettings
from quarterdeck.settings.serving import DeploymentSettings
from quarterdeck.values import Name

_PLAIN_DEPLOYMENT = DeploymentSettings()  # Asked for with every request.


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

    @model_validator(mode="after")
    def _quality_is_judged(self) -> Settings:
        watched = {monitor.deployment for monitor in self.monitors.values()}
        for name, deployment in self.deployments.items():
            if deployment.slo is not None and deployment.slo.quality is not None and name not in watched:
                raise ValueError(
                    f"deployments.{name}.slo.quality counts the windows of a monitor: add a [monitors.NAME] with "
                    f'deployment = "{name}"'
                )
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
        SettingsError: the file cannot be read or a key does not fit; the message names file, line, key and reason, and
            for a key that does not exist the nearest one that does.
    """
    text, content = "", {}
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
        return Settings(**content)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        place = f"line {text.count(chr(10)) + 1}, its last one"
        why = str(error).replace("at end of document", place)
        raise SettingsError(f"{path} is not valid TOML: {why}.") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not text in UTF-8 (byte {error.start}).") from error
    except EnvironmentSettingsError as error:
        raise SettingsError(
            f"{error}: an environment variable QUARTERDECK_... does not fit. Unset or mend it."
        ) from error
    except ValidationError as error:
        raise SettingsError(mistakes.describe(error, Settings, path, text, content)) from error
