"""Predictions and labels: bulk, idempotent, and refused with the row named."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from quarterdeck.errors import DataError, ReadOnlyError
from quarterdeck.settings import Settings
from quarterdeck.traffic.labelling import Labelled, add_labels, contradictions
from quarterdeck.traffic.queries import recent, requests_by_revision, served_at_least, sparkline, totals, traffic
from quarterdeck.traffic.recording import add_predictions, record, record_unrecorded
from quarterdeck.traffic.window import first_events, label_coverage, newest_window, read_window, watermark
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock

START = datetime(2026, 1, 5, tzinfo=UTC)


def prediction(i: int, **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "deployment": "payments",
        "id": f"p{i}",
        "received_at": START + timedelta(minutes=i),
        "revision": 1,
        "version": 1,
        "inputs": [float(i), "app"],
        "prediction": 0,
        "probabilities": [0.9, 0.1],
        "latency_us": 1000 * (i + 1),
    }
    return {**row, **changes}


def test_a_prediction_with_a_known_id_is_ignored(workspace: Workspace) -> None:
    assert record(workspace, [prediction(0), prediction(1)]) == 2
    again = [prediction(1, prediction=1), prediction(2), prediction(1, deployment="churn")]
    assert record(workspace, again) == 2
    assert [row.prediction for row in recent(workspace, "payments", 10)] == [0, 0, 0]


def test_missing_values_and_numpy_scalars_are_recorded(workspace: Workspace) -> None:
    record(workspace, [prediction(0, inputs=[float("nan"), None, np.float64(2.5)], prediction=np.int64(1))])
    (row,) = recent(workspace, "payments", 10)
    assert (row.inputs, row.prediction) == ([None, None, 2.5], 1)


def test_a_window_is_half_open_and_leaves_out_probes(workspace: Workspace) -> None:
    record(workspace, [prediction(i) for i in range(4)] + [prediction(9, received_at=START, probe=True)])
    rows = read_window(workspace, "payments", START + timedelta(minutes=1), START + timedelta(minutes=3))
    assert rows.ids == ["p1", "p2"]
    assert rows.inputs == [[1.0, "app"], [2.0, "app"]]
    assert first_events(workspace, "payments", None, 1) == [START]
    assert first_events(workspace, "payments", START + timedelta(seconds=1), 1) == [START + timedelta(minutes=1)]
    assert watermark(workspace, "payments") == START + timedelta(minutes=3)


def test_a_window_goes_by_event_time_not_by_arrival(workspace: Workspace) -> None:
    record(workspace, [prediction(0, event_time=START - timedelta(days=30))])
    assert read_window(workspace, "payments", START, START + timedelta(days=1)).n == 0
    assert read_window(workspace, "payments", START - timedelta(days=31), START).n == 1


def test_a_window_of_one_version_holds_that_version_only(workspace: Workspace) -> None:
    record(workspace, [prediction(0), prediction(1, version=2)])
    end = START + timedelta(days=1)
    assert read_window(workspace, "payments", START, end, version=2).ids == ["p1"]
    assert read_window(workspace, "payments", START, end).of_version(1).ids == ["p0"]


def test_a_label_finds_its_prediction_by_id_or_by_key(workspace: Workspace) -> None:
    record(workspace, [prediction(0), prediction(1, key="order-7"), prediction(2)])
    labels = [{"reference": "p0", "value": 1}, {"reference": "order-7", "value": 0}]
    assert add_labels(workspace, "payments", labels).accepted == 2
    rows = read_window(workspace, "payments", START, START + timedelta(days=1))
    assert (rows.labels, rows.labelled) == ([1, 0, None], 2)
    assert label_coverage(workspace, "payments", START, START + timedelta(days=1)) == (3, 2)


def test_of_two_labels_that_contradict_the_one_known_later_holds_and_both_are_counted(workspace: Workspace) -> None:
    record(workspace, [prediction(0, key="order-7")])

    def say(value: object, at: datetime | None = None, reference: str = "p0") -> Labelled:
        return add_labels(workspace, "payments", [{"reference": reference, "value": value, "labelled_at": at}])

    def known() -> tuple[Any, int]:
        (label,) = read_window(workspace, "payments", START, START + timedelta(days=1)).labels
        return label, contradictions(workspace, "payments", "p0", "order-7")

    assert (say(1, START), known()) == (Labelled(1, 0, 0), (1, 0))
    assert (say("1", START + timedelta(days=1)), known()) == (Labelled(0, 1, 0), (1, 0))
    assert (say(0, START + timedelta(days=1)), known()) == (Labelled(0, 0, 1), (0, 1))
    assert (say(1, START + timedelta(hours=1)), known()) == (Labelled(0, 0, 1), (0, 2))
    assert (say(1, START + timedelta(days=1)), known()) == (Labelled(0, 0, 1), (1, 3))
    assert (say(0, reference="order-7"), known()) == (Labelled(1, 0, 0), (1, 3))  # The id goes before the key.
    assert totals(workspace).labels == 2


def test_labels_of_one_batch_are_taken_in_their_order(workspace: Workspace) -> None:
    record(workspace, [prediction(0), prediction(1)])
    labels = [{"reference": "p0", "value": value} for value in (1, 1, 0)] + [{"reference": "p1", "value": 1}]
    assert add_labels(workspace, "payments", labels) == Labelled(accepted=2, duplicates=1, contradicting=1)
    assert read_window(workspace, "payments", START, START + timedelta(days=1)).labels == [0, 1]


def test_a_label_that_comes_a_month_later_finds_its_prediction(workspace: Workspace) -> None:
    record(workspace, [prediction(0)])
    late = START + timedelta(days=30)
    labels = [{"reference": "p0", "value": 1, "labelled_at": late}]
    later = dataclasses.replace(workspace, ports=dataclasses.replace(workspace.ports, clock=FakeClock(late)))
    assert add_labels(later, "payments", labels).accepted == 1
    assert read_window(workspace, "payments", START, START + timedelta(days=1)).labels == [1]


def test_the_newest_window_prefers_rows_with_labels(workspace: Workspace) -> None:
    record(workspace, [prediction(i) for i in range(6)])
    add_labels(workspace, "payments", [{"reference": "p1", "value": 1}])
    assert newest_window(workspace, "payments", 1, 2).ids == ["p1", "p5"]


def test_predictions_from_elsewhere_are_taken_once(workspace: Workspace) -> None:
    row = prediction(0, revision=None, event_time=START + timedelta(hours=1))
    first = add_predictions(workspace, "payments", [row])
    again = add_predictions(workspace, "payments", [row])
    assert (first.accepted, again.accepted, again.duplicates) == (1, 0, 1)
    (seen,) = recent(workspace, "payments", 10)
    assert (seen.revision, seen.event_time) == (None, START + timedelta(hours=1))


@pytest.mark.parametrize(
    ("time", "says"),
    [
        ("soon", "takes a time as ISO 8601"),
        (7, "takes a time"),
        ("2026-01-07T00:00:00Z", "more than a day ahead"),
        ("1969-12-31T23:59:59Z", "before 1970"),
    ],
)
def test_a_label_of_an_impossible_time_is_refused(workspace: Workspace, time: Any, says: str) -> None:
    with pytest.raises(DataError, match=f"Label 1 for 'payments': 'labelled_at' .*{says}"):
        add_labels(workspace, "payments", [{"reference": "p0", "value": 1, "labelled_at": time}])
    assert totals(workspace).labels == 0


def test_a_read_only_workspace_takes_no_labels_from_people(workspace: Workspace) -> None:
    closed = dataclasses.replace(workspace, settings=Settings.model_validate({"workspace": {"read_only": True}}))
    with pytest.raises(ReadOnlyError, match="label add"):
        add_labels(closed, "payments", [{"reference": "p0", "value": 1}])


def test_traffic_counts_requests_versions_quantiles_and_what_was_lost(workspace: Workspace) -> None:
    now = workspace.now()
    rows = [prediction(i, received_at=now, version=1 + i % 2) for i in range(100)]
    record(workspace, [*rows, prediction(500, received_at=now, probe=True)])
    record_unrecorded(workspace, ("payments", 1, "champion"), worker="gateway/0", count=7, reason="queue full")
    row = traffic(workspace, "payments", now - timedelta(seconds=10))
    assert (row.requests, row.versions, row.unrecorded) == (100, {1: 50, 2: 50}, 7)
    assert row.per_second == pytest.approx(10, rel=0.01)
    assert (row.p50_ms, row.p95_ms, row.p99_ms) == (50.0, 95.0, 99.0)
    assert totals(workspace).predictions == 100


def test_a_sparkline_counts_each_part_of_the_span(workspace: Workspace) -> None:
    record(workspace, [prediction(i) for i in (0, 1, 5)])
    assert sparkline(workspace, "payments", START, START + timedelta(minutes=6), buckets=3) == [2, 0, 1]


def test_a_count_of_served_requests_stops_at_what_is_asked(workspace: Workspace) -> None:
    record(workspace, [prediction(i) for i in range(5)])
    assert served_at_least(workspace, "payments", 1, 5, since=START)
    assert not served_at_least(workspace, "payments", 1, 6, since=START)
    assert not served_at_least(workspace, "payments", 2, 1, since=START)


def test_what_a_revision_answered_is_counted_from_an_index_alone(workspace: Workspace) -> None:
    record(workspace, [prediction(i, revision=1 + i // 3) for i in range(5)] + [prediction(9, probe=True)])
    assert requests_by_revision(workspace, "payments") == {1: 3, 2: 2}
    counting = """
        SELECT revision, count(*) FROM prediction
        WHERE deployment = 'payments' AND revision IS NOT NULL AND NOT probe GROUP BY revision
    """
    served = """
        SELECT count(*) AS n FROM (
            SELECT 1 FROM prediction
            WHERE deployment = 'payments' AND received_at >= '2026' AND revision = 1 AND NOT probe LIMIT 7
        )
    """
    with workspace.traffic.read() as tx:
        for sql in (counting, served):
            plan = tx.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all()
            assert any("COVERING INDEX ix_prediction_revision" in step[3] for step in plan)
