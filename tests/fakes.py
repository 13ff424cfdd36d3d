"""The outside world for tests: the same ports, kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from quarterdeck.adapters.querying import SqlQuerier
from quarterdeck.errors import QuarterdeckError
from quarterdeck.ports import Ports

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class FakeClock:
    """Stands still until it is moved, but never gives the same moment twice."""

    moment: datetime = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        self.moment += timedelta(microseconds=1)
        return self.moment

    def advance(self, **by: float) -> None:
        self.moment += timedelta(**by)


@dataclass
class FakeNotifier:
    """Remembers what was sent; `fails` makes it refuse."""

    fails: bool = False
    sent: list[tuple[str, dict[str, object], str]] = field(default_factory=list)

    def send(
        self,
        url: str,
        payload: Mapping[str, object] | Sequence[Mapping[str, object]],
        *,
        idempotency_key: str,
        content_type: str = "application/json",
        secret: str | None = None,
    ) -> int:
        if self.fails:
            raise QuarterdeckError(f"Webhook {url} did not answer.")
        assert isinstance(payload, Mapping)
        self.sent.append((url, dict(payload), idempotency_key))
        return 204


@dataclass
class FakeReporter:
    """Says how many rows it was shown."""

    def drift_report(self, reference: pd.DataFrame, current: pd.DataFrame) -> str:
        return f"<html>{len(reference)} against {len(current)}</html>"


@dataclass
class FakeFetcher:
    """Answers what it was told to; nothing means that nobody is there."""

    answers: dict[str, str] = field(default_factory=dict)

    def fetch(self, url: str, *, seconds: float) -> str:
        if url not in self.answers:
            raise QuarterdeckError(f"{url} did not answer.")
        return self.answers[url]


def fake_ports() -> Ports:
    return Ports(
        clock=FakeClock(),
        notifier=FakeNotifier(),
        reporter=FakeReporter(),
        fetcher=FakeFetcher(),
        # Of SQLite files, which are as real here as elsewhere.
        querier=SqlQuerier(),
    )
