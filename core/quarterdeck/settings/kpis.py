"""The part of quarterdeck.toml that names a deployment's business KPIs, and the queries that fetch them."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from quarterdeck.settings.section import Section
from quarterdeck.values import Duration

_OF_A_QUERY = ("secret", "every", "timezone", "rows", "timeout")


class KpiSettings(Section):
    unit: str | None = Field(default=None, min_length=1, max_length=12)
    """What its figures are in, shown behind them: `"EUR"`, `"%"`. `"share"` is a number from 0 to 1, and is shown as
    percent."""
    better: Literal["higher", "lower"] | None = None
    """Which way is good: shown beside its figures. Nothing is judged by it."""
    query: str | None = Field(default=None, min_length=1)
    """What fetches it: selects two columns, the time and the value of each point. `:since` in it stands for the time of
    the last point that is known. Without a query it comes by `quarterdeck kpi add` and `kpi import` alone."""
    database: str | None = None
    """The SQLAlchemy URL of the database that answers, without a password; its driver must be installed. The path of a
    SQLite file is relative to the workspace."""
    secret: str | None = None
    """The environment variable of the runner with the password for `database`."""
    every: Duration = timedelta(hours=1)
    """How often the runner fetches."""
    timezone: str | None = None
    """What times are in that the query answers without a zone: `Europe/Berlin`. When not given, such times are
    refused."""
    rows: int = Field(default=10_000, ge=1, le=1_000_000)
    """A query that answers more rows than this is refused."""
    timeout: Duration = timedelta(minutes=1)
    """A query that takes longer, connecting to the database included, is given up."""

    @field_validator("timezone")
    @classmethod
    def _zone_is_known(cls, value: str | None) -> str | None:
        try:
            return value if value is None else ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"there is no time zone {value!r}; name one such as Europe/Berlin") from error

    @field_validator("database")
    @classmethod
    def _is_a_url_without_password(cls, value: str | None) -> str | None:
        if value is None:
            return None
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(value)
        except (ArgumentError, ValueError):
            raise ValueError("that is no database URL; write one such as postgresql://reader@warehouse/sales") from None
        if url.password is not None:
            raise ValueError('a password does not belong into a file: name an environment variable, secret = "NAME"')
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise ValueError("the URL names no file; write one such as sqlite:///shop.db")
        return value

    @model_validator(mode="after")
    def _query_and_database_go_together(self) -> KpiSettings:
        if (self.query is None) == (self.database is not None):
            raise ValueError("query and database go together: the one is asked of the other")
        if self.query is None and (lost := self.model_fields_set.intersection(_OF_A_QUERY)):
            raise ValueError(f"{min(lost)} is about a query, and there is none")
        return self
