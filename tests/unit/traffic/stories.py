"""Recorded traffic for tests of what moves and removes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from quarterdeck.database import rows_as_dicts
from quarterdeck.settings import Settings
from quarterdeck.traffic import segments
from quarterdeck.traffic.queries import (
    Sought,
    latency_p95,
    recent,
    requests_by_revision,
    served_at_least,
    sparkline,
    totals,
    traffic,
)
from quarterdeck.traffic.sampling import Sampling, sample_window
from quarterdeck.traffic.window import first_events, label_coverage, newest_window, read_window, watermark
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


def prediction(i: int, at: datetime = START, **changes: Any) -> dict[str, Any]:
    """Number `i` of deployment `payments`, which happened and arrived at `at`."""
    row: dict[str, Any] = {
        "deployment": "payments",
        "id": f"p{i}",
        "received_at": at,
        "revision": 1,
        "version": 1,
        "inputs": [float(i), "app"],
        "prediction": 0,
        "probabilities": [0.9, 0.1],
        "latency_us": 1000 * (i + 1),
    }
    return {**row, **changes}


def set_clock(workspace: Workspace, moment: datetime) -> None:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    clock.moment = moment


def with_settings(workspace: Workspace, **sections: Any) -> Workspace:
    return dataclasses.replace(workspace, settings=Settings.model_validate(sections))


def held(workspace: Workspace, what: str = "count(*)", table: str = "prediction") -> Any:
    """A value about a table of traffic.db."""
    with workspace.traffic.read() as tx:
        (row,) = rows_as_dicts(tx.connection(), f"SELECT {what} AS value FROM {table}")
    return row["value"]


def forget_everything(workspace: Workspace) -> None:
    """As good as a new workspace, in a hundredth of the time."""
    with workspace.traffic.write("test") as tx:
        for table in ("prediction", "label", "segment"):
            tx.connection().exec_driver_sql(f"DELETE FROM {table}")
    for file in segments.folder(workspace).glob("*.parquet"):
        file.unlink()


def all_reads(workspace: Workspace, moments: Sequence[datetime]) -> dict[str, Any]:
    """What every read of traffic answers, for spans between all those moments."""
    answers: dict[str, Any] = {"totals": totals(workspace)}
    for name in ("payments", "churn"):
        answers[f"{name} edges"] = watermark(workspace, name), first_events(workspace, name, None, 1)
        answers[f"{name} revisions"] = requests_by_revision(workspace, name)
        answers[f"{name} revision"] = requests_by_revision(workspace, name, only=2)
        for limit in (1, 3, 1000):
            answers[f"{name} recent {limit}"] = repr(recent(workspace, name, limit))
            answers[f"{name} newest {limit}"] = repr(newest_window(workspace, name, 1, limit))
            for sought in sought_by_everything(workspace, name, moments):
                answers[f"{name} {sought} {limit}"] = repr(recent(workspace, name, limit, sought))
        for a in moments:
            answers[f"{name} since {a}"] = [first_events(workspace, name, a, limit) for limit in (1, 3, 1000)]
            row = traffic(workspace, name, a)
            answers[f"{name} traffic {a}"] = dataclasses.replace(row, per_second=0.0)
            answers[f"{name} served {a}"] = [served_at_least(workspace, name, 2, n, since=a) for n in (1, 2, 5, 40)]
            answers[f"{name} p95 {a}"] = latency_p95(workspace, name, 1, since=a, until=None)
            for b in (moment for moment in moments if moment > a):
                answers[f"{name} p95 {a} {b}"] = latency_p95(workspace, name, 2, since=a, until=b)
                answers[f"{name} sparkline {a} {b}"] = sparkline(workspace, name, a, b, buckets=7)
                for version in (None, 1, 2):
                    # As text: 1, 1.0, True and "1" are equal or alike otherwise.
                    rows = read_window(workspace, name, a, b, version=version)
                    answers[f"{name} window {a} {b} {version}"] = repr(rows)
                    answers[f"{name} sample {a} {b} {version}"] = _sample(workspace, name, a, b, version)
                    answers[f"{name} coverage {a} {b} {version}"] = label_coverage(
                        workspace, name, a, b, version=version
                    )
    return answers


def _sample(workspace: Workspace, name: str, start: datetime, end: datetime, version: int | None) -> str:
    """Of a window that is drawn from: two labelled rows of each version, and how many there are."""
    sampling = Sampling((), 2, labelled=True)
    rows = sample_window(workspace, name, [(start, end)], sampling, lambda _: True, version=version)
    assert rows.n == read_window(workspace, name, start, end, version=version).n
    return repr((rows.lists(), sorted((rows.whole or {}).items())))


def sought_by_everything(workspace: Workspace, name: str, moments: Sequence[datetime]) -> list[Sought]:
    """Searches of every kind, for ids and keys that are there among others."""
    some = recent(workspace, name, 4)
    return [
        *(Sought(id=row.id) for row in some),
        *(Sought(key=row.key) for row in some if row.key is not None),
        Sought(id="nowhere"),
        Sought(key="nowhere"),
        *(Sought(version=version) for version in (1, 2)),
        *(Sought(revision=revision) for revision in (1, 2)),
        *(Sought(start=moment) for moment in moments),
        *(Sought(end=moment, revision=1) for moment in moments),
        Sought(start=moments[0], end=moments[-1], version=1),
    ]


def at_day(workspace: Workspace, day: float) -> None:
    set_clock(workspace, START + timedelta(days=day))


def rows(numbers: range, *, at: datetime = START, step: timedelta = timedelta(seconds=10)) -> list[dict[str, Any]]:
    """Many predictions of `payments` as a gateway would record them, one at each `step` from `at` on."""
    return [
        {
            "deployment": "payments",
            "id": f"p{i}",
            "received_at": at + i * step,
            "version": 1,
            "inputs": [i, str(i), None],
            "prediction": i % 2,
        }
        for i in numbers
    ]


def everything(workspace: Workspace) -> list[str]:
    """The ids of all predictions of `payments`, by event time."""
    return read_window(workspace, "payments", START - timedelta(days=1), START + timedelta(days=300)).ids
