"""Whether the databases are whole, of this schema, and tell one history."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from functools import partial
from pathlib import Path

from quarterdeck import events, migrations
from quarterdeck.doctor.finding import Check, Outcome, Patient, ok, problem, size, warning
from quarterdeck.runner.health import write_lock_holder

LONG_SECONDS = 5.0
RESTORE = "Stop `up`, keep a copy of the file, and restore the newest of .quarterdeck/backups/ in its place."


def integrity(patient: Patient, *, name: str) -> Outcome:
    """Every page of the file, `--full` with every index as well."""
    path = patient.folder / f"{name}.db"
    if not path.exists():
        return problem(f"{path} is not there", RESTORE if name == "state" else _first_use(path))
    with patient.open(name) as connection:
        pragma = "integrity_check" if patient.full else "quick_check"
        said = [row[0] for row in connection.execute(f"PRAGMA {pragma}(3)")]
    if said != ["ok"]:
        return problem(f"{path} is damaged: {'; '.join(' '.join(line.split()) for line in said)}", RESTORE)
    log = path.with_name(f"{path.name}-wal")
    waits = f", {size(log.stat().st_size)} of log beside it" if log.exists() else ""
    return ok(f"{size(path.stat().st_size)}{waits}, {pragma} passed")


def _first_use(path: Path) -> str:
    return f"Any verb makes an empty {path.name}; what was recorded comes back from a backup only."


def schema(patient: Patient, *, name: str, line: migrations.Schema) -> Outcome:
    """Whether this Quarterdeck knows the file's schema."""
    with patient.open(name) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    present = row[0] if row else None
    if present == line.newest:
        return ok(f"{name}.db has schema {present}")
    if present in line.revisions:
        found = f"{name}.db has schema {present}, this Quarterdeck works with {line.newest}"
        return warning(found, "The next verb brings it up to date, after a backup copy beside it.")
    return problem(
        f"{name}.db has schema {present}, this Quarterdeck knows {line.newest} at most",
        "Install the Quarterdeck that wrote it, or a later one.",
    )


def chain(patient: Patient) -> Outcome:
    """Whether no event was changed or removed."""
    with patient.session("state") as tx:
        try:
            count = events.verify(tx)
        except events.ChainBrokenError as error:
            first = str(error).partition(":")[0]
            return problem(first, "Compare .quarterdeck/state.db with a backup: a row was changed or removed.")
    return ok(f"{count} events, chain intact")


def write_lock(patient: Patient, *, name: str) -> Outcome:
    """Who holds the write lock, if somebody does."""
    path = patient.folder / f"{name}.lock"
    holder = write_lock_holder(path)
    if holder is None:
        return ok(f"nobody holds {path.name}")
    pid, verb = holder
    # The holder writes its name into the file when it gets the lock.
    seconds = max(0.0, time.time() - path.stat().st_mtime)
    found = f"process {pid or '?'} ({verb or 'unknown verb'}) holds {path.name} for {seconds:.0f} s"
    if seconds < LONG_SECONDS:
        return ok(found)
    stopped = _is_stopped(pid)
    advice = f"It is stopped: `kill -CONT {pid}` lets it go on, " if stopped else "Nobody else can write: wait, "
    return problem(found, f"{advice}`kill {pid}` ends it and loses only what it had not committed.")


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] in "Tt"
    return False


def sqlite_version(patient: Patient) -> Outcome:
    """Which SQLite is in use."""
    if sqlite3.sqlite_version_info >= (3, 51, 3):
        return ok(f"SQLite {sqlite3.sqlite_version}")
    return ok(
        f"SQLite {sqlite3.sqlite_version}; before 3.51.3 a commit that races a checkpoint can be lost",
        "Quarterdeck's own locks prevent that. Do not write to the databases with other programs while it runs.",
    )


CHECKS: tuple[tuple[str, Check], ...] = (
    ("state.db", partial(integrity, name="state")),
    ("traffic.db", partial(integrity, name="traffic")),
    ("schema of state.db", partial(schema, name="state", line=migrations.STATE)),
    ("schema of traffic.db", partial(schema, name="traffic", line=migrations.TRAFFIC)),
    ("audit chain", chain),
    ("write lock of state.db", partial(write_lock, name="state")),
    ("write lock of traffic.db", partial(write_lock, name="traffic")),
    ("sqlite", sqlite_version),
)
