"""What `/metrics` tells, for all workers of the gateway together: whichever of them is asked.

Each worker counts in memory and writes its counts down every second. The one that is asked adds what the others wrote
to its own. Counts go on where a worker that ended had left them, so a counter never falls.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from quarterdeck.traffic.repetitions import Source

WRITE_SECONDS = 1.0
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the latency histogram, in seconds."""
ROUTE = ("deployment", "version", "variant")
LASTING = ("_total", "_bucket", "_count", "_sum")
"""How samples are called that go on after a restart; how much waits does not."""
Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class RouteMeters:
    """The counters of one variant of one deployment: looked up once for each route, not for each request."""

    requests: Counter
    rows: Counter
    seconds: Histogram

    def answered(self, rows: int, seconds: float) -> None:
        self.requests.inc()
        self.rows.inc(rows)
        self.seconds.observe(seconds)


class Metrics:
    """The counts of one worker, and the sums over all."""

    def __init__(self, folder: Path, slot: int) -> None:
        """`folder`: where all workers of a workspace write; `slot`: which of them this is."""
        self._folder = folder
        self._file = folder / f"gateway-{slot}.json"
        self._own = registry = CollectorRegistry(auto_describe=False)
        self._before = {key: value for key, value in _read(self._file).items() if key[0].endswith(LASTING)}
        self._routes: dict[tuple[str, int, str], RouteMeters] = {}
        self._written: dict[Key, float] = {}
        self._requests = Counter("quarterdeck_requests", "Requests that were answered.", ROUTE, registry=registry)
        self._rows = Counter("quarterdeck_predictions", "Rows that were answered.", ROUTE, registry=registry)
        self._seconds = Histogram(
            "quarterdeck_request_seconds",
            "From the parsed request to its answer.",
            ROUTE,
            buckets=BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "quarterdeck_errors",
            "Requests that got an error: rejected (the input did not fit), failed (the model did), overload.",
            (*ROUTE, "reason"),
            registry=registry,
        )
        self._recorded = Counter(
            "quarterdeck_recorded",
            "Predictions that were written down, with those of probes.",
            ROUTE,
            registry=registry,
        )
        self._unrecorded = Counter(
            "quarterdeck_unrecorded",
            "Predictions that were answered and could not be written down, with those of probes.",
            (*ROUTE, "reason"),
            registry=registry,
        )
        self._ignored = Counter(
            "quarterdeck_ignored_columns",
            "Columns of requests that the model does not take.",
            ("deployment",),
            registry=registry,
        )
        self._imputed = Counter(
            "quarterdeck_imputed_values",
            "Missing values that a column's policy put in.",
            ("deployment", "column"),
            registry=registry,
        )
        self._waiting = Gauge("quarterdeck_waiting", "Requests that wait for an answer.", registry=registry)
        self._queued = Gauge("quarterdeck_record_queue", "Predictions that wait to be written down.", registry=registry)

    def route(self, deployment: str, version: int, variant: str) -> RouteMeters:
        """The counters of a variant."""
        meters = self._routes.get((deployment, version, variant))
        if meters is None:
            labels = (deployment, str(version), variant)
            meters = RouteMeters(
                self._requests.labels(*labels), self._rows.labels(*labels), self._seconds.labels(*labels)
            )
            self._routes[deployment, version, variant] = meters
        return meters

    def error(self, source: Source, reason: str) -> None:
        self._errors.labels(*source, reason).inc()

    def ignored(self, deployment: str, columns: int) -> None:
        self._ignored.labels(deployment).inc(columns)

    def imputed(self, deployment: str, column: str, values: int) -> None:
        self._imputed.labels(deployment, column).inc(values)

    def recorded(self, source: Source, rows: int) -> None:
        self._recorded.labels(*source).inc(rows)

    def unrecorded(self, source: Source, reason: str, rows: int) -> None:
        """`reason` is one of few: each makes a series of its own."""
        self._unrecorded.labels(*source, reason).inc(rows)

    def watch(self, *, waiting: Callable[[], float], queued: Callable[[], float]) -> None:
        """Where to look up how much waits now."""
        self._waiting.set_function(waiting)
        self._queued.set_function(queued)

    def write(self) -> None:
        """Write the counts down for the other workers, if they have changed. What the disk refuses is tried again."""
        counts = {key: value for _, key, value in self._samples(self._own.collect(), self._before)}
        if counts == self._written:
            return
        rows = [[name, dict(labels), value] for (name, labels), value in counts.items()]
        temporary = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            temporary.write_text(json.dumps(rows), encoding="utf-8")
            os.replace(temporary, self._file)
            self._written = counts

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All workers' counts in the format that a scraper asks for (OpenMetrics, or Prometheus' text); its type."""
        others = dict(self._before)
        for file in sorted(self._folder.glob("gateway-*.json")):
            if file != self._file:
                for key, value in _read(file).items():
                    others[key] = others.get(key, 0.0) + value
        families = {family.name: family for family in self._own.collect()}
        merged = {name: Metric(name, family.documentation, family.type) for name, family in families.items()}
        for name, (sample, labels), value in self._samples(families.values(), others):
            merged[name].add_sample(sample, dict(labels), value)
        encode, kind = choose_encoder(accept)
        return encode(_Collected(merged.values())), kind

    @staticmethod
    def _samples(families: Iterable[Metric], others: dict[Key, float]) -> list[tuple[str, Key, float]]:
        """(family, sample, value) for each count of ours plus the others', then for those that only they have."""
        rest, found = dict(others), []
        names: dict[str, str] = {}
        for family in families:
            names |= {family.name + ending: family.name for ending in ("", *LASTING)}
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    key = (sample.name, tuple(sample.labels.items()))
                    found.append((family.name, key, sample.value + rest.pop(key, 0.0)))
        return found + [(names[key[0]], key, value) for key, value in rest.items() if key[0] in names]


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _read(file: Path) -> dict[Key, float]:
    try:
        rows: list[tuple[str, dict[str, Any], float]] = json.loads(file.read_text(encoding="utf-8"))
        return {(name, tuple(labels.items())): float(value) for name, labels, value in rows}
    except (OSError, ValueError, TypeError):
        return {}
