"""Who else has a plan open."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from quarterdeck import processes
from quarterdeck.deployments.presence import PlanView, close_plan, open_plan, others
from quarterdeck.settings import Settings
from quarterdeck.workspace import Workspace


def pretend(workspace: Workspace, view: int | None, identity: processes.ProcessIdentity) -> None:
    with workspace.state.write("test") as tx:
        row = tx.get_one(PlanView, view)
        row.pid, row.process_started = identity.pid, identity.started


def seen(workspace: Workspace) -> list[str]:
    with workspace.state.read() as tx:
        return [onlooker.actor for onlooker in others(tx, "payments")]


def test_another_living_process_is_seen_until_it_closes_the_plan(workspace: Workspace) -> None:
    view = open_plan(workspace, "payments", actor="maria")
    assert seen(workspace) == []  # it is ourselves
    parent = os.getppid()
    fields = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()
    started = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    pretend(workspace, view, processes.ProcessIdentity(parent, started, processes.boot_id()))
    assert seen(workspace) == ["maria"]
    close_plan(workspace, view)
    assert seen(workspace) == []


def test_a_process_that_is_gone_is_not_seen_and_its_row_is_swept(workspace: Workspace) -> None:
    view = open_plan(workspace, "payments", actor="maria")
    pretend(workspace, view, processes.ProcessIdentity(os.getpid(), -1.0, processes.boot_id()))
    assert seen(workspace) == []
    open_plan(workspace, "payments")
    with workspace.state.read() as tx:
        assert tx.get(PlanView, view) is None


def test_a_read_only_workspace_is_not_written(workspace: Workspace) -> None:
    closed = dataclasses.replace(workspace, settings=Settings.model_validate({"workspace": {"read_only": True}}))
    view = open_plan(closed, "payments")
    assert view is None
    close_plan(closed, view)
