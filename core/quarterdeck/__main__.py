"""Entry points of the processes: `python -m quarterdeck runner|gateway|up --workspace PATH`.

They are never started through the `quarterdeck` script: each job would run that again, as `__mp_main__`.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from quarterdeck import bootstrap
from quarterdeck.errors import QuarterdeckError
from quarterdeck.location import find_workspace


def main(arguments: list[str] | None = None) -> int:
    """Run the process that the arguments name; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        root = find_workspace(options.workspace)
        match options.process:
            case "runner":
                _runner(root)
            case "gateway":
                _gateway(root, options)
            case "up":
                _up(root, lifeline=0 if options.until_eof else None)
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
    ):
        process = processes.add_parser(name, help=what, description=what)
        process.add_argument("--workspace", type=Path, default=Path(), help="the folder with quarterdeck.toml")
        if name == "up":
            process.add_argument("--until-eof", action="store_true", help="also stop when standard input ends")
        if name == "gateway":
            process.add_argument("--slot", type=int, default=0, help="which of the gateway's workers this is")
            process.add_argument("--fd", type=int, help="a listening socket that the supervisor hands over")
            process.add_argument("--host", help="the address to listen on, without --fd")
            process.add_argument("--port", type=int, help="the port to listen on, without --fd")
    return parser


def _runner(root: Path) -> None:
    from quarterdeck.runner.loop import run_runner

    run_runner(root, partial(bootstrap.open_workspace, actor="runner"))


def _gateway(root: Path, options: argparse.Namespace) -> None:
    from quarterdeck.serving.worker import serve

    workspace = bootstrap.open_workspace(root, actor="gateway")
    gateway = workspace.settings.gateway
    host = gateway.host if options.host is None else options.host
    port = gateway.port if options.port is None else options.port
    serve(workspace, slot=options.slot, host=host, port=port, fd=options.fd)


def _up(root: Path, *, lifeline: int | None) -> None:
    from quarterdeck.runner.supervisor import up

    # Opened once here: a workspace of an older schema is brought up to date before several processes open it.
    workspace = bootstrap.open_workspace(root)
    workspace.close()
    up(root, workspace.settings, lifeline=lifeline)


if __name__ == "__main__":
    sys.exit(main())
