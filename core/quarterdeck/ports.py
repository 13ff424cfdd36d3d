"""What the engine asks of the outside world. Adapters implement these; tests pass fakes in at the same door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import URL


class Clock(Protocol):
    def now(self) -> datetime:
        """The time now, in UTC."""
        ...


class Notifier(Protocol):
    def send(
        self,
        url: str,
        payload: Mapping[str, object] | Sequence[Mapping[str, object]],
        *,
        idempotency_key: str,
        content_type: str = "application/json",
        secret: str | None = None,
    ) -> int:
        """Deliver one notification, signed with `secret` where there is one; the status that was answered.

        Raises:
            QuarterdeckError: the receiver did not take it; the caller may try again with the same key.
        """
        ...


class Reporter(Protocol):
    def drift_report(self, reference: pd.DataFrame, current: pd.DataFrame) -> str:
        """A full report of `current` against `reference` (the same columns) as one HTML page."""
        ...


class Fetcher(Protocol):
    def fetch(self, url: str, *, seconds: float) -> str:
        """What a GET of `url` answers, as text.

        Raises:
            QuarterdeckError: no answer within `seconds`, or one that is not 2xx.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What a database answered."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    """The values as the driver makes them."""


class Querier(Protocol):
    def ask(
        self,
        url: URL,
        query: str,
        *,
        since: datetime | None = None,
        most: int | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """What the database at `url` answers to a query that only reads. `since` stands in it for `:since`.

        Raises:
            DataError: it does not answer, refuses the query, answers more than `most` rows, or takes longer than
                `seconds`; the message names the database, without its password.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world, as one value that travels with the workspace."""

    clock: Clock
    notifier: Notifier
    reporter: Reporter
    fetcher: Fetcher
    querier: Querier
