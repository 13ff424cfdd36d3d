"""Verbs on the workspace as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, say, table
from quarterdeck_console.cli.session import opened, root


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
    import sys

    from quarterdeck.errors import UsageError
    from quarterdeck_console.app import run_console

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "The console needs a terminal. For scripts: `quarterdeck status --json`, `quarterdeck --help`."
        )
    return run_console(root(), open_at=open_at)


def open_at(place: Annotated[str, typer.Argument(help="Such as alert/3, deployment/fraud, job/7.")]) -> None:
    """Open the console on one row: pages and webhooks carry this line."""
    raise typer.Exit(console(place))


def up() -> None:
    """Run and supervise the runner and the gateway, until stopped."""
    from quarterdeck.bootstrap import open_workspace
    from quarterdeck.runner.supervisor import up as supervise

    folder = root()
    workspace = open_workspace(folder)
    workspace.close()
    supervise(folder, workspace.settings)


def status(as_data: JsonFlag = False) -> None:
    """What runs, what is deployed, what is wrong."""
    from quarterdeck.deployments.queries import deployments, gateway_state
    from quarterdeck.monitoring.queries import alerts
    from quarterdeck.runner.queries import runner_state

    with opened() as workspace:
        gateway, runner = gateway_state(workspace), runner_state(workspace)
        rows, open_alerts = deployments(workspace), alerts(workspace)
    address = f"http://{gateway.host}:{gateway.port}" if gateway.alive else None
    value = {
        "workspace": workspace.root,
        "name": workspace.settings.workspace.name,
        "environment": workspace.settings.workspace.environment,
        "runner": {"alive": runner.alive, "pid": runner.pid},
        "gateway": {"alive": gateway.alive, "url": address},
        "deployments": rows,
        "alerts": open_alerts,
    }
    lines = [
        f"workspace  {workspace.settings.workspace.name} ({workspace.settings.workspace.environment}) {workspace.root}",
        f"runner     {f'alive, process {runner.pid}' if runner.alive else 'not running: quarterdeck up'}",
        f"gateway    {f'{gateway.alive} worker(s) at {address}' if address else 'not running: quarterdeck up'}",
        "",
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
    for monitor, settings in workspace.settings.monitors.items():
        if settings.deployment not in {row.name for row in rows}:
            say(f"Monitor '{monitor}' watches '{settings.deployment}', and nothing is deployed under that name.")


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
