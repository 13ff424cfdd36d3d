"""The part of quarterdeck.toml by which people hear of alerts: webhooks."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import Field, field_validator, model_validator

from quarterdeck.settings.section import Section

WebhookFormat = Literal["json", "cloudevents", "slack", "pagerduty", "alertmanager"]
Told = Literal["page", "warning"]


class WebhookSettings(Section):
    url: str = Field(pattern=r"^https?://")
    """Where to POST."""
    format: WebhookFormat = "json"
    """What the receiver reads: our JSON, CloudEvents 1.0, a Slack message, PagerDuty's Events API v2, or alerts for
    Prometheus' Alertmanager (its `/api/v2/alerts`)."""
    secret: str | None = None
    """The environment variable of the runner with the key that signs what is sent (Standard Webhooks); for PagerDuty
    the one with the routing key, which it needs."""
    severities: tuple[Told, ...] = ("page", "warning")
    """Which alerts it is told of."""
    resolved: bool | None = None
    """Tell of an alert's end, too. When not given, PagerDuty and Alertmanager hear of it, and others do not."""

    @model_validator(mode="after")
    def _pagerduty_has_a_key(self) -> WebhookSettings:
        if self.format == "pagerduty" and self.secret is None:
            raise ValueError(
                'format = "pagerduty" needs secret = "NAME", the environment variable with its routing key'
            )
        return self

    @property
    def tells_of_ends(self) -> bool:
        return self.format in ("pagerduty", "alertmanager") if self.resolved is None else self.resolved

    @property
    def key(self) -> str:
        """What tells it from the other webhooks: two may have one URL."""
        return hashlib.sha256(f"{self.url} {self.format} {self.secret}".encode()).hexdigest()[:12]


class NotificationSettings(Section):
    webhooks: tuple[WebhookSettings, ...] = ()
    """Who is told of every alert that is opened with, or escalates to, severity `page` or `warning`: URLs, which get a
    JSON POST, or tables: `[[notifications.webhooks]]`."""

    @field_validator("webhooks", mode="before")
    @classmethod
    def _a_url_is_enough(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return tuple({"url": one} if isinstance(one, str) else one for one in value)
