"""The housekeeping jobs on real files: what each does, and what it leaves alone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, col, select

from quarterdeck import bootstrap, events
from quarterdeck.errors import DiskError, FencedError
from quarterdeck.monitoring.alert import Severity
from quarterdeck.monitoring.notice import Notice
from quarterdeck.pipelines.run import Run, RunState
from quarterdeck.runner import housekeeping
from quarterdeck.runner.housekeeping import BackupDone, CompactionDone, Task, TidyDone, VacuumDone, keep_house
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.traffic.queries import totals
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports
from tests.unit.traffic.stories import START, at_day, everything, rows

DAY = timedelta(days=1)


def no_fence(tx: Session) -> None:
    """The attempt goes on."""


def test_compacting_tells_what_was_moved_and_removed(workspace: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    record(workspace, [*rows(range(10)), *rows(range(10, 20), at=START + 150 * DAY)])
    at_day(workspace, 200)
    done = keep_house(workspace, Task.COMPACT, no_fence)
    assert isinstance(done, CompactionDone)
    assert (done.compacted.predictions, done.retained.expired.predictions) == (20, 10)
    said = capfd.readouterr().err
    assert "compact: 20 predictions moved to 2 files" in said
    assert "10 predictions and 0 labels removed that came longer ago than 90 days; " in said
    assert said.count("\n") == 1


def test_a_full_disk_fails_the_compaction_after_room_was_made(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise DiskError("full")

    record(workspace, rows(range(10)))
    at_day(workspace, 200)
    monkeypatch.setattr("quarterdeck.traffic.compaction.write_file", full)
    with pytest.raises(DiskError):
        keep_house(workspace, Task.COMPACT, no_fence)
    assert totals(workspace).predictions == 0


@pytest.mark.parametrize("task", Task)
def test_an_attempt_that_was_given_up_does_nothing(workspace: Workspace, task: Task) -> None:
    def given_up(tx: Session) -> None:
        raise FencedError

    record(workspace, rows(range(10)))
    at_day(workspace, 200)
    with pytest.raises(FencedError):
        keep_house(workspace, task, given_up)
    assert totals(workspace).predictions == 10
    assert not (workspace.folder / "backups").exists()


def back_up(workspace: Workspace) -> BackupDone:
    done = keep_house(workspace, Task.BACKUP, no_fence)
    assert isinstance(done, BackupDone)
    return done


def test_a_backup_is_a_state_that_can_be_put_in_place(workspace: Workspace) -> None:
    with workspace.state.write("test") as tx:
        workspace.record(tx, "thing.happened", "thing/1")
    done = back_up(workspace)
    with workspace.state.write("test") as tx:
        workspace.record(tx, "thing.happened", "thing/2")
    workspace.close()
    for name in ("state.db", "state.db-wal", "state.db-shm"):
        (workspace.folder / name).unlink(missing_ok=True)
    shutil.copy(done.path, workspace.folder / "state.db")
    restored = bootstrap.open_workspace(workspace.root, ports=fake_ports())
    with restored.state.read() as tx:
        assert events.verify(tx) == 2
        assert [event.subject for event in events.after(tx, 0)] == ["workspace", "thing/1"]
    with restored.state.write("test") as tx:
        restored.record(tx, "thing.happened", "thing/3")
        assert events.verify(tx) == 3
    restored.close()


def test_backups_are_named_by_their_time_and_the_newest_are_kept(workspace: Workspace) -> None:
    for day in range(9):
        at_day(workspace, day)
        done = back_up(workspace)
    names = [path.name for path in sorted(done.path.parent.iterdir())]
    assert names == [f"state-202601{day:02}T000000Z.db" for day in range(7, 14)]
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(done.path.parent.stat().st_mode) == 0o700


def test_a_backup_is_of_one_moment_and_blocks_no_writer(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BACKUP_PAGES", 1)
    connect = sqlite3.connect
    steps = 0

    class Watched(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, *, pages: int = -1, **named: Any) -> None:
            def write_meanwhile(status: int, remaining: int, total: int) -> None:
                nonlocal steps
                steps += 1
                assert steps < 2000, "the copy begins anew with every write"
                with workspace.state.write("test") as tx:
                    workspace.record(tx, "thing.happened", f"thing/{steps}")

            super().backup(target, pages=pages, progress=write_meanwhile, **named)

    def open_watched(path: Path) -> sqlite3.Connection:
        return connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, factory=Watched)

    monkeypatch.setattr(housekeeping, "open_read_only", open_watched)
    done = back_up(workspace)
    copy = connect(done.path)
    assert copy.execute("SELECT count(*) FROM event").fetchone() == (1,)
    pages = copy.execute("PRAGMA page_count").fetchone()[0]
    copy.close()
    # Once over the file: it never began anew.
    assert steps <= pages + 1
    assert steps > 20


def test_a_damaged_copy_is_thrown_away_and_older_backups_stay(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = back_up(workspace).path
    with workspace.state.write("test") as tx:
        tx.connection().exec_driver_sql("CREATE TABLE scratch (x)")
        tx.connection().exec_driver_sql("CREATE INDEX ix_scratch ON scratch (x)")
        tx.connection().exec_driver_sql("INSERT INTO scratch VALUES (1), (2)")
        root = tx.connection().exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'ix_scratch'").scalar()
    workspace.state.checkpoint()
    workspace.state.close()
    with workspace.state.path.open("rb+") as file:
        file.seek((int(root or 0) - 1) * 4096)
        file.write(b"\x0a" + b"\0" * 4000)
    at_day(workspace, 30)
    with pytest.raises(DiskError, match=r"copy of .*state\.db is damaged"):
        back_up(workspace)
    assert list(kept.parent.iterdir()) == [kept]


def vacuum(workspace: Workspace) -> VacuumDone:
    done = keep_house(workspace, Task.VACUUM, no_fence)
    assert isinstance(done, VacuumDone)
    return done


def free_pages(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("PRAGMA freelist_count").fetchone()
    connection.close()
    return int(found)


def test_vacuum_gives_free_room_back_in_small_steps(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    vacuum(workspace)  # Whatever made the files, they can be vacuumed in steps from here on.
    record(workspace, rows(range(2000)))
    keep = everything(workspace)[-100:]
    with workspace.traffic.write("test") as tx:
        tx.connection().exec_driver_sql("DELETE FROM prediction WHERE rowid <= 1900")
    workspace.traffic.checkpoint()
    size, free = workspace.traffic.path.stat().st_size, free_pages(workspace.traffic.path)
    assert free > 50
    monkeypatch.setattr(housekeeping, "FREED_AT_ONCE", 10)
    held: list[str] = []
    lock = workspace.traffic.lock
    take = lock.held

    def noted(verb: str, *more: Any) -> AbstractContextManager[None]:
        held.append(verb)
        return take(verb, *more)

    monkeypatch.setattr(lock, "held", noted)
    done = vacuum(workspace)
    assert done.freed["traffic.db"] >= free * 4096
    assert free // 10 <= held.count("vacuum") <= free // 10 + 2
    assert (free_pages(workspace.traffic.path), everything(workspace)) == (0, keep)
    assert workspace.traffic.path.stat().st_size <= size - free * 4096


def test_vacuum_leaves_a_file_with_little_to_gain_as_it_is(workspace: Workspace) -> None:
    vacuum(workspace)
    before = workspace.state.path.read_bytes()
    done = vacuum(workspace)
    assert (done.freed, set(done.skipped)) == ({}, {"state.db", "traffic.db"})
    assert workspace.state.path.read_bytes() == before


def test_an_old_file_is_rewritten_once_unless_that_took_long(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = sqlite3.connect(workspace.traffic.path)
    raw.executescript("PRAGMA auto_vacuum = NONE; VACUUM")
    raw.close()
    monkeypatch.setattr(housekeeping, "CONVERTED_BYTES", 1)
    assert "rewrite" in vacuum(workspace).skipped["traffic.db"]
    monkeypatch.undo()
    assert "traffic.db" in vacuum(workspace).freed
    raw = sqlite3.connect(workspace.traffic.path)
    assert raw.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    raw.close()


def add_job(workspace: Workspace, job_id: int, state: JobState, days_ago: float | None, **columns: Any) -> None:
    ended = None if days_ago is None else workspace.now() - days_ago * DAY
    values: dict[str, Any] = {
        "kind": JobKind.MONITOR,
        "key": f"job-{job_id}",
        "subject": "monitor/m",
        "payload": {},
        "attempt": 1,
        "not_before": START,
        "created_at": START,
        "started_at": ended,
        "finished_at": ended,
    }
    with workspace.state.write("test") as tx:
        tx.add(Job(id=job_id, state=state, **{**values, **columns}))


def write_logs(workspace: Workspace, *names: str) -> None:
    folder = workspace.logs / "jobs"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("said\n")


def tidy(workspace: Workspace) -> TidyDone:
    done = keep_house(workspace, Task.TIDY, no_fence)
    assert isinstance(done, TidyDone)
    return done


def age(path: Path, workspace: Workspace, days: float) -> None:
    moment = (workspace.now() - days * DAY).timestamp()
    os.utime(path, (moment, moment))


def test_logs_go_when_their_attempt_ended_long_ago(workspace: Workspace) -> None:
    at_day(workspace, 100)
    add_job(workspace, 1, JobState.SUCCEEDED, 40)
    add_job(workspace, 2, JobState.SUCCEEDED, 20)
    add_job(workspace, 3, JobState.DEAD, 60)
    add_job(workspace, 4, JobState.RUNNING, None, attempt=3, started_at=workspace.now() - 35 * DAY)
    add_job(workspace, 5, JobState.QUEUED, None, attempt=1, started_at=workspace.now() - 35 * DAY)
    gone = ["1-1.log", "1-1.log.1", "4-2.log", "4-1.log.1", "77-1.log"]
    kept = ["2-1.log", "3-1.log", "4-3.log", "5-1.log", "78-1.log", "notes.txt"]
    write_logs(workspace, *gone, *kept)
    age(workspace.logs / "jobs" / "77-1.log", workspace, 31)
    age(workspace.logs / "jobs" / "78-1.log", workspace, 2)
    done = tidy(workspace)
    assert (done.logs, done.bytes) == (5, 25)
    assert sorted(path.name for path in (workspace.logs / "jobs").iterdir()) == kept


def test_ended_jobs_go_unless_something_refers_to_them(workspace: Workspace) -> None:
    at_day(workspace, 200)
    with workspace.state.write("test") as tx:
        for run_id, state in ((1, RunState.SUCCEEDED), (2, RunState.RUNNING)):
            ended = START if state is RunState.SUCCEEDED else None
            tx.add(
                Run(
                    id=run_id,
                    pipeline="p",
                    state=state,
                    parameters={},
                    trigger="test",
                    requested_by="tester",
                    queued_at=START,
                    finished_at=ended,
                )
            )
    add_job(workspace, 1, JobState.SUCCEEDED, 100, kind=JobKind.RUN, key="run/1")
    add_job(workspace, 2, JobState.LOST, 100, kind=JobKind.RUN, key="run/2")
    add_job(workspace, 3, JobState.CANCELLED, 100, schedule="nightly")
    add_job(workspace, 4, JobState.FAILED, 100, schedule="nightly")
    add_job(workspace, 5, JobState.DEAD, 100)
    add_job(workspace, 6, JobState.QUEUED, None)
    add_job(workspace, 7, JobState.SUCCEEDED, 80)
    add_job(workspace, 8, JobState.SUCCEEDED, 100, process_group=12, process_started=1.0, boot_id="b")
    add_job(workspace, 9, JobState.SUCCEEDED, 100)
    assert tidy(workspace).jobs == 2
    with workspace.state.read() as tx:
        assert list(tx.exec(select(Job.id).order_by(col(Job.id)))) == [2, 4, 5, 6, 7, 8, 9]
        assert len(tx.exec(select(Run)).all()) == 2


def test_what_webhooks_were_told_goes_with_the_message(workspace: Workspace) -> None:
    at_day(workspace, 200)
    add_job(workspace, 1, JobState.SUCCEEDED, 100, key="notify:old")
    add_job(workspace, 2, JobState.DEAD, 100, key="notify:dead")
    add_job(workspace, 3, JobState.SUCCEEDED, 1)
    then = workspace.now() - 100 * DAY
    with workspace.state.write("test") as tx:
        for message in ("notify:old", "notify:dead"):
            tx.add(
                Notice(
                    key=message,
                    webhook="w",
                    subject="alert/1",
                    severity=Severity.PAGE,
                    ended=False,
                    noted_at=then,
                    message=message,
                    joined_at=then,
                )
            )
    tidy(workspace)
    with workspace.state.read() as tx:
        assert list(tx.exec(select(Notice.key))) == ["notify:dead"]


def test_files_of_dead_writers_go_after_a_day(workspace: Workspace) -> None:
    at_day(workspace, 100)
    places = [workspace.artifacts.root / "staging", workspace.folder / "traffic", workspace.folder / "backups"]
    for place in places:
        place.mkdir(exist_ok=True)
        for name, days in (("old.tmp", 1.5), ("fresh.tmp", 0.5)):
            (place / name).write_text("half")
            age(place / name, workspace, days)
    (workspace.folder / "backups" / "state-20260105T000000Z.db").write_text("a backup")
    age(workspace.folder / "backups" / "state-20260105T000000Z.db", workspace, 90)
    assert tidy(workspace).temporary == 3
    assert [sorted(path.name for path in place.iterdir()) for place in places] == [
        ["fresh.tmp"],
        ["fresh.tmp"],
        ["fresh.tmp", "state-20260105T000000Z.db"],
    ]
