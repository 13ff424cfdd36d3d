"""Whether the machine is what Quarterdeck needs: its clock, its Python, its packages."""

from __future__ import annotations

import operator
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

from quarterdeck.doctor.finding import Check, Outcome, Patient, ok, problem, some, warning

SKEW = timedelta(seconds=5)
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
    "!=": operator.ne,
}


def python(patient: Patient) -> Outcome:
    """The Python that runs this."""
    wanted = ",".join(metadata.metadata("quarterdeck").get_all("Requires-Python") or [])
    found = f"Python {sys.version.split()[0]} at {sys.executable}"
    if not fits(".".join(map(str, sys.version_info[:3])), wanted):
        return problem(f"{found}, and Quarterdeck needs {wanted}", "Install Quarterdeck with a Python that fits.")
    return ok(found)


def packages(patient: Patient) -> Outcome:
    """Every required package, against the range that Quarterdeck was tested with."""
    bad = []
    required = [text for text in metadata.requires("quarterdeck") or [] if "extra ==" not in text]
    for text in required:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*\(?([^;)]*)", text)
        assert match is not None
        name, wanted = match[1], match[2].strip()
        try:
            present = metadata.version(name)
        except metadata.PackageNotFoundError:
            bad.append(f"{name} is missing")
            continue
        if not fits(present, wanted):
            bad.append(f"{name} {present} is not {wanted}")
    if bad:
        return problem(some(bad, 5), "Install Quarterdeck again, in an environment of its own.")
    return ok(f"quarterdeck {metadata.version('quarterdeck')}, {len(required)} packages in their ranges")


def fits(version: str, wanted: str) -> bool:
    """Whether a version's numbers are in a range such as `<3,>=2.1`; what it cannot read counts as fitting."""
    for part in filter(None, (part.strip() for part in wanted.split(","))):
        match = re.fullmatch(r"(>=|<=|==|!=|>|<)\s*([0-9.]+)", part)
        if match is None:
            continue
        mine, limit = _numbers(version), _numbers(match[2])
        length = max(len(mine), len(limit))
        pad = [(*numbers, *([0] * (length - len(numbers)))) for numbers in (mine, limit)]
        if not _COMPARE[match[1]](pad[0], pad[1]):
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def clock(patient: Patient) -> Outcome:
    """Whether anything was written in what is the future now: then the clock was set back."""
    with patient.open("state") as connection:
        newest = connection.execute("SELECT at FROM event ORDER BY id DESC LIMIT 1").fetchone()
        tick = connection.execute("SELECT name, last_tick FROM schedule ORDER BY last_tick DESC LIMIT 1").fetchone()
    moments = [("the newest event is", newest[0])] if newest else []
    moments += [(f"the last tick of schedule '{tick[0]}' was", tick[1])] if tick and tick[1] else []
    for what, text in moments:
        ahead = datetime.fromisoformat(text) - patient.now
        if ahead > SKEW:
            found = f"{what} {ahead.total_seconds():,.0f} s in the future: the clock was set back, or was wrong then"
            return problem(found, "Set the clock right (`timedatectl`). Ticks go on once that moment has passed.")
    return ok(
        f"{patient.now:%Y-%m-%d %H:%M:%S} UTC, booted {_booted(patient):%Y-%m-%d %H:%M:%S}, nothing from the future"
    )


def _booted(patient: Patient) -> datetime:
    text = Path("/proc/stat").read_text(encoding="ascii")
    seconds = re.search(r"^btime (\d+)$", text, flags=re.MULTILINE)
    return datetime.fromtimestamp(int(seconds[1]), UTC) if seconds else patient.now


def synchronised(patient: Patient) -> Outcome:
    """Whether something keeps the clock right."""
    try:
        done = subprocess.run(
            ["timedatectl", "show", "--property=NTPSynchronized", "--value"], capture_output=True, text=True, timeout=10
        )
        answer = done.stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        answer = ""
    if answer == "no":
        return warning("nothing keeps the clock right", "Switch it on: `timedatectl set-ntp true`, or run chrony.")
    return ok("the clock is synchronised" if answer == "yes" else "whether the clock is synchronised is not known here")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", python),
    ("packages", packages),
    ("clock", clock),
    ("time service", synchronised),
)
