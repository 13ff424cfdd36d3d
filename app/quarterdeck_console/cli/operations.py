"""Verbs for whoever runs the box: the service, and the doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck_console.cli.output import JsonFlag, emit, say
from quarterdeck_console.cli.session import root

if TYPE_CHECKING:
    from quarterdeck.runner.service import Service

UserFlag = Annotated[bool, typer.Option("--user", help="A unit of your own instead of one of the machine.")]
Name = Annotated[str | None, typer.Option("--name", help="The unit's name; by default after the workspace's folder.")]


def install(
    user: UserFlag = False,
    name: Name = None,
    only_print: Annotated[bool, typer.Option("--print", help="Print the unit and change nothing.")] = False,
    as_data: JsonFlag = False,
) -> None:
    """Let systemd run `up`, now and from every start of the machine on."""
    from quarterdeck.runner.service import Systemd
    from quarterdeck.runner.service import install as install_service

    service = _service(user, name)
    if only_print:
        emit({"name": service.file_name, "unit": service.text()}, service.text().rstrip("\n"), as_data=as_data)
        return
    place = install_service(service, Systemd(user))
    emit({"name": service.file_name, "file": place}, f"{place} is enabled and runs.", as_data=as_data)


def uninstall(user: UserFlag = False, name: Name = None, as_data: JsonFlag = False) -> None:
    """Stop the service and remove its unit; the workspace stays."""
    from quarterdeck.runner.service import Systemd
    from quarterdeck.runner.service import uninstall as uninstall_service

    service = _service(user, name)
    place = uninstall_service(service, Systemd(user))
    emit({"name": service.file_name, "file": place}, f"{place} is stopped and removed.", as_data=as_data)
    if user:
        say("Lingering stays on, since other services of yours may need it: `loginctl disable-linger` ends it.")


def service_status(user: UserFlag = False, name: Name = None, as_data: JsonFlag = False) -> None:
    """What systemd says of the service."""
    from quarterdeck.runner.service import Systemd, status

    value = status(_service(user, name), Systemd(user))
    emit(value, "\n".join(f"{key:8} {text}" for key, text in value.items()), as_data=as_data)


def doctor(
    context: typer.Context,
    full: Annotated[bool, typer.Option("--full", help="Read every artifact and every page of the databases.")] = False,
    as_data: JsonFlag = False,
) -> None:
    """Check the workspace and the machine, and say what to do. Changes nothing; ends with 1 if there is a problem."""
    from quarterdeck.doctor import State, examine, find_patient

    folder = find_patient(context.find_root().params.get("folder") or Path.cwd())
    findings = examine(folder, full=full)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:8} {finding.name}: {finding.found}")
        lines += [f"{'':8} -> {finding.advice}"] if finding.advice else []
    problems = sum(finding.state is State.PROBLEM for finding in findings)
    warnings = sum(finding.state is State.WARNING for finding in findings)
    lines += ["", f"{len(findings)} checks: {problems} problems, {warnings} warnings."]
    value = {"workspace": folder, "problems": problems, "warnings": warnings, "checks": findings}
    emit(value, "\n".join(lines), as_data=as_data)
    if problems:
        raise typer.Exit(1)


def _service(user: bool, name: str | None) -> Service:
    from quarterdeck.runner.service import Service, check_service_name, default_name

    folder = root()
    return Service(default_name(folder) if name is None else check_service_name(name), folder, user=user)
