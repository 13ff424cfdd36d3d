"""Whether the state is there, its owner's alone, on a disk with room, and copied elsewhere."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from quarterdeck.bootstrap import NETWORK_FILE_SYSTEMS
from quarterdeck.disk import free_bytes, mount_of
from quarterdeck.doctor.finding import Check, Outcome, Patient, age, every_file, ok, problem, size, some, warning


def settings(patient: Patient) -> Outcome:
    """Whether quarterdeck.toml can be read and every key fits."""
    if patient.settings_error is not None:
        return problem(patient.settings_error, "Mend the file; the checks below go by the defaults meanwhile.")
    return ok(f"quarterdeck.toml fits ({patient.settings.workspace.environment})")


def folder(patient: Patient) -> Outcome:
    """Whether the state is there, complete and private."""
    path = patient.folder
    if not path.is_dir():
        return problem(f"{path} is not there", f"`quarterdeck init {patient.root}`, or restore it from a backup.")
    missing = [name for name in ("artifacts", "logs") if not (path / name).is_dir()]
    if missing:
        return problem(f"{path} lacks {' and '.join(missing)}", f"Restore from a backup, or make it: mkdir {path}/NAME")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return problem(f"{path} has mode {mode:04o}: others can get in", f"chmod 700 {path}")
    return ok(f"{path} has mode {mode:04o}")


def owners(patient: Patient) -> Outcome:
    """Whether one user owns all of the state."""
    owner = patient.folder.stat().st_uid
    foreign = [
        str(path.relative_to(patient.folder))
        for path in every_file(patient.folder)
        if _owner(path) not in (owner, None)
    ]
    if foreign:
        found = f"{len(foreign)} files are not of user {owner}, who owns the folder: {some(foreign)}"
        return problem(found, f"Give them back: chown -R {owner} {patient.folder}")
    if os.geteuid() not in (0, owner):
        return warning(f"user {owner} owns it, and you are {os.geteuid()}", "Run Quarterdeck as the owner.")
    return ok(f"user {owner} owns every file")


def _owner(path: Path) -> int | None:
    try:
        return path.lstat().st_uid
    except OSError:
        return None  # It went while we looked.


def file_system(patient: Patient) -> Outcome:
    """Whether locks can be relied on where the workspace lies."""
    mount, kind = mount_of(patient.root)
    if kind in NETWORK_FILE_SYSTEMS:
        found = f"{patient.root} lies on a network file system ({kind} at {mount}), where locks are not reliable"
        return problem(found, "Stop `up`, and move the workspace to a local disk.")
    if kind in ("tmpfs", "ramfs"):
        return warning(f"{kind} at {mount}: all of it is gone after a reboot", "Move the workspace to a disk.")
    return ok(f"{kind} at {mount}")


def disk(patient: Patient) -> Outcome:
    """Room, against [disk] of the settings."""
    place = patient.folder if patient.folder.is_dir() else patient.root
    limits, free = patient.settings.disk, free_bytes(place)
    at = os.statvfs(place)
    room = f"{size(free)} free"
    if free < limits.stop_jobs:
        return problem(f"{room}: no job starts below {size(limits.stop_jobs)}", "Make room on this disk.")
    if free < limits.stop_recording:
        found = f"{room}: predictions are not recorded below {size(limits.stop_recording)}"
        return problem(found, "Make room on this disk.")
    if at.f_files and at.f_favail < 1000:
        return problem(f"{at.f_favail} more files fit on this file system", "Remove files you do not need.")
    if free < 2 * limits.stop_recording:
        return warning(f"{room}; recording stops below {size(limits.stop_recording)}", "Make room on this disk.")
    return ok(room)


def backups(patient: Patient) -> Outcome:
    """Whether there is a fresh copy of state.db."""
    every = patient.settings.housekeeping.backup
    if every is None:
        return warning("[housekeeping] backup is off", "Copy state.db by your own means, or set backup = '1d'.")
    files = [path for path in (patient.folder / "backups").glob("*") if path.is_file()]
    if not files:
        state = patient.folder / "state.db"
        if state.exists() and time.time() - state.stat().st_ctime < every.total_seconds():
            return ok("none yet")
        return warning(
            "there is no backup", "`quarterdeck up` makes one at every `[housekeeping] backup`: does it run?"
        )
    newest = min(files, key=age)
    hours = age(newest) / 3600
    found = f"{len(files)}, the newest ({newest.name}) is {hours:.0f} h old"
    if hours * 3600 > 2 * every.total_seconds():
        return warning(found, "`quarterdeck up` makes one at every `[housekeeping] backup`: does it run?")
    return ok(found)


CHECKS: tuple[tuple[str, Check], ...] = (
    ("settings", settings),
    ("folder", folder),
    ("owner", owners),
    ("file system", file_system),
    ("disk", disk),
    ("backups", backups),
)
