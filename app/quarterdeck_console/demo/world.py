"""The outside world of the demo: customers who pay, banks that label, a warehouse that exports. It knows only HTTP."""

from __future__ import annotations

import csv
import gzip
import tomllib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

Payment = dict[str, str]
NOT_FEATURES = ("is_fraud", "labelled_at")
NUMBERS = ("amount", "account_age_days", "payments_24h", "distance_km", "checkout_seconds")


@dataclass(frozen=True, slots=True)
class Timetable:
    """world.toml: when the world does what."""

    deployment: str
    dataset: str
    begins: datetime
    exports: tuple[datetime, ...]


class History:
    """Every payment, by the time it was paid, and by the time its label became known."""

    def __init__(self, timetable: Timetable, payments: list[Payment]) -> None:
        self.timetable = timetable
        self._columns = [name for name in payments[0] if name != "labelled_at"]
        self._paid = sorted(payments, key=lambda payment: payment["paid_at"])
        self._labelled = sorted(payments, key=lambda payment: payment["labelled_at"])

    def paid(self, start: datetime, end: datetime) -> list[Payment]:
        """Payments with start <= paid_at < end."""
        return _between(self._paid, "paid_at", start, end)

    def labelled(self, start: datetime, end: datetime) -> list[Payment]:
        """Payments whose label became known at start <= t < end."""
        return _between(self._labelled, "labelled_at", start, end)

    @property
    def ends(self) -> datetime:
        return datetime.fromisoformat(self._paid[-1]["paid_at"])

    def write_export(self, at: datetime, path: Path) -> None:
        """Write the payments whose labels had arrived by `at`, as the warehouse would."""
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(payment for payment in self._paid if payment["labelled_at"] <= _text(at))


def _between(payments: list[Payment], column: str, start: datetime, end: datetime) -> list[Payment]:
    # The times are texts of one form in UTC, which sort as they read.
    first = bisect_left(payments, _text(start), key=lambda payment: payment[column])
    last = bisect_left(payments, _text(end), key=lambda payment: payment[column])
    return payments[first:last]


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read_history(folder: Path) -> History:
    """The sample's payments and timetable."""
    timetable = tomllib.loads((folder / "world.toml").read_text(encoding="utf-8"))
    with gzip.open(folder / "payments.csv.gz", "rt", encoding="utf-8", newline="") as file:
        payments = list(csv.DictReader(file))
    return History(Timetable(**{**timetable, "exports": tuple(timetable["exports"])}), payments)


def infer_body(payments: Sequence[Payment], request_id: str) -> dict[str, Any]:
    """A request of the Open Inference Protocol for these payments: a tensor for each column."""
    names = [name for name in payments[0] if name not in NOT_FEATURES]
    return {"id": request_id, "inputs": [_tensor(name, [p[name] for p in payments]) for name in names]}


def _tensor(name: str, texts: list[str]) -> dict[str, Any]:
    number = name in NUMBERS
    data: list[Any] = [None if text == "" else float(text) if number else text for text in texts]
    return {"name": name, "datatype": "FP64" if number else "BYTES", "shape": [len(data)], "data": data}


def batches(payments: Sequence[Payment], size: int) -> Iterator[Sequence[Payment]]:
    for start in range(0, len(payments), size):
        yield payments[start : start + size]


@dataclass(slots=True)
class Customers:
    """What the customers see of the service: how many answers, from which version, how many failures."""

    url: str
    deployment: str
    answered: int = 0
    """Predictions that were answered."""
    failed: int = 0
    """Requests without an answer of 200."""
    misrouted: int = 0
    """Requests sent after a rollback was verified, and answered by another version."""
    must_be: int | None = None
    """The version that has to answer from now on."""
    _client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30.0), repr=False)

    def pay(self, payments: Sequence[Payment]) -> None:
        """Ask for the risk of these payments in one request."""
        expected = self.must_be
        try:
            answer = self._client.post(
                f"{self.url}/v2/models/{self.deployment}/infer", json=infer_body(payments, payments[0]["payment_id"])
            )
        except httpx.HTTPError:
            self.failed += 1
            return
        if answer.status_code != 200:
            self.failed += 1
            return
        self.answered += len(payments)
        if expected is not None and answer.headers["x-model-version"] != str(expected):
            self.misrouted += 1

    def label(self, payments: Sequence[Payment]) -> None:
        """Report which payments turned out to be fraud."""
        labels = [
            {"reference": p["payment_id"], "value": int(p["is_fraud"]), "labelled_at": p["labelled_at"]}
            for p in payments
        ]
        answer = self._client.post(f"{self.url}/v2/models/{self.deployment}/labels", json={"labels": labels})
        answer.raise_for_status()

    def close(self) -> None:
        self._client.close()
