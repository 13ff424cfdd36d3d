"""The part of quarterdeck.toml by which people hear of alerts: webhooks."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from quarterdeck.settings.section import Section
from quarterdeck.values import Duration, parse_duration, public_part

WebhookFormat = Literal["json", "cloudevents", "slack", "pagerduty", "alertmanager"]
Told = Literal["page", "warning"]
_RATE = re.compile(r"(\d{1,6})\s+per\s+(\S+)")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most so many in any stretch of time of that length."""

    most: int
    per: timedelta


def parse_rate(value: object) -> object:
    """`"10 per 10m"` as a limit; anything else is left to pydantic."""
    if not isinstance(value, str):
        return value
    found = _RATE.fullmatch(value.strip())
    per = None if found is None else parse_duration(found[2])
    if found is None or not isinstance(per, timedelta) or not int(found[1]) or not per:
        raise ValueError(f"'{value}' is not a rate: write 10 per 10m, at least 1 per something longer than zero")
    return RateLimit(int(found[1]), per)


Rate = Annotated[RateLimit, BeforeValidator(parse_rate)]
GROUP_WAIT, RATE = timedelta(seconds=30), RateLimit(10, timedelta(minutes=10))


class WebhookSettings(Section):
    name: str | None = Field(default=None, min_length=1, max_length=40)
    """What it is called where it is shown; by default the host of its URL. The rest of a URL is shown nowhere."""
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

    after: Duration | None = None
    """Whom to call next: it is told only of alerts that have been of its severities for so long, and that nobody has
    acknowledged or silenced by then. At once when not given."""
    group_wait: Duration = GROUP_WAIT
    """After a message, what comes within this time is told together, in the next one. A page waits for no message that
    told of no page. PagerDuty hears of each alert by itself, at once."""
    rate: Rate = RATE
    """How many messages it gets: above that, what is no page waits and is told together, in the next one that may go
    out. Not for PagerDuty."""

    @field_validator("severities")
    @classmethod
    def _is_told_of_something(cls, value: tuple[Told, ...]) -> tuple[Told, ...]:
        if not value:
            raise ValueError('it would be told of nothing: name "page", "warning" or both, or take the webhook out')
        return value

    @model_validator(mode="after")
    def _pagerduty_has_a_key(self) -> WebhookSettings:
        if self.format == "pagerduty" and self.secret is None:
            raise ValueError(
                'format = "pagerduty" needs secret = "NAME", the environment variable with its routing key'
            )
        return self

    @model_validator(mode="after")
    def _pagerduty_groups_itself(self) -> WebhookSettings:
        if not self.groups and (self.group_wait, self.rate) != (GROUP_WAIT, RATE):
            raise ValueError(
                'format = "pagerduty" takes neither group_wait nor rate: an event is one incident there, and the '
                "service groups them by its own settings"
            )
        return self

    @property
    def groups(self) -> bool:
        """Whether one message may tell of several alerts."""
        return self.format != "pagerduty"

    @property
    def shown(self) -> str:
        """What people read of it: never more of the URL than its host."""
        return self.name or public_part(self.url).partition("://")[2]

    @property
    def keeps_incidents(self) -> bool:
        """Whether what it is told stays open there until its end is told."""
        return self.format in ("pagerduty", "alertmanager")

    @property
    def tells_of_ends(self) -> bool:
        return self.keeps_incidents if self.resolved is None else self.resolved

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
