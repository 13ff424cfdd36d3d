"""Recording: nothing that was answered is lost silently."""

from __future__ import annotations

import dataclasses
import sqlite3
from datetime import UTC, datetime
from typing import Any

import pytest

from quarterdeck.serving.metrics import Metrics
from quarterdeck.serving.protocol import ParsedRequest
from quarterdeck.serving.recorder import KILLED, Recorder, Served
from quarterdeck.serving.runtime import Answer
from quarterdeck.serving.tally import Tally
from quarterdeck.settings import Settings
from quarterdeck.traffic.recording import record_rows
from quarterdeck.workspace import Workspace
from tests.waiting import wait_for

RECEIVED = datetime(2026, 1, 5, 12, tzinfo=UTC)


def served(id: str, rows: int = 1, *, value: Any = "no", deployment: str = "d") -> Served:
    request = ParsedRequest(
        id=id, columns={"a": [1.5] * rows, "b": [None] * rows}, rows=rows, keys=["k"] * rows, event_times=[None] * rows
    )
    answer = Answer([value] * rows, [[0.9, 0.1]] * rows)
    return Served(deployment, 4, 2, request, answer, RECEIVED, latency_us=7, probe=False)


def rows_of(workspace: Workspace, table: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(workspace.traffic.path)
    try:
        return connection.execute(f"SELECT * FROM {table}").fetchall()
    finally:
        connection.close()


def test_answers_are_written_within_moments_with_all_that_is_known_of_them(workspace: Workspace) -> None:
    recorder = Recorder(workspace, Metrics(workspace.folder / "metrics", 0), limit=100, worker="gateway/0")
    try:
        recorder.offer(served("one"))
        (row,) = wait_for(lambda: rows_of(workspace, "prediction"))
    finally:
        recorder.close()
    stamp = "2026-01-05T12:00:00.000000Z"
    assert row == ("d", "one", "k", stamp, stamp, 4, 2, "champion", "[1.5,null]", '"no"', "[0.9,0.1]", 7, 0)


def test_closing_writes_what_is_queued(workspace: Workspace) -> None:
    recorder = Recorder(workspace, Metrics(workspace.folder / "metrics", 0), limit=5000, worker="gateway/0")
    for number in range(700):
        recorder.offer(served(f"r{number}", rows=2))
    recorder.close()
    assert len(rows_of(workspace, "prediction")) == 1400
    assert rows_of(workspace, "unrecorded") == []


def test_what_does_not_fit_is_counted_and_what_waits_for_the_lock_is_written_later(workspace: Workspace) -> None:
    with workspace.traffic.lock.held("someone else"):
        recorder = Recorder(workspace, Metrics(workspace.folder / "metrics", 0), limit=3, worker="gateway/0")
        for number in range(5):
            recorder.offer(served(f"r{number}"))
    recorder.close()
    assert [row[1] for row in rows_of(workspace, "prediction")] == ["r0", "r1", "r2"]
    assert [row[2:] for row in rows_of(workspace, "unrecorded")] == [("d", "gateway/0", 2, "queue full")]


def test_a_batch_that_cannot_be_written_is_counted_and_the_next_one_is_written(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(workspace, Metrics(workspace.folder / "metrics", 0), limit=100, worker="gateway/0")
    try:
        recorder.offer(served("bad", value=object()))
        (lost,) = wait_for(lambda: rows_of(workspace, "unrecorded"))
        recorder.offer(served("good"))
        wait_for(lambda: rows_of(workspace, "prediction"))
    finally:
        recorder.close()
    assert lost[2:5] == ("d", "gateway/0", 1)
    assert "cannot be recorded" in lost[5]
    assert [row[1] for row in rows_of(workspace, "prediction")] == ["good"]


def test_a_prediction_whose_id_is_known_is_counted_for_its_deployment(workspace: Workspace) -> None:
    recorder = Recorder(workspace, Metrics(workspace.folder / "metrics", 0), limit=100, worker="gateway/0")
    for again in (served("one"), served("one"), served("one", deployment="e"), served("two", rows=2), served("one")):
        recorder.offer(again)
    recorder.close()
    assert len(rows_of(workspace, "prediction")) == 4
    assert [row[2:] for row in rows_of(workspace, "unrecorded")] == [("d", "gateway/0", 2, "id known already")]


def policy(workspace: Workspace, **fields: Any) -> Workspace:
    settings = Settings.model_validate({"deployments": {"d": fields}})
    return dataclasses.replace(workspace, settings=settings)


def test_a_share_of_requests_is_recorded_and_the_same_ones_by_every_worker(workspace: Workspace) -> None:
    sampled, written = policy(workspace, record=0.3), []
    for worker in ("gateway/0", "gateway/1"):
        recorder = Recorder(sampled, Metrics(workspace.folder / "metrics", 0), limit=5000, worker=worker)
        for number in range(1000):
            if recorder.announce(asked := served(f"r{number}")):
                recorder.offer(asked)
        recorder.close()
        written.append({row[1] for row in rows_of(workspace, "prediction")})
    assert 200 < len(written[0]) < 400
    assert written[1] == written[0]


def test_values_that_must_not_be_stored_are_not(workspace: Workspace) -> None:
    recorder = Recorder(
        policy(workspace, omit=["a"]), Metrics(workspace.folder / "metrics", 0), limit=100, worker="gateway/0"
    )
    recorder.offer(served("one", rows=2))
    recorder.close()
    assert [row[8] for row in rows_of(workspace, "prediction")] == ["[null,null]"] * 2


def test_every_answer_is_counted_recorded_or_not_and_waits_for_the_lock(workspace: Workspace) -> None:
    sampled = policy(workspace, record=0.0)
    with workspace.traffic.lock.held("someone else"):
        recorder = Recorder(sampled, Metrics(workspace.folder / "metrics", 0), limit=100, worker="gateway/0")
        for latency in (900, 950, 70_000):
            recorder.count_answer("d", latency)
        recorder.count_error("d", 1, "failed")
    recorder.count_answer("e", 900)
    recorder.close()
    assert sorted((row[0], row[2], row[3]) for row in rows_of(workspace, "answered")) == [
        ("d", 900, 1),
        ("d", 1000, 1),
        ("d", 70_000, 1),
        ("e", 900, 1),
    ]
    assert [row[2:] for row in rows_of(workspace, "unanswered")] == [(1, "failed", 1)]


def test_what_went_along_with_a_worker_is_counted_once_however_often_workers_end(workspace: Workspace) -> None:
    for _ in range(3):
        recorder = Recorder(workspace, Metrics(workspace.folder / "metrics", 0), limit=100, worker="gateway/0")
        recorder.announce(served("lost", rows=2))  # Its answer left, and the worker was killed then.
        recorder.close()
    assert [row[2:] for row in rows_of(workspace, "unrecorded")] == [("d", "gateway/0", 2, KILLED)] * 2


def test_what_a_killed_worker_has_just_written_is_not_taken_for_lost(workspace: Workspace) -> None:
    metrics = Metrics(workspace.folder / "metrics", 0)
    recorder = Recorder(workspace, metrics, limit=100, worker="gateway/0")
    recorder.announce(served("one", rows=3))
    recorder.close()
    tally = Tally(workspace.folder / "tally" / "gateway-0")
    record_rows(workspace, served("one", rows=3).rows(), tally=tally.id)  # The kill follows the commit at once.
    tally.close()
    Recorder(workspace, metrics, limit=100, worker="gateway/0").close()
    assert rows_of(workspace, "unrecorded") == []


def test_the_counts_of_several_workers_add_up(workspace: Workspace) -> None:
    for worker in ("gateway/0", "gateway/1"):
        recorder = Recorder(workspace, Metrics(workspace.folder / "metrics", 0), limit=100, worker=worker)
        for _ in range(3):
            recorder.count_answer("d", 900)
        recorder.close()
    assert [row[2:] for row in rows_of(workspace, "answered")] == [(900, 6)]
