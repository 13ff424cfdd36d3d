"""Whether what the rows refer to is there and whole, and whether any file belongs to nothing."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from quarterdeck.artifacts import ArtifactStore
from quarterdeck.doctor.finding import Check, Outcome, Patient, age, every_file, ok, problem, size, some, warning
from quarterdeck.pipelines.discovery import find_pipelines_in
from quarterdeck.pipelines.outputs import FOLDER
from quarterdeck.traffic.files import TEMPORARY

SAMPLE_BYTES = 256 * 1000 * 1000
"""Artifacts are read up to this much in all, chosen anew each time; `--full` reads them all."""
LEFT_OVER_SECONDS = 24 * 3600.0
"""What is younger may be work under way, whose rows come at its end."""
REFERENCES = (
    ("dataset_version", "artifact", "dataset version"),
    ("model_version", "artifact", "model version"),
    ("model_version", "reference", "reference of model version"),
    ("alert", "report", "report of alert"),
    ("run", "source", "source of run"),
    ("run_step", "output", "output of step"),
)
NOT_SEARCHED = ("event", "metric")
"""Many rows, and none of them is the one that keeps an artifact."""
PARQUET = b"PAR1"
"""A Parquet file begins and ends with this."""
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")


def schedules(patient: Patient) -> Outcome:
    """Whether what the schedules name is there."""
    known = {found.name: found for found in find_pipelines_in(patient.root / patient.settings.workspace.pipelines)}
    bad = []
    for name, schedule in patient.settings.schedules.items():
        if schedule.pipeline is None:
            continue
        found = known.get(schedule.pipeline)
        if found is None:
            bad.append(f"{name} starts the pipeline '{schedule.pipeline}', which is not there")
        elif found.parameters is not None:
            strangers = [one for one in schedule.parameters if one not in found.parameters]
            bad += [f"{name} sets '{one}', which is no parameter of {schedule.pipeline}" for one in strangers]
    with patient.open("state") as connection:
        datasets = {row[0] for row in connection.execute("SELECT name FROM dataset")} | set(patient.settings.datasets)
    wanted = [(name, one.on_data) for name, one in patient.settings.schedules.items() if one.on_data is not None]
    bad += [f"{name} waits for data '{data}', of which there is none" for name, data in wanted if data not in datasets]
    if bad:
        return warning(some(bad), "Mend [schedules] in quarterdeck.toml: their runs would fail, or never come.")
    return ok(f"{len(patient.settings.schedules)} start what is there")


def artifacts(patient: Patient) -> Outcome:
    """Whether what rows refer to is there, and the bytes are those that were stored."""
    store = ArtifactStore(patient.folder / "artifacts")
    with patient.open("state") as connection:
        wanted = dict(_references(connection))
    missing = [f"{what} ({digest[:12]})" for digest, what in wanted.items() if not store.has(digest)]
    checked, damaged = _verify(store, [digest for digest in wanted if store.has(digest)], full=patient.full)
    bad = [f"{wanted[digest]} ({digest[:12]})" for digest in damaged]
    if missing or bad:
        parts = [f"{len(missing)} missing: {some(missing)}"] if missing else []
        parts += [f"{len(bad)} damaged: {some(bad)}"] if bad else []
        return problem("; ".join(parts), "Restore .quarterdeck/artifacts from a backup; the names are digests.")
    if checked < len(wanted):
        return ok(f"{len(wanted)} are there, {checked} of them read and whole", "`--full` reads them all.")
    return ok(f"{len(wanted)} are there and whole")


def _references(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    for table, column, what in REFERENCES:
        query = f"SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL"
        for row_id, digest in connection.execute(query):
            if _DIGEST.fullmatch(str(digest)):
                yield digest, f"{what} {row_id}"


def _verify(store: ArtifactStore, digests: list[str], *, full: bool) -> tuple[int, list[str]]:
    random.shuffle(digests)
    checked, room, damaged = 0, float("inf") if full else SAMPLE_BYTES, []
    for digest in digests:
        length = store.path(digest).stat().st_size
        if length > room:
            continue
        room -= length
        checked += 1
        if not store.verify(digest):
            damaged.append(digest)
    return checked, damaged


def orphans(patient: Patient) -> Outcome:
    """Files that no row refers to: what was cut off left them."""
    store = ArtifactStore(patient.folder / "artifacts")
    with patient.open("state") as connection:
        known = _mentioned(connection)
        known |= _in_folders(connection, store)
        jobs = {str(row[0]) for row in connection.execute("SELECT id FROM job")}
        runs = {f"run-{row[0]}" for row in connection.execute("SELECT id FROM run WHERE state = 'running'")}
    lost = [path for path in artifact_files(store.root) if path.parent.name + path.name not in known]
    lost += list(every_file(store.root / "staging"))
    lost += [path for path in (patient.folder / "logs" / "jobs").glob("*-*") if path.name.split("-")[0] not in jobs]
    lost += _moved_traffic(patient)
    lost += [path for path in (patient.folder / "work").glob("run-*") if path.name not in runs]
    old = [path for path in lost if age(path) > LEFT_OVER_SECONDS]
    if not old:
        return ok("every file belongs to something")
    total = sum(path.stat().st_size for path in old if path.is_file())
    names = some([str(path.relative_to(patient.folder)) for path in old])
    advice = "They are left of work that was cut off and take room only; delete them if you need it."
    return warning(f"{len(old)} files ({size(total)}) that nothing refers to: {names}", advice)


def _moved_traffic(patient: Patient) -> list[Path]:
    with patient.open("traffic") as connection:
        known = {row[0] for row in connection.execute("SELECT file FROM segment")}
    files = [path for path in (patient.folder / "traffic").glob("*.parquet") if path.name not in known]
    return files + [path for name in ("traffic", "backups") for path in (patient.folder / name).glob(f"*{TEMPORARY}*")]


def _mentioned(connection: sqlite3.Connection) -> set[str]:
    """Every digest that stands anywhere in a row."""
    found: set[str] = set()
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        if table in NOT_SEARCHED:
            continue
        kinds = {row[1]: row[2].upper() for row in connection.execute(f'PRAGMA table_info("{table}")')}
        columns = [f'"{name}"' for name, kind in kinds.items() if "CHAR" in kind or "TEXT" in kind]
        if columns:
            for row in connection.execute(f'SELECT {", ".join(columns)} FROM "{table}"'):
                found.update(digest for value in row if value for digest in _DIGEST.findall(str(value)))
    return found


def _in_folders(connection: sqlite3.Connection, store: ArtifactStore) -> set[str]:
    """The files of outputs that are folders: their artifact lists them."""
    query = "SELECT output FROM run_step WHERE output_type = ? AND output IS NOT NULL"
    found: set[str] = set()
    for (digest,) in connection.execute(query, (FOLDER,)):
        if store.has(digest):
            found.update(_DIGEST.findall(store.path(digest).read_text(errors="replace")))
    return found


def artifact_files(root: Path) -> Iterator[Path]:
    for place in sorted(root.iterdir()) if root.is_dir() else ():
        if len(place.name) == 2 and place.is_dir():
            yield from place.iterdir()


def traffic_files(patient: Patient) -> Outcome:
    """Whether the files that recorded traffic was moved to are there, and as long as they were."""
    with patient.open("traffic") as connection:
        segments = connection.execute("SELECT file, bytes FROM segment WHERE rows > 0").fetchall()
    bad = []
    for name, length in segments:
        path = patient.folder / "traffic" / name
        if not path.is_file():
            bad.append(f"{name} is missing")
        elif path.stat().st_size != length or not _is_parquet(path):
            bad.append(f"{name} is damaged")
    if bad:
        return problem(
            some(bad), "Restore .quarterdeck/traffic from a backup; windows that need them cannot be judged."
        )
    return ok(f"{len(segments)} files, {size(sum(length for _, length in segments))}")


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        begins = file.read(len(PARQUET))
        file.seek(-len(PARQUET), 2)
        return begins == file.read() == PARQUET


CHECKS: tuple[tuple[str, Check], ...] = (
    ("schedules", schedules),
    ("artifacts", artifacts),
    ("traffic files", traffic_files),
    ("orphans", orphans),
)
