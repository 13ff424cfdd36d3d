"""Verbs on pipelines and their runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck_console.cli.output import Detach, JsonFlag, emit, say, table
from quarterdeck_console.cli.session import opened, runner_is_alive, wait_until

if TYPE_CHECKING:
    from quarterdeck.pipelines.queries import RunDetail
    from quarterdeck.workspace import Workspace

A_DAY_SECONDS = 24 * 3600.0
EXIT_CODES = {"succeeded": 0, "held": 3}


def run(
    pipeline: Annotated[str, typer.Argument(help="The pipeline.")],
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="STEP.PARAMETER=VALUE", help="A hyperparameter; may be given often.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="That of the run's random numbers.")] = 0,
    detach: Detach = False,
    as_data: JsonFlag = False,
) -> None:
    """Queue a run of a pipeline, and follow it to its end."""
    from quarterdeck.pipelines.queries import run as read_run
    from quarterdeck.pipelines.submission import submit

    with opened() as workspace:
        run_id = submit(workspace, pipeline, parse_parameters(settings or []), seed=seed)
        say(f"run/{run_id} of {pipeline} is queued.")
        if not detach and runner_is_alive(workspace):
            _follow(workspace, run_id)
        detail = read_run(workspace, run_id)
    emit(detail, _summary(detail), as_data=as_data)
    if detail.state not in ("queued", "running"):
        raise typer.Exit(EXIT_CODES.get(detail.state, 1))


def parse_parameters(pairs: list[str]) -> dict[str, Any]:
    """`["train.depth=8"]` as `{"train.depth": 8}`; what is not JSON is text.

    Raises:
        UsageError: a pair is not STEP.PARAMETER=VALUE.
    """
    from quarterdeck.errors import UsageError

    parameters: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or "." not in name.strip("."):
            raise UsageError(f"--set {pair}: write STEP.PARAMETER=VALUE, such as --set train.max_depth=8.")
        try:
            parameters[name] = json.loads(value)
        except json.JSONDecodeError:
            parameters[name] = value
    return parameters


def _follow(workspace: Workspace, run_id: int) -> None:
    from quarterdeck.pipelines.queries import run as read_run

    told: dict[str, str] = {}

    def look() -> bool | None:
        detail = read_run(workspace, run_id)
        for step in detail.steps:
            if step.state != "pending" and told.get(step.name) != step.state:
                told[step.name] = step.state
                took = f" in {step.wall_seconds:.1f} s" if step.wall_seconds is not None else ""
                say(f"  {step.name}: {step.state}{took}")
        return None if detail.state in ("queued", "running") else True

    wait_until(workspace, look, seconds=A_DAY_SECONDS)


def _summary(detail: RunDetail) -> str:
    lines = [f"run/{detail.id} {detail.pipeline}: {detail.state}" + (f": {detail.error}" if detail.error else "")]
    if detail.version:
        lines.append(f"version {detail.version}")
    lines += [f"  {name} = {value:.4g}" for name, value in sorted(detail.metrics.items())]
    return "\n".join(lines)


def runs(
    pipeline: Annotated[str | None, typer.Argument(help="Only of this pipeline.", show_default=False)] = None,
    as_data: JsonFlag = False,
) -> None:
    """The newest runs."""
    from quarterdeck.pipelines.discovery import find_pipeline
    from quarterdeck.pipelines.queries import runs as read_runs

    with opened() as workspace:
        rows = read_runs(workspace, pipeline)
        if pipeline is not None and not rows:
            find_pipeline(workspace, pipeline)  # None yet is an answer; of a name that nothing has, it is not.
    text = table(
        ("run", "pipeline", "state", "trigger", "by", "queued", "version", "error"),
        [(r.id, r.pipeline, r.state, r.trigger, r.requested_by, r.queued_at, r.version, r.error) for r in rows],
    )
    emit(rows, text, as_data=as_data)


def cancel(
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="The run's number.")], as_data: JsonFlag = False
) -> None:
    """Cancel a run, with every process that it started."""
    from quarterdeck.pipelines.queries import run as read_run
    from quarterdeck.pipelines.submission import cancel as cancel_run

    with opened() as workspace:
        cancel_run(workspace, run_id)
        detail = read_run(workspace, run_id)
    emit(
        detail, f"run/{run_id}: {detail.state if detail.state == 'cancelled' else 'will be cancelled'}", as_data=as_data
    )


def jobs(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many; those that run and wait come first.")] = 50,
    as_data: JsonFlag = False,
) -> None:
    """The queue: what runs, what waits and why, what ended how."""
    from quarterdeck.runner.queries import jobs as read_jobs

    with opened() as workspace:
        rows = read_jobs(workspace, limit=limit)
    text = table(
        ("job", "kind", "for", "state", "attempt", "started", "finished", "note"),
        [
            (j.id, j.kind, j.subject, j.state, j.attempt, j.started_at, j.finished_at, j.waits_for or j.error)
            for j in rows
        ],
    )
    emit(rows, text, as_data=as_data)


def logs(
    place: Annotated[str, typer.Argument(metavar="RUN|job/N", help="A run's number (12 or run/12), or job/7.")],
) -> None:
    """The log of the last attempt at a run or a job."""
    from quarterdeck.errors import NotFoundError, UsageError
    from quarterdeck.pipelines.queries import run as read_run
    from quarterdeck.runner.queries import job_log_path, run_log_path

    kind, _, number = place.rpartition("/")
    if kind not in ("", "run", "job") or not number.isdecimal():
        raise UsageError(f"'{place}' is neither a run nor a job: write 12, run/12 or job/7.")
    with opened() as workspace:
        if kind == "job":
            path = job_log_path(workspace, int(number))
        else:
            read_run(workspace, int(number))
            path = run_log_path(workspace, int(number))
    if path is None or not path.exists():
        raise NotFoundError(f"{place} has no log yet: it has not started. `quarterdeck jobs` shows what it waits for.")
    sys.stdout.write(path.read_text(encoding="utf-8", errors="replace"))
