"""Who has a rollback plan open: so that two people do not do the same thing, or opposite things, at once."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Field, Session, col, select

from quarterdeck import processes
from quarterdeck.database import Entity, time_column
from quarterdeck.workspace import Workspace


class PlanView(Entity, table=True):
    """One open plan screen. A row whose process is gone counts for nothing."""

    __tablename__ = "plan_view"

    id: int | None = Field(default=None, primary_key=True)
    deployment: str = Field(index=True)
    actor: str
    host: str
    pid: int
    process_started: float
    boot_id: str
    opened_at: datetime = Field(sa_column=time_column(required=True))


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Somebody else who has the plan of the same deployment open."""

    actor: str
    host: str
    pid: int
    opened_at: datetime


def open_plan(workspace: Workspace, name: str, *, actor: str | None = None) -> int | None:
    """Say that this process has the plan of a deployment open; return the number to close it by.

    None in a read-only workspace, where nothing is written.
    """
    if workspace.settings.workspace.read_only:
        return None
    me = processes.here()
    with workspace.state.write("open plan") as tx:
        for view in tx.exec(select(PlanView)):
            if not _is_open(view):
                tx.delete(view)
        view = PlanView(
            deployment=name,
            actor=actor or workspace.actor,
            host=socket.gethostname(),
            pid=me.pid,
            process_started=me.started,
            boot_id=me.boot_id,
            opened_at=workspace.now(),
        )
        tx.add(view)
        tx.flush()
        return view.id


def close_plan(workspace: Workspace, view_id: int | None) -> None:
    """Take back what `open_plan` said."""
    if view_id is None:
        return
    with workspace.state.write("close plan") as tx:
        view = tx.get(PlanView, view_id)
        if view is not None:
            tx.delete(view)


def others(tx: Session, name: str) -> list[Onlooker]:
    """Who else has the plan of a deployment open, in a process that really runs; longest first."""
    me = processes.here()
    views = tx.exec(select(PlanView).where(PlanView.deployment == name).order_by(col(PlanView.opened_at)))
    return [
        Onlooker(actor=view.actor, host=view.host, pid=view.pid, opened_at=view.opened_at)
        for view in views
        if _identity(view) != me and _is_open(view)
    ]


def _is_open(view: PlanView) -> bool:
    return processes.is_alive(_identity(view))


def _identity(view: PlanView) -> processes.ProcessIdentity:
    return processes.ProcessIdentity(view.pid, view.process_started, view.boot_id)
