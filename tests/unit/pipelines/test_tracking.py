"""Tracking: batches, and nothing that was logged is lost."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import pytest
from sqlmodel import Session

from quarterdeck.errors import FencedError, UsageError
from quarterdeck.pipelines import log_metric, log_params, queries, tracking
from quarterdeck.pipelines.run import Run, RunState
from quarterdeck.pipelines.tracking import Tracker
from quarterdeck.workspace import Workspace
from tests.waiting import wait_for


def open_fence(tx: Session) -> None: ...


@pytest.fixture
def run_id(workspace: Workspace) -> Iterator[int]:
    with workspace.state.write("run") as tx:
        run = Run(
            pipeline="train",
            state=RunState.QUEUED,
            parameters={},
            trigger="manual",
            requested_by="ada",
            queued_at=workspace.now(),
        )
        tx.add(run)
        tx.flush()
        assert run.id is not None
        number = run.id
    yield number
    assert tracking._current is None


def test_nan_and_infinities_are_kept_in_order(workspace: Workspace, run_id: int) -> None:
    with Tracker(workspace, run_id, open_fence):
        for step, value in enumerate([0.5, math.nan, math.inf, -math.inf]):
            log_metric("loss", value, step)
    series = queries.run(workspace, run_id).series
    assert [row.step for row in series] == [0, 1, 2, 3]
    assert series[0].value == 0.5
    assert math.isnan(series[1].value)
    assert [row.value for row in series[2:]] == [math.inf, -math.inf]


def test_a_full_batch_is_written_without_a_flush(workspace: Workspace, run_id: int) -> None:
    with Tracker(workspace, run_id, open_fence):
        for step in range(tracking.BATCH_ROWS):
            log_metric("loss", 1.0, step)
        wait_for(lambda: len(queries.run(workspace, run_id).series) == tracking.BATCH_ROWS, seconds=0.8)


def test_a_single_value_is_written_within_about_a_second(workspace: Workspace, run_id: int) -> None:
    with Tracker(workspace, run_id, open_fence):
        log_metric("loss", 1.0)
        wait_for(lambda: queries.run(workspace, run_id).series, seconds=3)


def test_what_was_logged_is_written_when_the_step_raises(workspace: Workspace, run_id: int) -> None:
    def interrupted() -> None:
        with Tracker(workspace, run_id, open_fence):
            log_metric("loss", 1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert queries.run(workspace, run_id).metrics == {"loss": 1.0}


def test_an_attempt_that_was_given_up_writes_nothing(workspace: Workspace, run_id: int) -> None:
    def closed(tx: Session) -> None:
        raise FencedError

    with Tracker(workspace, run_id, closed) as tracker:
        log_metric("loss", 1.0)
        with pytest.raises(FencedError):
            tracker.flush()
    assert queries.run(workspace, run_id).series == []


def test_a_write_that_fails_is_repeated(workspace: Workspace, run_id: int) -> None:
    failures = [RuntimeError("busy")]

    def busy_once(tx: Session) -> None:
        if failures:
            raise failures.pop()

    with Tracker(workspace, run_id, busy_once) as tracker:
        log_metric("loss", 1.0)
        with pytest.raises(RuntimeError):
            tracker.flush()
        tracker.flush()
        assert queries.run(workspace, run_id).metrics == {"loss": 1.0}


def test_outside_a_run_it_says_so() -> None:
    with pytest.raises(UsageError, match="log_metric works inside a step"):
        log_metric("loss", 1.0)
    with pytest.raises(UsageError, match="log_params works inside a step"):
        log_params({"depth": 3})


def test_in_a_process_of_the_steps_own_it_says_so(workspace: Workspace, run_id: int) -> None:
    with Tracker(workspace, run_id, open_fence) as tracker:
        tracker.process = os.getpid() + 1
        with pytest.raises(UsageError, match="in a process that the step started"):
            log_metric("loss", 1.0)


def test_a_value_that_is_no_number_is_refused_by_name(workspace: Workspace, run_id: int) -> None:
    with Tracker(workspace, run_id, open_fence), pytest.raises(UsageError, match=r"log_metric\('loss', 'low'"):
        log_metric("loss", "low")  # type: ignore[arg-type]  # what the test is about
