"""Verbs on pipelines and their runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck_console.cli.output import Detach, JsonFlag, emit, say, table
from quarterdeck_console.cli.schedules import run_schedule
from quarterdeck_console.cli.session import opened, runner_is_alive, wait_until

if TYPE_CHECKING:
    from quarterdeck.pipelines.queries import RunDetail
    from quarterdeck.workspace import Workspace

A_DAY_SECONDS = 24 * 3600.0
EXIT_CODES = {"succeeded": 0, "held": 3}


def run(
    pipeline: Annotated[str | None, typer.Argument(help="The pipeline.", show_default=False)] = None,
    schedule: Annotated[
        str | None,
        typer.Option("--schedule", metavar="NAME", help="What this schedule starts, instead.", show_default=False),
    ] = None,
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
    """Queue a run of a pipeline, or what a schedule starts, and follow it to its end."""
    from quarterdeck.errors import UsageError
    from quarterdeck.pipelines.submission import submit

    if (pipeline is None) == (schedule is None):
        raise UsageError("Name a pipeline, or a schedule with --schedule NAME: one of the two.")
    with opened() as workspace:
        if pipeline is None:
            if settings or seed:
                raise UsageError("--set and --seed go with a pipeline: a schedule has its own parameters.")
            run_schedule(workspace, schedule or "", detach=detach, as_data=as_data)
        run_id = submit(workspace, pipeline or "", parse_parameters(settings or []), seed=seed)
        say(f"run/{run_id} of {pipeline} is queued.")
        follow_run(workspace, run_id, detach=detach, as_data=as_data)


def follow_run(workspace: Workspace, run_id: int, *, detach: bool, as_data: bool) -> None:
    """Wait for the end of a run that is queued, unless `detach`, and print how it is.

    Raises:
        typer.Exit: it has ended; with its exit code.
    """
    from quarterdeck.pipelines.queries import run as read_run

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


def logs(
    place: Annotated[
        str, typer.Argument(metavar="REF", help="A run (12 or run/12), a job (job/7), or runner, gateway, up.")
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run or job has ended.")] = False,
    attempt: Annotated[
        int | None,
        typer.Option("--attempt", min=1, help="That attempt; by default the newest one.", show_default=False),
    ] = None,
    lines: Annotated[
        int | None, typer.Option("--lines", "-n", min=0, help="Only so many of the last ones.", show_default=False)
    ] = None,
    as_data: Annotated[bool, typer.Option("--json", help="Print one JSON object for each line.")] = False,
) -> None:
    """The log of a run, of a job, or of one of the processes that `quarterdeck up` keeps running."""
    from quarterdeck_console.cli.logs import Wanted, show

    show(place, Wanted(attempt=attempt, lines=lines, follow=follow, as_data=as_data))
