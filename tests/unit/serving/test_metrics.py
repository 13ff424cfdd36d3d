"""Counts of all workers together, in the two formats that scrapers ask for."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from quarterdeck.serving.metrics import Metrics

OPEN = "application/openmetrics-text; version=1.0.0"


def value(metrics: Metrics, sample: str, **labels: str) -> float:
    """A sample as the strict OpenMetrics parser reads it."""
    body, kind = metrics.exposition(OPEN)
    assert kind.startswith("application/openmetrics-text")
    families: list[Metric] = list(text_string_to_metric_families(body.decode()))  # type: ignore[no-untyped-call]  # untyped
    found = [s for family in families for s in family.samples if s.name == sample]
    return sum(s.value for s in found if labels.items() <= s.labels.items())


def answer(metrics: Metrics, deployment: str = "fraud", version: int = 1, seconds: float = 0.002) -> None:
    metrics.route(deployment, version, "champion").answered(2, seconds)


def test_a_worker_that_is_asked_adds_what_the_others_wrote(tmp_path: Path) -> None:
    first, second = Metrics(tmp_path, 0), Metrics(tmp_path, 1)
    answer(first)
    answer(second)
    answer(second, "pricing", 7, 0.2)
    second.error(("fraud", 1, "fallback"), "rejected")
    second.unrecorded(("fraud", 1, "champion"), "disk low", 3)
    second.recorded(("fraud", 2, "champion"), 8)
    second.watch(waiting=lambda: 4, queued=lambda: 5)
    second.write()
    assert value(first, "quarterdeck_requests_total", deployment="fraud", version="1", variant="champion") == 2
    assert value(first, "quarterdeck_predictions_total", deployment="fraud") == 4
    assert value(first, "quarterdeck_requests_total", deployment="pricing", version="7") == 1
    assert value(first, "quarterdeck_request_seconds_bucket", deployment="fraud", le="0.0025") == 2
    assert value(first, "quarterdeck_request_seconds_bucket", deployment="pricing", le="0.1") == 0
    assert value(first, "quarterdeck_request_seconds_count") == 3
    assert value(first, "quarterdeck_errors_total", variant="fallback", reason="rejected") == 1
    assert value(first, "quarterdeck_unrecorded_total", deployment="fraud", version="1", reason="disk low") == 3
    assert value(first, "quarterdeck_recorded_total", deployment="fraud", version="2", variant="champion") == 8
    assert (value(first, "quarterdeck_waiting"), value(first, "quarterdeck_record_queue")) == (4, 5)


def test_a_counter_goes_on_after_a_restart_and_what_waits_does_not(tmp_path: Path) -> None:
    before = Metrics(tmp_path, 0)
    answer(before)
    before.watch(waiting=lambda: 9, queued=lambda: 9)
    before.write()
    after = Metrics(tmp_path, 0)
    after.watch(waiting=lambda: 0, queued=lambda: 0)
    answer(after)
    after.write()
    for metrics in (after, Metrics(tmp_path, 0), Metrics(tmp_path, 1)):
        assert value(metrics, "quarterdeck_requests_total") == 2
        assert value(metrics, "quarterdeck_request_seconds_count") == 2
        assert value(metrics, "quarterdeck_waiting") == 0


def test_prometheus_own_text_is_there_too(tmp_path: Path) -> None:
    metrics = Metrics(tmp_path, 0)
    answer(metrics)
    body, kind = metrics.exposition("text/plain")
    assert kind.startswith("text/plain")
    names = {family.name for family in plain_families(body.decode())}
    assert {"quarterdeck_requests", "quarterdeck_request_seconds", "quarterdeck_record_queue"} <= names


def test_a_file_that_cannot_be_read_or_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "gateway-1.json").write_text("{ half a", encoding="utf-8")
    metrics = Metrics(tmp_path, 0)
    answer(metrics)
    assert value(metrics, "quarterdeck_requests_total") == 1
    blocked = Metrics(tmp_path / "gateway-1.json" / "nowhere", 0)
    answer(blocked)
    blocked.write()
    assert value(blocked, "quarterdeck_requests_total") == 1
