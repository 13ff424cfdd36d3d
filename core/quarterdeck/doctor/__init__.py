"""`quarterdeck doctor`: looks at a workspace and its machine, changes nothing, and says what to do."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from quarterdeck.doctor import contents, databases, files, machine, running, watching
from quarterdeck.doctor.finding import Check, Finding, Outcome, Patient, State, problem
from quarterdeck.errors import NotFoundError, QuarterdeckError
from quarterdeck.location import SETTINGS_FILE, find_workspace
from quarterdeck.settings import Settings, load_settings
from quarterdeck.workspace import STATE_FOLDER

__all__ = ["Finding", "State", "examine", "find_patient"]

CHECKS: tuple[tuple[str, Check], ...] = (
    *files.CHECKS,
    *databases.CHECKS,
    *contents.CHECKS,
    *watching.CHECKS,
    *running.CHECKS,
    *machine.CHECKS,
)


def find_patient(start: Path) -> Path:
    """The folder of the workspace that holds `start`; one that has lost its quarterdeck.toml is found too.

    Raises:
        NotFoundError: there is none.
    """
    try:
        return find_workspace(start)
    except NotFoundError:
        start = start.resolve()
        for folder in (start, *start.parents):
            if (folder / STATE_FOLDER).is_dir():
                return folder
        raise


def examine(root: Path, *, full: bool = False) -> list[Finding]:
    """Run every check, whatever the others find. `full` reads every artifact, which may take long."""
    settings, error = Settings(), None
    try:
        settings = load_settings(root / SETTINGS_FILE)
    except QuarterdeckError as failure:
        error = str(failure)
    patient = Patient(root, root / STATE_FOLDER, settings, error, full, datetime.now(UTC))
    return [_finding(name, check, patient) for name, check in CHECKS]


def _finding(name: str, check: Check, patient: Patient) -> Finding:
    try:
        outcome = check(patient)
    except sqlite3.Error as failure:
        outcome = _unreadable(failure)
    except OSError as failure:
        found = f"{failure.filename or 'a file'} cannot be read: {failure.strerror}"
        outcome = problem(found, "Put it back, or give the one who runs this the right to read it.")
    except DBAPIError as failure:
        outcome = _unreadable(failure.orig or failure)
    except QuarterdeckError as failure:
        outcome = problem(str(failure), "See the checks above.")
    except Exception as failure:  # What is broken may hold anything, and the other checks are to run.
        found = f"what is there cannot be understood ({type(failure).__name__}: {failure})"
        outcome = problem(found, "See the checks above; if they are ok, this is a mistake of Quarterdeck's own.")
    return Finding(name, outcome.state, outcome.found, outcome.advice)


def _unreadable(failure: BaseException) -> Outcome:
    said = str(failure)
    if said.startswith(("no such table", "no such column")):
        return problem(f"the database is of another schema: {said}", "See the checks of the schemas.")
    if "unable to open" in said:
        return problem("the database is not there, or cannot be opened", "See the checks of the databases.")
    return problem(f"the database cannot be read: {said}", databases.RESTORE)
