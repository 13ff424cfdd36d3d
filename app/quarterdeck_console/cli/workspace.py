"""Verbs on the workspace as a whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.errors import NotFoundError, UsageError
from quarterdeck_console.cli import webhooks
from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.session import opened, root

if TYPE_CHECKING:
    from quarterdeck.runner.supervision import Supervised, Supervision
    from quarterdeck.runner.webhooks import WebhookState


def init(
    folder: Annotated[Path, typer.Argument(help="The folder; made if it is not there.")] = Path("."),
    as_data: JsonFlag = False,
) -> None:
    """Make a workspace: quarterdeck.toml, and its state in .quarterdeck/ beside it."""
    from quarterdeck.bootstrap import create_workspace

    workspace = create_workspace(folder)
    workspace.close()
    emit(
        {"workspace": workspace.root},
        f"{workspace.root} is a workspace now. Next: `quarterdeck data add NAME FILE`, or `quarterdeck adopt MODEL "
        "--sample rows.csv` for a model that you have.",
        as_data=as_data,
    )


def console(open_at: str | None) -> int:
    """Open the console on the workspace, at a row when one is named."""
    from quarterdeck_console.app import run_console

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "The console needs a terminal. For scripts: `quarterdeck status --json`, `quarterdeck --help`."
        )
    return run_console(root(), open_at=open_at)


def open_at(place: Annotated[str, typer.Argument(help="Such as alert/3, deployment/fraud, job/7.")]) -> None:
    """Open the console on one row: pages and webhooks carry this line."""
    raise typer.Exit(console(place))


def up(
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once the gateway answers and the runner works; both go on.")
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="End the `up` of this workspace, and wait until it has.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", min=1, help="Seconds after which --detach gives up and ends it all.")
    ] = 120.0,
    as_data: JsonFlag = False,
) -> None:
    """Run and supervise the runner and the gateway, until stopped."""
    folder = root()
    if detach and stop:
        raise UsageError("--detach starts and --stop ends: give one of them.")
    if stop:
        _stop(folder, as_data=as_data)
    elif detach:
        _detach(folder, wait, as_data=as_data)
    elif as_data:
        raise UsageError("`up` prints nothing until it ends. --json goes with --detach or --stop.")
    else:
        # The same process goes on, without what the command line needed: a supervisor is to be small.
        program = [sys.executable, "-P", "-m", "quarterdeck", "up", "--workspace", str(folder)]
        os.execv(sys.executable, program)


def _detach(folder: Path, seconds: float, *, as_data: bool) -> None:
    from quarterdeck.runner.detaching import LOG, start_detached

    say(f"Starting; this takes up to {seconds:g} s.")
    started = start_detached(folder, _state_folder(folder), seconds)
    log = folder / ".quarterdeck" / "logs" / LOG
    value = {"pid": started.supervisor.pid, "url": started.url, "log": log}
    text = f"process {started.supervisor.pid}, gateway on {started.url}, log {log}\nStop it: quarterdeck up --stop"
    emit(value, text, as_data=as_data)


def _stop(folder: Path, *, as_data: bool) -> None:
    from quarterdeck.runner.detaching import stop_running

    pid = stop_running(_state_folder(folder))
    emit({"stopped": pid}, "`quarterdeck up` did not run." if pid is None else f"Process {pid} ended.", as_data=as_data)


def _state_folder(folder: Path) -> Path:
    state = folder / ".quarterdeck"
    if not state.is_dir():
        raise NotFoundError(f"{folder} has settings but no state yet. Run `quarterdeck init {folder}`.")
    return state


def status(as_data: JsonFlag = False) -> None:
    """What runs, what is deployed, what is wrong."""
    from quarterdeck.deployments.queries import deployments, gateway_state
    from quarterdeck.monitoring.queries import alerts, monitors
    from quarterdeck.runner.looks import failures
    from quarterdeck.runner.queries import runner_state
    from quarterdeck.runner.supervision import read_supervision
    from quarterdeck.runner.webhooks import read_webhooks

    with opened() as workspace:
        supervision = read_supervision(workspace.folder)
        gateway, runner = gateway_state(workspace), runner_state(workspace)
        rows, open_alerts = deployments(workspace), alerts(workspace)
        receivers, watching = read_webhooks(workspace), monitors(workspace, failures(workspace))
    scheme = workspace.settings.gateway.scheme
    address = f"{scheme}://{gateway.host}:{gateway.port}" if gateway.alive else None
    processes = [] if supervision is None else [_process(row, supervision) for row in supervision.processes]
    value = {
        "workspace": workspace.root,
        "name": workspace.settings.workspace.name,
        "environment": workspace.settings.workspace.environment,
        "runner": {"alive": runner.alive, "pid": runner.pid},
        "gateway": {"alive": gateway.alive, "url": address},
        "supervisor": _supervisor(supervision),
        "processes": processes,
        "deployments": rows,
        "alerts": open_alerts,
        "monitors": watching,
        "webhooks": [webhooks.as_row(row) for row in receivers],
    }
    lines = [
        f"workspace  {workspace.settings.workspace.name} ({workspace.settings.workspace.environment}) {workspace.root}",
        f"runner     {f'alive, process {runner.pid}' if runner.alive else 'not running: quarterdeck up'}",
        f"gateway    {f'{gateway.alive} worker(s) at {address}' if address else 'not running: quarterdeck up'}",
        *_webhooks(receivers),
        *(f"monitor    {row.name} fails: {row.failure}" for row in watching if row.failure),
        "",
        *_processes(processes),
        table(
            ("deployment", "model", "version", "revision", "state", "served by"),
            [(d.name, d.model, d.version, d.desired_revision, d.state, d.served_by) for d in rows],
            empty="no deployments",
        ),
        "",
        table(
            ("alert", "severity", "state", "what"),
            [(a.id, a.severity, a.state, a.summary) for a in open_alerts],
            empty="no open alerts",
        ),
    ]
    emit(value, "\n".join(lines), as_data=as_data)
    webhooks.tell_of_trouble(receivers)
    for monitor, settings in workspace.settings.monitors.items():
        if settings.deployment not in {row.name for row in rows}:
            say(f"Monitor '{monitor}' watches '{settings.deployment}', and nothing is deployed under that name.")


def _supervisor(supervision: Supervision | None) -> dict[str, object]:
    if supervision is None or not supervision.alive:
        return {"alive": False, "pid": None, "since": None}
    return {"alive": True, "pid": supervision.supervisor.pid, "since": supervision.since}


def _webhooks(rows: list[WebhookState]) -> list[str]:
    """A line for each that takes nothing, or missed something."""
    return [
        f"webhook    {row.name} is {row.state}"
        + (f" since {row.since:%Y-%m-%d %H:%M:%S} UTC" if row.since else "")
        + f": {row.waiting} waiting, {row.given_up} given up"
        for row in rows
        if row.state.ill or row.given_up
    ]


def _process(row: Supervised, supervision: Supervision) -> dict[str, object]:
    """One supervised process; nobody judges the health of one whose supervisor is gone."""
    from quarterdeck.runner.supervision import Health

    unjudged = Health.UNKNOWN if row.alive else Health.DOWN
    return {
        "name": row.name,
        "pid": row.pid,
        "alive": row.alive,
        "since": row.since,
        "restarts": row.restarts,
        "last_end": row.last_end,
        "last_end_at": row.last_end_at,
        "health": row.health if supervision.alive else unjudged,
    }


def _processes(rows: list[dict[str, object]]) -> list[str]:
    """The table of processes, with an empty line after it; nothing where none was ever supervised."""
    keys = ("name", "pid", "alive", "health", "since", "restarts", "last_end_at", "last_end")
    headings = ("process", "pid", "alive", "health", "since", "restarts", "last end", "how")
    cells = [["yes" if row[key] is True else "no" if row[key] is False else row[key] for key in keys] for row in rows]
    return [table(headings, cells), ""] if rows else []


def verify(as_data: JsonFlag = False) -> None:
    """Check that no event was changed or removed."""
    from quarterdeck.events import verify as verify_chain

    with opened() as workspace, workspace.state.read() as tx:
        count = verify_chain(tx)
    emit({"events": count, "chain_ok": True}, f"{count} events, chain intact.", as_data=as_data)


def events(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, newest first.")] = 50,
    as_data: JsonFlag = False,
) -> None:
    """The newest events."""
    from quarterdeck_console.history import newest_events

    with opened() as workspace:
        rows = newest_events(workspace, limit)
    text = table(("id", "at", "actor", "event", "subject"), [(e.id, e.at, e.actor, e.kind, e.subject) for e in rows])
    emit(rows, text, as_data=as_data)
    if not rows:
        say("Nothing has happened yet.")
