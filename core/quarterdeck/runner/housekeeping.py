"""What keeps a workspace in order unwatched: compact, back up, vacuum, tidy. Each is a job, and tells what it did."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from quarterdeck.database import Database, open_read_only, rows_as_dicts, timestamp
from quarterdeck.errors import BusyError, DiskError
from quarterdeck.registry.packing import remove_unused
from quarterdeck.runner.narration import say
from quarterdeck.runner.worker import JOB_LOGS, Fence
from quarterdeck.traffic.compaction import Compacted, compact
from quarterdeck.traffic.files import TEMPORARY, megabytes, written_whole
from quarterdeck.traffic.retention import Retained, retain
from quarterdeck.workspace import Workspace

BACKUP_PAGES = 256
WORTH_BYTES = 16 * 1024 * 1024
WORTH_SHARE = 0.1
FREED_AT_ONCE = 200
CONVERTED_BYTES = 64 * 1024 * 1024
CHECKPOINT_BYTES = 8 * 1024 * 1024
PAUSE_SECONDS = 0.01
INCREMENTAL = 2
JOBS_AT_ONCE = 200
ABANDONED = timedelta(days=1)
NEVER = "9"
_LOG = re.compile(r"(\d+)-(\d+)\.log(?:\.(?:\d+|old))?")
# A dead job is not over: it waits for a person. What others refer to stays: an open run's job, and the last of each
# schedule; and so does the very last one, since its number would be given again.
_OLD_JOBS = """
    SELECT id FROM job
    WHERE state IN ('succeeded', 'failed', 'cancelled', 'lost') AND finished_at < :horizon AND process_group IS NULL
      AND id <> (SELECT max(id) FROM job)
      AND id NOT IN (SELECT max(id) FROM job WHERE schedule IS NOT NULL GROUP BY schedule)
      AND NOT EXISTS (SELECT 1 FROM run WHERE 'run/' || run.id = job.key AND run.finished_at IS NULL)
"""

# Once its message is gone nothing asks for a notice any more; one that waits for no webhook of the settings goes, too.
_OLD_NOTICES = """
    DELETE FROM notice WHERE noted_at < :horizon AND NOT EXISTS (SELECT 1 FROM job WHERE job.key = notice.message)
"""
_BACKUP_ENDED = """
    UPDATE job SET state = 'succeeded', finished_at = :now, process_group = NULL, process_started = NULL, boot_id = NULL
    WHERE kind = 'housekeeping' AND state = 'running' AND payload = '{"task":"backup"}'
