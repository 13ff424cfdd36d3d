"""The write lock, the transactions, and the look that tells of news."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sqlite3
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlmodel import Session, select

from quarterdeck import bootstrap
from quarterdeck.database import ChangeWatch, Database, timestamp
from quarterdeck.datasets.dataset import Dataset
from quarterdeck.errors import BusyError
from quarterdeck.pipelines.run import Metric, Run, RunState
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports
from tests.waiting import wait_for

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def add_dataset(tx: Session, name: str) -> None:
    tx.add(Dataset(name=name, created_at=NOW))


def names(database: Database) -> list[str]:
    with database.read() as tx:
        return list(tx.exec(select(Dataset.name).order_by(Dataset.name)))


def test_a_write_is_there_for_others_once_its_block_ended(workspace: Workspace) -> None:
    with workspace.state.write("test") as tx:
        add_dataset(tx, "a")
        tx.flush()
        assert names(Database(workspace.state.path)) == []
    assert names(Database(workspace.state.path)) == ["a"]


def test_a_write_that_raises_leaves_nothing(workspace: Workspace) -> None:
    def failing() -> None:
        with workspace.state.write("test") as tx:
            add_dataset(tx, "a")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        failing()
    assert names(workspace.state) == []


def test_a_read_sees_one_state_while_others_write(workspace: Workspace) -> None:
    with workspace.state.read() as tx:
        before = tx.exec(select(Dataset)).all()
        with workspace.state.write("test") as other:
            add_dataset(other, "a")
        assert tx.exec(select(Dataset)).all() == before


def test_a_writer_that_waits_too_long_is_told_who_holds_the_lock(workspace: Workspace) -> None:
    with (
        workspace.state.lock.held("a long verb"),
        pytest.raises(BusyError, match=r"held by process \d+ \(a long verb\) for more than 0\.2 s"),
        workspace.state.lock.held("another", patience=0.2),
    ):
        pytest.fail("the lock was taken twice")


def test_a_waiter_that_gave_up_does_not_keep_the_lock(workspace: Workspace) -> None:
    with (
        workspace.state.lock.held("first"),
        pytest.raises(BusyError),
        workspace.state.lock.held("second", patience=0.05),
    ):
        pytest.fail("the lock was taken twice")
    with workspace.state.lock.held("third", patience=5):
        pass


def test_a_waiting_writer_gets_the_lock_when_it_is_free(workspace: Workspace) -> None:
    waiting, got = threading.Event(), threading.Event()

    def wait_for_it() -> None:
        waiting.set()
        with workspace.state.lock.held("second"):
            got.set()

    thread = threading.Thread(target=wait_for_it)
    with workspace.state.lock.held("first"):
        thread.start()
        assert waiting.wait(5)
        assert not got.is_set()
    assert got.wait(5)
    thread.join()


def count_up(path: Path, times: int) -> None:
    database = Database(path)
    for _ in range(times):
        with database.write("count") as tx:
            run = tx.get(Run, 1)
            assert run is not None
            run.seed += 1
            tx.add(run)


def test_processes_that_write_at_once_lose_no_update(workspace: Workspace) -> None:
    with workspace.state.write("test") as tx:
        tx.add(
            Run(id=1, pipeline="p", state=RunState.QUEUED, parameters={}, trigger="t", requested_by="x", queued_at=NOW)
        )
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=count_up, args=(workspace.state.path, 20)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    with workspace.state.read() as tx:
        assert tx.exec(select(Run.seed)).one() == 80


def test_a_watch_sees_a_commit_of_another_connection_once(workspace: Workspace) -> None:
    watch = ChangeWatch(workspace.state.path)
    assert watch.changed()
    assert not watch.changed()
    with workspace.state.write("test") as tx:
        add_dataset(tx, "a")
    assert watch.changed()
    assert not watch.changed()
    watch.close()


def test_a_checkpoint_moves_the_log_into_the_file_once_it_is_long_enough(workspace: Workspace) -> None:
    with workspace.state.write("test") as tx:
        add_dataset(tx, "a")
    size = workspace.state.path.stat().st_size
    workspace.state.checkpoint(from_bytes=1 << 30)
    assert workspace.state.path.stat().st_size == size
    before = workspace.state.path.read_bytes()
    workspace.state.checkpoint()
    assert workspace.state.path.read_bytes() != before
    assert names(workspace.state) == ["a"]


def test_an_entity_refuses_what_does_not_fit(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="is not a name"):
        Dataset(name="not a name", created_at=NOW)
    dataset = Dataset(name="fits", created_at=NOW)
    with pytest.raises(ValueError, match="valid datetime"):
        dataset.created_at = "yesterday"  # type: ignore[assignment]  # that is what is refused


def test_a_state_that_does_not_exist_cannot_be_written_by_raw_sql_either(workspace: Workspace) -> None:
    sql = (
        "INSERT INTO run (pipeline, state, parameters, trigger, requested_by, queued_at, inputs, graph, git, "
        "environment, seed) VALUES ('p', 'dreaming', '{}', 't', 'x', '', '{}', '{}', '{}', '{}', 0)"
    )
    with (
        pytest.raises((IntegrityError, OperationalError), match="CHECK"),
        workspace.state.write("test") as tx,
    ):
        tx.connection().exec_driver_sql(sql)


def test_times_come_back_in_utc_and_sort_as_text() -> None:
    east = datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(east) == "2026-01-05T10:00:00.000000Z"
    assert timestamp(east) < timestamp(east + timedelta(microseconds=1))
    with pytest.raises(ValueError, match="no time zone"):
        timestamp(datetime(2026, 1, 5))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 0.1])
def test_a_metric_keeps_nan_and_infinities(workspace: Workspace, value: float) -> None:
    with workspace.state.write("test") as tx:
        tx.add(
            Run(id=1, pipeline="p", state=RunState.QUEUED, parameters={}, trigger="t", requested_by="x", queued_at=NOW)
        )
        tx.flush()
        tx.add(Metric(run_id=1, name="m", value=value, at=NOW))
    with Database(workspace.state.path).read() as tx:
        assert tx.exec(select(Metric.value)).one() == pytest.approx(value, nan_ok=True)


def test_the_holder_is_named_while_a_verb_runs(workspace: Workspace) -> None:
    with workspace.state.write("deploy"):
        wait_for(lambda: "deploy" in workspace.state.lock.path.read_text(), seconds=1)


def hold_and_fork(path: Path, forked: Any, release: Any) -> None:
    """A process that forks while it holds the lock, gives the lock back, and leaves the child alive."""
    with Database(path).lock.held("forking"):
        child = os.fork()
        if child == 0:
            release.wait(30)
            os._exit(0)
    forked.set()
    os.waitpid(child, 0)


def test_a_child_that_was_forked_under_the_lock_does_not_keep_it(workspace: Workspace) -> None:
    context = multiprocessing.get_context("spawn")
    forked, release = context.Event(), context.Event()
    process = context.Process(target=hold_and_fork, args=(workspace.state.path, forked, release))
    process.start()
    try:
        assert forked.wait(30)
        with workspace.state.lock.held("after", patience=1):
            pass
    finally:
        release.set()
        process.join(30)


def test_a_wait_that_is_interrupted_leaves_the_lock_free(workspace: Workspace) -> None:
    class Stopped(BaseException):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with workspace.state.lock.held("first"):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Stopped), workspace.state.lock.held("second", patience=20):
                pytest.fail("the lock was taken twice")
        with workspace.state.lock.held("third", patience=2):
            pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_foreign_program_that_holds_the_file_is_told_of(workspace: Workspace, tmp_path: Path) -> None:
    database = Database(workspace.state.path)
    event.listen(database.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=50"))
    shell = sqlite3.connect(workspace.state.path, isolation_level=None)
    shell.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(BusyError, match="not Quarterdeck"), database.write("test") as tx:
            add_dataset(tx, "a")
    finally:
        shell.execute("ROLLBACK")
        shell.close()


@pytest.mark.parametrize("name", ["C#", "50%25", "a?b", "mit Umlaut ü"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    workspace = bootstrap.create_workspace(tmp_path / name, ports=fake_ports())
    watch = ChangeWatch(workspace.state.path)
    assert watch.changed()
    with workspace.state.write("test") as tx:
        add_dataset(tx, "a")
    assert watch.changed()
    watch.close()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [name]


def test_years_before_1000_are_written_with_four_digits() -> None:
    moment = datetime(1, 1, 1, tzinfo=UTC)
    assert datetime.fromisoformat(timestamp(moment)) == moment
