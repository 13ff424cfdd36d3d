"""What `quarterdeck logs` prints: the log of a job's attempts, or of a process that lives long."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from quarterdeck_console.cli.output import as_json, say
from quarterdeck_console.cli.session import opened, root

if TYPE_CHECKING:
    from quarterdeck.logs import Line
    from quarterdeck.workspace import Workspace

PROCESS = re.compile(r"runner|up|gateway(-\d+)?")
JOB = re.compile(r"(?:(run|job)/)?(\d+)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options of the verb say."""

    attempt: int | None
    lines: int | None
    follow: bool
    as_data: bool


def show(place: str, wanted: Wanted) -> None:
    """Print the log that `place` names.

    Raises:
        UsageError: `place` names nothing that has a log.
        NotFoundError: there is no such thing, or it has no log yet.
        typer.Exit: with 130, when a person has seen enough of a log that is followed.
    """
    try:
        _print(_lines(place, wanted), wanted)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _lines(place: str, wanted: Wanted) -> Iterator[tuple[int | None, Line]]:
    from quarterdeck.errors import UsageError

    named = JOB.fullmatch(place)
    if PROCESS.fullmatch(place):
        if wanted.attempt is not None:
            raise UsageError(f"--attempt is about a job: '{place}' has one log for all its starts.")
        yield from ((None, line) for line in _lines_of_process(place, wanted))
    elif named is None:
        raise UsageError(
            f"'{place}' is neither a run nor a job nor a process: write 12, run/12, job/7, runner, gateway or up."
        )
    else:
        with opened() as workspace:
            is_job = named[1] == "job"
            yield from _lines_of_job(workspace, int(named[2]) if is_job else _job_of(workspace, place, wanted), wanted)


def _lines_of_job(workspace: Workspace, job_id: int, wanted: Wanted) -> Iterator[tuple[int, Line]]:
    from quarterdeck.runner.job_logs import follow_log, read_log

    read = follow_log if wanted.follow else read_log
    return read(workspace, job_id, attempt=wanted.attempt, last=wanted.lines)


def _job_of(workspace: Workspace, place: str, wanted: Wanted) -> int:
    """The job of a run; with --follow it is waited for, since the runner makes it."""
    from quarterdeck.errors import NotFoundError
    from quarterdeck.pipelines.queries import run as read_run
    from quarterdeck.runner.job_logs import job_of_run
    from quarterdeck_console.cli.session import runner_is_alive, wait_until

    run_id = int(place.removeprefix("run/"))

    def look() -> int | None:
        return job_of_run(workspace, run_id) or (-1 if read_run(workspace, run_id).state != "queued" else None)

    job_id = look()
    if job_id is None and wanted.follow:
        runner_is_alive(workspace)  # Says how to start one.
        job_id = wait_until(workspace, look, seconds=float("inf"))
    if job_id is None or job_id < 0:
        raise NotFoundError(f"{place} has no log yet: it has not started. `quarterdeck jobs` shows what it waits for.")
    return job_id


def _lines_of_process(place: str, wanted: Wanted) -> Iterator[Line]:
    # The databases stay closed: that they cannot be opened may be just what the log says.
    from quarterdeck import logs
    from quarterdeck.errors import NotFoundError
    from quarterdeck.location import SETTINGS_FILE
    from quarterdeck.settings import load_settings
    from quarterdeck.workspace import STATE_FOLDER

    folder = root()
    secrets = logs.secrets_of(load_settings(folder / SETTINGS_FILE).logs.mask)
    path = folder / STATE_FOLDER / "logs" / f"{'gateway-0' if place == 'gateway' else place}.log"
    if not path.exists():
        if not wanted.follow:
            raise NotFoundError(f"{path} is not there yet: `quarterdeck up` makes it, and `logs -f` waits for it.")
        say(f"{path} is not there yet; waiting for it.")
    if place == "gateway" and (others := len(list(path.parent.glob("gateway-*.log"))) - 1) > 0:
        say(f"This is the gateway's first worker. For the others: `quarterdeck logs gateway-1` to gateway-{others}.")
    yield from logs.follow(path, is_over=None if wanted.follow else lambda: True, secrets=secrets, last=wanted.lines)


def _print(lines: Iterable[tuple[int | None, Line]], wanted: Wanted) -> None:
    shown: int | None = None
    for attempt, line in lines:
        if wanted.follow and attempt != shown and shown is not None:
            say(f"attempt {attempt}")
        shown = attempt
        if wanted.as_data:
            value = {"time": line.time, "level": line.level, "text": line.text, "attempt": attempt}
            sys.stdout.write(as_json(value) + "\n")
        else:
            sys.stdout.write(f"{line}\n")
        if wanted.follow:
            sys.stdout.flush()
    sys.stdout.flush()
