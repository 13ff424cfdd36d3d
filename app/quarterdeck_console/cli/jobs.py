"""Verbs on jobs: the board, cancel and retry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck_console.board import Board, read_board, read_schedules, what_of
from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.schedules import as_row, schedules_table
from quarterdeck_console.cli.session import opened, runner_is_alive

if TYPE_CHECKING:
    from quarterdeck.runner.queries import JobRow, RunnerState
    from quarterdeck.workspace import Workspace

PLACE = re.compile(r"(?:(run|job)/)?(\d+)")
Place = Annotated[str, typer.Argument(metavar="REF", help="A run (3 or run/3) or a job (job/7).")]


def jobs(
    states: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only jobs in this state; may be given often.", show_default=False),
    ] = None,
    schedule: Annotated[
        str | None, typer.Option("--schedule", metavar="NAME", help="Only this schedule's.", show_default=False)
    ] = None,
    limit: Annotated[
        int,
        typer.Option("--limit", min=1, help="How many beside those that need a person."),
    ] = 50,
    as_data: JsonFlag = False,
) -> None:
    """What runs, what waits and why, what needs a person, the schedules, and what ended how."""
    from quarterdeck.errors import NotFoundError
    from quarterdeck.runner.queries import runner_state

    _check_states(states or [])
    with opened() as workspace:
        board, runner = read_board(workspace, limit, states=states or [], schedule=schedule), runner_state(workspace)
        if schedule is not None and not read_schedules(workspace, schedule):
            raise NotFoundError(f"There is no schedule '{schedule}'. `quarterdeck schedules` lists them.")
    emit(_value(board, runner), _text(board), as_data=as_data)
    if not runner.alive:
        say("No runner is alive: nothing starts. Start one with `quarterdeck up`.")


def cancel(place: Place, as_data: JsonFlag = False) -> None:
    """Cancel a run or a job, with every process that it started."""
    from quarterdeck.pipelines.queries import run as read_run
    from quarterdeck.pipelines.submission import cancel as cancel_run
    from quarterdeck.runner.control import cancel as cancel_job
    from quarterdeck.runner.queries import job as read_job

    kind, number = _parsed(place)
    with opened() as workspace:
        row: Any
        if kind == "job":
            cancel_job(workspace, number)
            row = read_job(workspace, number)
        else:
            cancel_run(workspace, number)
            row = read_run(workspace, number)
    words = "cancelled" if row.state == "cancelled" else "will be cancelled"
    emit(row, f"{kind}/{number}: {words}", as_data=as_data)


def retry(place: Place, as_data: JsonFlag = False) -> None:
    """Put a run or a job that failed, died, was lost or cancelled back into the queue."""
    from quarterdeck.runner.control import retry as retry_job
    from quarterdeck.runner.queries import job as read_job

    kind, number = _parsed(place)
    with opened() as workspace:
        job_id = number if kind == "job" else _job_of_run(workspace, number)
        retry_job(workspace, job_id)
        row = read_job(workspace, job_id)
        emit(row, f"job/{job_id} ({what_of(row)}) is queued again.", as_data=as_data)
        runner_is_alive(workspace)


def _parsed(place: str) -> tuple[str, int]:
    from quarterdeck.errors import UsageError

    named = PLACE.fullmatch(place)
    if named is None:
        raise UsageError(f"'{place}' is neither a run nor a job: write 3, run/3 or job/7. `quarterdeck jobs` has them.")
    return named[1] or "run", int(named[2])


def _job_of_run(workspace: Workspace, run_id: int) -> int:
    from quarterdeck.errors import NotFoundError
    from quarterdeck.pipelines.queries import run as read_run
    from quarterdeck.runner.job_logs import job_of_run

    run, job_id = read_run(workspace, run_id), job_of_run(workspace, run_id)
    if job_id is None:
        raise NotFoundError(
            f"run/{run_id} ({run.state}) has no job to try again. `quarterdeck run {run.pipeline}` starts another run."
        )
    return job_id


def _check_states(states: list[str]) -> None:
    from quarterdeck.errors import UsageError
    from quarterdeck.runner.job import JobState

    known = [str(state) for state in JobState]
    for state in states:
        if state not in known:
            raise UsageError(f"--state {state}: a job is {', '.join(known[:-1])} or {known[-1]}.")


def _value(board: Board, runner: RunnerState) -> dict[str, Any]:
    return {
        "runner": runner,
        "running": board.running,
        "queued": board.queued,
        "needs_a_person": board.troubled,
        "schedules": [as_row(each) for each in board.schedules],
        "ended": board.ended,
    }


def _text(board: Board) -> str:
    parts = [
        (
            "running",
            ("job", "kind", "for", "started", "elapsed", "steps", "cpu s", "memory mb", "note"),
            [_running(job, board) for job in board.running],
        ),
        (
            "queued",
            ("job", "kind", "for", "since", "waits for"),
            [(job.id, job.kind, what_of(job), job.created_at, job.waiting) for job in board.queued],
        ),
        ("needs a person", ENDED, [_ended(job) for job in board.troubled]),
    ]
    texts = [f"{title}\n{table(headings, rows)}" for title, headings, rows in parts if rows]
    if board.schedules:
        texts.append(f"schedules\n{schedules_table(board.schedules)}")
    if board.ended:
        texts.append(f"ended\n{table(ENDED, [_ended(job) for job in board.ended])}")
    return "\n\n".join(texts) or "none"


ENDED = ("job", "kind", "for", "state", "attempt", "started", "finished", "error")


def _ended(job: JobRow) -> tuple[Any, ...]:
    attempt = f"{job.attempt}/{job.max_attempts}"
    return job.id, job.kind, what_of(job), job.state, attempt, job.started_at, job.finished_at, job.error


def _running(job: JobRow, board: Board) -> tuple[Any, ...]:
    elapsed = f"{(board.now - (job.started_at or board.now)).total_seconds():.0f} s"
    steps = f"{job.progress[0]}/{job.progress[1]}" if job.progress else None
    memory = None if job.memory_bytes is None else round(job.memory_bytes / 1e6)
    note = f"asked to stop by {job.cancel_requested_by}" if job.cancel_requested_by else None
    return job.id, job.kind, what_of(job), job.started_at, elapsed, steps, job.cpu_seconds, memory, note
