"""Entry points of the processes: `python -m quarterdeck runner|gateway|up|trial --workspace PATH`.

They are never started through the `quarterdeck` script: each job would run that again, as `__mp_main__`.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path

from quarterdeck import logs
from quarterdeck.errors import QuarterdeckError
from quarterdeck.location import SETTINGS_FILE, find_workspace

WARN = partial(logs.tell, "WARNING")
"""Known by name in job processes too, which open the workspace as the runner does."""


def main(arguments: list[str] | None = None) -> int:
    """Run the process that the arguments name; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        root = find_workspace(options.workspace)
        if options.process == "up" and options.plan is not None:
            _supervise(options)
            return 0
        if options.log is not None:
            _take_over(root, options)
        if options.process == "trial":
            _trial(root, options)
            return 0
        beat = _beat(options.link) if options.process != "up" and options.link is not None else None
        match options.process:
            case "runner":
                _runner(root)
            case "gateway":
                _gateway(root, options, beat)
            case "up":
                _up(root, options)
    except QuarterdeckError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m quarterdeck", description=__doc__)
    processes = parser.add_subparsers(dest="process", required=True)
    for name, what in (
        ("runner", "fire schedules and run jobs"),
        ("gateway", "answer predictions"),
        ("up", "start the runner and the gateway, and keep them running"),
        ("trial", "load a version once, and say what memory that takes"),
    ):
        process = processes.add_parser(name, help=what, description=what)
        process.add_argument("--workspace", type=Path, default=Path(), help="the folder with quarterdeck.toml")
        process.add_argument("--log", type=Path, help="write there, and keep the file from growing forever")
        if name == "up":
            process.add_argument("--until-eof", action="store_true", help="also stop when standard input ends")
            process.add_argument("--patience", type=float, help="seconds in which a gateway worker must show life")
            process.add_argument("--plan", help="what to keep running: `up` hands this to itself")
        else:
            process.add_argument("--link", type=int, help="a socket to the supervisor, which says when to begin")
        if name == "trial":
            process.add_argument("--model", required=True, help="the model")
            process.add_argument("--number", type=int, required=True, help="the version's number")
        if name == "gateway":
            process.add_argument("--slot", type=int, default=0, help="which of the gateway's workers this is")
            process.add_argument("--fd", type=int, help="a listening socket that the supervisor hands over")
            process.add_argument("--host", help="the address to listen on, without --fd")
            process.add_argument("--port", type=int, help="the port to listen on, without --fd")
    return parser


def _take_over(root: Path, options: argparse.Namespace) -> None:
    from quarterdeck.settings import load_settings
    from quarterdeck.settings.host import LogSettings

    try:
        settings = load_settings(root / SETTINGS_FILE).logs
    except QuarterdeckError:
        settings = LogSettings()  # Whoever opens the workspace will tell what is wrong, in this log.
    # The scheduler's library tells each tick as information.
    level = logging.INFO if options.process == "gateway" else logging.WARNING
    secrets = logs.secrets_of(settings.mask)
    logs.take_over(options.log.absolute(), secrets=secrets, max_bytes=settings.max_bytes, level=level)


def _beat(handle: int) -> Callable[[], None]:
    """Wait until the supervisor has written this process down; what then shows it that this process lives."""
    os.set_inheritable(handle, False)
    link = socket.socket(fileno=handle)
    with suppress(ConnectionResetError):
        if link.recv(1):
            link.setblocking(False)
            return partial(_send, link)
    sys.exit(0)  # It was killed just now, and nobody would know of this process.


def _send(link: socket.socket) -> None:
    with suppress(OSError):
        link.send(b".")


def _runner(root: Path) -> None:
    from quarterdeck import bootstrap
    from quarterdeck.runner.loop import run_runner

    run_runner(root, partial(bootstrap.open_workspace, actor="runner", warn=WARN))


def _gateway(root: Path, options: argparse.Namespace, beat: Callable[[], None] | None) -> None:
    from quarterdeck.registry.libraries import preload

    preload()  # The first deployment should not wait for it.
    from quarterdeck import bootstrap
    from quarterdeck.serving.worker import serve

    workspace = bootstrap.open_workspace(root, actor="gateway", warn=WARN)
    gateway = workspace.settings.gateway
    host = gateway.host if options.host is None else options.host
    port = gateway.port if options.port is None else options.port
    serve(workspace, slot=options.slot, host=host, port=port, fd=options.fd, beat=beat)


def _trial(root: Path, options: argparse.Namespace) -> None:
    from quarterdeck import bootstrap
    from quarterdeck.serving.trying import run_trial

    run_trial(bootstrap.open_workspace(root, actor="gateway"), options.model, options.number, options.link)


def _up(root: Path, options: argparse.Namespace) -> None:
    from quarterdeck import bootstrap
    from quarterdeck.runner.health import Patience
    from quarterdeck.runner.supervisor import Plan
    from quarterdeck.serving.certificate import check_certificate

    # Opened once here: a workspace of an older schema is brought up to date before several processes open it.
    workspace = bootstrap.open_workspace(root)
    workspace.state.check()
    workspace.close()
    settings = workspace.settings
    check_certificate(root, settings.gateway)
    plan = Plan(
        root=str(root),
        folder=str(workspace.folder),
        scheme=settings.gateway.scheme,
        host=settings.gateway.host,
        port=settings.gateway.port,
        workers=settings.gateway.workers,
        lease_seconds=settings.runner.lease.total_seconds(),
        max_log_bytes=settings.logs.max_bytes,
        gateway_patience=options.patience or Patience().gateway,
    )
    # It has imported far more than a supervisor needs: the same process begins anew, and is a quarter of the size.
    program = [sys.executable, "-P", "-m", "quarterdeck", "up", "--workspace", str(root)]
    more = ["--until-eof"] if options.until_eof else []
    more += [] if options.log is None else ["--log", str(options.log)]
    os.execv(sys.executable, [*program, *more, "--plan", json.dumps(asdict(plan))])


def _supervise(options: argparse.Namespace) -> None:
    from quarterdeck.runner.supervisor import Plan, up

    plan = Plan(**json.loads(options.plan))
    if options.log is not None:
        logs.take_over(options.log.absolute(), max_bytes=plan.max_log_bytes)
    up(plan, lifeline=0 if options.until_eof else None)


if __name__ == "__main__":
    sys.exit(main())