"""


class Task(StrEnum):
    COMPACT = "compact"
    """Move closed hours of traffic to Parquet files, then remove what is too old or too much."""
    BACKUP = "backup"
    """Copy state.db."""
    VACUUM = "vacuum"
    """Give room that is free inside the databases back to the disk."""
    TIDY = "tidy"
    """Remove old logs, old ended jobs, and what dead processes left behind."""


@dataclass(frozen=True, slots=True)
class CompactionDone:
    compacted: Compacted
    retained: Retained

    def __str__(self) -> str:
        return f"{self.compacted}; {self.retained}"


@dataclass(frozen=True, slots=True)
class BackupDone:
    path: Path
    bytes: int
    removed: int
    """Older backups that were removed."""

    def __str__(self) -> str:
        return f"{self.path}, {megabytes(self.bytes)}; {self.removed} older removed"


@dataclass(frozen=True, slots=True)
class VacuumDone:
    freed: dict[str, int]
    """For each database, by the name of its file, the bytes given back."""
    skipped: dict[str, str]
    """For each database that was left as it is, why."""

    def __str__(self) -> str:
        told = [f"{name} gave back {megabytes(size)}" for name, size in self.freed.items()]
        return "; ".join([*told, *(f"{name} left as it is: {reason}" for name, reason in self.skipped.items())])


@dataclass(frozen=True, slots=True)
class TidyDone:
    logs: int
    temporary: int
    """Files that dead writers left."""
    folders: int
    """Of models in processes of their own: what was unpacked, and is used no more."""
    jobs: int
    bytes: int
    """Of logs and temporary files."""

    def __str__(self) -> str:
        files = f"{self.logs} logs, {self.temporary} abandoned files"
        return f"removed {files}, {self.folders} unpacked models and {self.jobs} jobs, {megabytes(self.bytes)}"


Done = CompactionDone | BackupDone | VacuumDone | TidyDone


def keep_house(workspace: Workspace, task: Task, fence: Fence) -> Done:
    """Do one task in a job process. `fence` is called in each write transaction of state.db, and between steps.

    Raises:
        FencedError: the attempt was given up.
        BusyError: a lock was not free in time.
        DiskError: the disk is full or failed, or the copy of state.db is damaged.
    """

    def check() -> None:
        with workspace.state.read() as tx:
            fence(tx)

    check()
    done: Done
    match task:
        case Task.COMPACT:
            done = _compact(workspace, check)
        case Task.BACKUP:
            done = _back_up(workspace)
        case Task.VACUUM:
            done = _vacuum(workspace, check)
        case Task.TIDY:
            done = _tidy(workspace, fence)
    say(task, str(done))
    return done


def _compact(workspace: Workspace, check: Callable[[], None]) -> CompactionDone:
    try:
        compacted = compact(workspace, check=check)
    except DiskError:
        retain(workspace)  # It may make the room that was lacking.
        raise
    return CompactionDone(compacted, retain(workspace))


def _back_up(workspace: Workspace) -> BackupDone:
    folder = workspace.folder / "backups"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"state-{workspace.now():%Y%m%dT%H%M%SZ}.db"
    with written_whole(path) as temporary, _explained(path):
        _copy(workspace.state.path, temporary, workspace.now())
    old = sorted(folder.glob("state-*.db"))[: -workspace.settings.housekeeping.backups]
    _remove(old)
    return BackupDone(path, path.stat().st_size, len(old))


def _copy(source_path: Path, target_path: Path, now: datetime) -> None:
    with closing(open_read_only(source_path)) as source, closing(sqlite3.connect(target_path)) as target:
        # One read transaction for the whole copy: readers block nobody, and between steps that each begin their own
        # every write of another process would make SQLite begin the copy anew.
        source.execute("BEGIN")
        source.execute("SELECT 1 FROM sqlite_master").fetchone()
        source.backup(target, pages=BACKUP_PAGES, sleep=0)
        # One file, that can be put in place as it is.
        target.execute("PRAGMA journal_mode=DELETE")
        # The copy is whole when this is read: a runner that begins with it has no lost backup to report.
        target.execute(_BACKUP_ENDED, {"now": timestamp(now)})
        target.commit()
        (verdict,) = target.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise DiskError(
            f"The copy of {source_path} is damaged: {verdict}. It was thrown away; the backups before it are kept. "
            "Look at the disk, and see docs/housekeeping.md for how to restore one."
        )


def _vacuum(workspace: Workspace, check: Callable[[], None]) -> VacuumDone:
    freed, skipped = {}, {}
    for database in (workspace.state, workspace.traffic):
        with _explained(database.path), database.engine.connect() as connection:
            # The driver's own connection: SQLAlchemy would begin a transaction.
            raw: Any = connection.connection
            before = _pragma(raw, "page_count") * _pragma(raw, "page_size")
            reason = _why_not_vacuum(raw, before)
            if reason is None:
                _give_back(database, raw, check)
                freed[database.path.name] = before - _pragma(raw, "page_count") * _pragma(raw, "page_size")
            else:
                skipped[database.path.name] = reason
    return VacuumDone(freed, skipped)


def _why_not_vacuum(raw: Any, size: int) -> str | None:
    if _pragma(raw, "auto_vacuum") != INCREMENTAL:
        return f"{megabytes(size)} are too much to rewrite while others wait" if size > CONVERTED_BYTES else None
    free = _pragma(raw, "freelist_count") * _pragma(raw, "page_size")
    return f"only {megabytes(free)} are free" if free < WORTH_BYTES and free < WORTH_SHARE * size else None


def _give_back(database: Database, raw: Any, check: Callable[[], None]) -> None:
    # Measured with 190 MB of which half is free: a full VACUUM holds the write lock for 0.5 s in one piece and needs
    # the room for a copy; 200 pages at a time take 110 steps of 3 ms. That needs a file that is made for it, and one
    # that is not is made so by one full VACUUM, while it is small.
    if _pragma(raw, "auto_vacuum") != INCREMENTAL:
        with database.lock.held("vacuum"):
            raw.executescript(f"PRAGMA auto_vacuum = {INCREMENTAL}; VACUUM")
    left = _pragma(raw, "freelist_count")
    while left:
        check()
        with database.lock.held("vacuum"):
            # Not execute(): that frees one page and stops.
            raw.executescript(f"PRAGMA incremental_vacuum({FREED_AT_ONCE})")
        database.checkpoint(from_bytes=CHECKPOINT_BYTES)
        before, left = left, _pragma(raw, "freelist_count")
        if left >= before:
            break  # Others free as much meanwhile: the rest is for the next time.
        time.sleep(PAUSE_SECONDS)
    database.checkpoint()


def _tidy(workspace: Workspace, fence: Fence) -> TidyDone:
    logs, temporary = _old_logs(workspace), _abandoned(workspace)
    folders = remove_unused(workspace, (workspace.now() - ABANDONED).timestamp())
    return TidyDone(len(logs), len(temporary), folders, _remove_jobs(workspace, fence), _remove([*logs, *temporary]))


def _remove_jobs(workspace: Workspace, fence: Fence) -> int:
    keep = workspace.settings.housekeeping
    # Not before their logs, which nothing would name any more.
    horizon = timestamp(workspace.now() - max(keep.keep_jobs, keep.keep_logs))
    with workspace.state.read() as tx:
        ids = [row["id"] for row in rows_as_dicts(tx.connection(), _OLD_JOBS, horizon=horizon)]
    removed = 0
    for start in range(0, len(ids), JOBS_AT_ONCE):
        with workspace.state.write("tidy") as tx:
            fence(tx)
            # Somebody may have asked for one of them to be tried again meanwhile.
            sql = "DELETE FROM job WHERE id = ? AND finished_at < ?"
            some = [(id_, horizon) for id_ in ids[start : start + JOBS_AT_ONCE]]
            removed += tx.connection().exec_driver_sql(sql, some).rowcount
            tx.connection().exec_driver_sql(_OLD_NOTICES, {"horizon": horizon})
    return removed


def _old_logs(workspace: Workspace) -> list[Path]:
    """Logs of attempts that ended long enough ago; those of no job by when they were last written."""
    horizon = workspace.now() - workspace.settings.housekeeping.keep_logs
    with workspace.state.read() as tx:
        sql = "SELECT id, attempt, state, started_at, finished_at FROM job"
        jobs = {row["id"]: row for row in rows_as_dicts(tx.connection(), sql)}
    old = []
    for path in (workspace.logs / JOB_LOGS).glob("*.log*"):
        if match := _LOG.fullmatch(path.name):
            job, attempt = jobs.get(int(match[1])), int(match[2])
            if _age_tells(path, horizon.timestamp()) if job is None else _ended(job, attempt) < timestamp(horizon):
                old.append(path)
    return old


def _ended(job: dict[str, Any], attempt: int) -> str:
    """When an attempt had ended at the latest; never, for one that goes on or whose job waits for somebody."""
    if attempt < job["attempt"]:
        return job["started_at"] or NEVER
    waits = job["state"] in ("queued", "running", "dead")
    return NEVER if waits else job["finished_at"] or NEVER


def _abandoned(workspace: Workspace) -> list[Path]:
    """Files under temporary names, of writers that died before they could rename or remove them."""
    horizon = (workspace.now() - ABANDONED).timestamp()
    places = [workspace.artifacts.root.glob("staging/*")]
    places += [(workspace.folder / name).glob(f"*{TEMPORARY}*") for name in ("traffic", "backups")]
    return [path for place in places for path in place if _age_tells(path, horizon)]


def _age_tells(path: Path, horizon: float) -> bool:
    try:
        return path.stat().st_mtime < horizon
    except FileNotFoundError:
        return False


def _remove(paths: Iterable[Path]) -> int:
    """Remove files, and return how many bytes they had."""
    size = 0
    for path in paths:
        size += path.stat().st_size
        path.unlink(missing_ok=True)
    return size


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if "locked" in str(error):
            raise BusyError(
                f"{path} is locked by a program that is not Quarterdeck. End its transaction, then try again."
            ) from error
        raise DiskError(f"{path}: {error}. Make room or mend the disk, then try again.") from error


def _pragma(raw: Any, name: str) -> int:
    return int(raw.execute(f"PRAGMA {name}").fetchone()[0])
