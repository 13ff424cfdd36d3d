"""Verbs on what happens by itself: schedules, their pauses, and the freeze."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck_console.board import Scheduled, next_fires, read_schedules, timing
from quarterdeck_console.cli.output import JsonFlag, Reason, emit, say, table
from quarterdeck_console.cli.session import opened, runner_is_alive, wait_until

if TYPE_CHECKING:
    from quarterdeck.runner.queries import JobRow
    from quarterdeck.workspace import Workspace

Subject = Annotated[str, typer.Argument(metavar="REF", help="schedule/NAME or pipeline/NAME.")]
LETTERS = {
    "succeeded": "+",
    "failed": "x",
    "dead": "D",
    "lost": "?",
    "cancelled": "-",
    "running": ">",
    "queued": ".",
}
"""A result in one character that every terminal and log has."""


def schedules(as_data: JsonFlag = False) -> None:
    """The schedules: when each fires next, how its last jobs ended (newest right), and who has paused it."""
    with opened() as workspace:
        rows = read_schedules(workspace)
        text = schedules_table(rows)
        value = [as_row(each) | {"next_fires": _fires(each, workspace)} for each in rows] if as_data else []
    emit(value, text, as_data=as_data)
    if not rows:
        say("[schedules.NAME] and [monitors.NAME] in quarterdeck.toml make schedules; a running runner reads them.")


def as_row(each: Scheduled) -> dict[str, Any]:
    """A schedule for scripts: its row, its state and its last results."""
    from dataclasses import asdict

    return asdict(each.row) | {"state": each.state, "results": each.results}


def schedules_table(rows: Sequence[Scheduled]) -> str:
    """Schedules as text."""
    return table(
        ("schedule", "starts", "when", "next", "last", "state"),
        [
            (r.row.name, f"{r.row.target_kind}/{r.row.target}", timing(r.row), _next(r), _strip(r), _state(r))
            for r in rows
        ],
    )


def run_schedule(workspace: Workspace, name: str, *, detach: bool, as_data: bool) -> None:
    """Start what a schedule starts, follow it to its end unless `detach`, and print how it is.

    Raises:
        typer.Exit: always; with 0 when it succeeded or goes on.
    """
    from quarterdeck.runner.queries import job as read_job
    from quarterdeck.runner.ticking import run_now
    from quarterdeck_console.cli.pipelines import follow_run

    job_id = run_now(workspace, name)
    job = read_job(workspace, job_id)
    say(f"job/{job_id} ({job.subject}) of schedule {name} is queued.")
    if job.kind == "run":
        follow_run(workspace, int(job.subject.removeprefix("run/")), detach=detach, as_data=as_data)
        raise typer.Exit(0)
    if not detach and runner_is_alive(workspace):
        wait_until(workspace, lambda: _has_ended(workspace, job_id), seconds=float("inf"))
        job = read_job(workspace, job_id)
    emit(job, f"job/{job_id} {job.subject}: {job.state}{f': {job.error}' if job.error else ''}", as_data=as_data)
    raise typer.Exit(0 if job.state.under_way or job.state == "succeeded" else 1)


def pause(subject: Subject, reason: Reason = "", as_data: JsonFlag = False) -> None:
    """Pause a schedule (it fires no ticks) or a pipeline (its runs wait); what runs goes on to its end."""
    from quarterdeck.pipelines.pausing import pause as pause_it

    with opened() as workspace:
        pause_it(workspace, subject, reason=reason)
        actor = workspace.actor
    value = {"subject": subject, "paused_by": actor, "reason": reason}
    emit(value, f"{subject} is paused. `quarterdeck resume {subject}` lets it go on.", as_data=as_data)


def resume(subject: Subject, as_data: JsonFlag = False) -> None:
    """Let a schedule or a pipeline go on that somebody has paused."""
    from quarterdeck.pipelines.pausing import resume as resume_it

    with opened() as workspace:
        resume_it(workspace, subject)
    emit({"subject": subject, "paused_by": None}, f"{subject} goes on.", as_data=as_data)


def freeze(
    duration: Annotated[str, typer.Argument(metavar="DURATION", help="For how long: 30m, 2h, 1d12h; at most 30d.")],
    reason: Reason = "",
    as_data: JsonFlag = False,
) -> None:
    """Stop retrains, rollouts and reactions that no person asks for; it ends by itself."""
    from quarterdeck.freezing import freeze as freeze_it

    length = _length(duration)
    with opened() as workspace:
        until = freeze_it(workspace, length, reason=reason)
        actor = workspace.actor
    value = {"until": until, "frozen_by": actor, "reason": reason}
    emit(value, f"Frozen until {until:%Y-%m-%d %H:%M:%S} UTC. `quarterdeck thaw` ends it earlier.", as_data=as_data)


def thaw(as_data: JsonFlag = False) -> None:
    """End the freeze now."""
    from quarterdeck.freezing import thaw as thaw_it

    with opened() as workspace:
        thaw_it(workspace)
    emit({"until": None}, "Nothing is frozen any more.", as_data=as_data)


def _length(duration: str) -> timedelta:
    from quarterdeck.errors import UsageError
    from quarterdeck.values import parse_duration

    try:
        length = parse_duration(duration)
    except ValueError as error:
        raise UsageError(f"{error}. For example `quarterdeck freeze 2h --reason release`.") from None
    assert isinstance(length, timedelta)
    return length


def _has_ended(workspace: Workspace, job_id: int) -> JobRow | None:
    from quarterdeck.runner.queries import job as read_job

    row = read_job(workspace, job_id)
    return None if row.state.under_way else row


def _fires(each: Scheduled, workspace: Workspace) -> list[Any]:
    from quarterdeck.errors import UsageError

    try:
        return list(next_fires(each.row, workspace.now()))
    except UsageError:
        return []


def _next(each: Scheduled) -> Any:
    return None if each.state == "paused" else each.row.next_tick


def _strip(each: Scheduled) -> str | None:
    return "".join(LETTERS.get(result, ".") for result in each.results) or None


def _state(each: Scheduled) -> str:
    if each.row.paused_by:
        return f"paused by {each.row.paused_by}"
    if each.state == "held":
        return f"held by {each.row.held_by}"
    return "paused by the settings" if each.row.paused else each.state
