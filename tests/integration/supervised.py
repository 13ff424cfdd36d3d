"""`up` on a real workspace, and what it has started: all of it ends with the block."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlmodel import col, select

from quarterdeck.deployments.proof import GatewayWorker
from quarterdeck.processes import ProcessIdentity, is_alive
from quarterdeck.runner.queries import runner_state
from quarterdeck.runner.supervision import Health, Supervised, read_supervision
from quarterdeck.workspace import Workspace
from tests.integration.runner_harness import START_SECONDS, Process, running
from tests.waiting import wait_for


@contextmanager
def supervised(workspace: Workspace, *arguments: str) -> Iterator[Process]:
    """`up` with both children working."""
    with running(workspace, "up", *arguments) as up:
        try:
            wait_for(lambda: "gateway on" in up.said, seconds=START_SECONDS, what="the supervisor")
            wait_for(lambda: both_work(workspace), seconds=START_SECONDS, what="both children")
            yield up
        finally:
            end_children(workspace)


def end_children(workspace: Workspace) -> None:
    """Kill whatever is written down as supervised."""
    for row in rows(workspace).values():
        if row.identity is not None and is_alive(row.identity):
            with suppress(ProcessLookupError):
                os.kill(row.identity.pid, signal.SIGKILL)


def rows(workspace: Workspace) -> dict[str, Supervised]:
    """What is written down of each process, by name."""
    supervision = read_supervision(workspace.folder)
    return {row.name: row for row in supervision.processes} if supervision is not None else {}


def pid_of(workspace: Workspace, name: str) -> int:
    pid = rows(workspace)[name].pid
    assert pid is not None
    return pid


def children(workspace: Workspace) -> list[int]:
    return [row.pid for row in rows(workspace).values() if row.pid is not None]


def both_work(workspace: Workspace) -> bool:
    now = rows(workspace)
    return (
        {row.health for row in now.values()} == {Health.HEALTHY}
        and all(row.alive for row in now.values())
        and {runner_state(workspace).pid, *gateways(workspace)} == set(children(workspace))
    )


def gateways(workspace: Workspace) -> list[int]:
    """Process ids of the gateway workers that live and have registered."""
    with workspace.state.read() as tx:
        workers = list(tx.exec(select(GatewayWorker).where(col(GatewayWorker.stopped_at).is_(None))))
    return [row.pid for row in workers if is_alive(ProcessIdentity(row.pid, row.process_started, row.boot_id))]


def address(up: Process) -> str:
    found = wait_for(lambda: re.search(r"http://\S+:\d+", up.said), what="the address")
    assert found is not None
    return found.group()
