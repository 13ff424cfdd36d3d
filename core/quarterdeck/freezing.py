"""A freeze: for a stated time nothing happens by itself. People can still do everything."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, time_column
from quarterdeck.errors import RefusedError, UsageError
from quarterdeck.workspace import Workspace

LONGEST = timedelta(days=30)


class Freeze(Entity, table=True):
    """Retrains, rollouts and reactions that no person asked for stop from `at` until it ends."""

    id: int | None = Field(default=None, primary_key=True)
    actor: str
    reason: str
    at: datetime = Field(sa_column=time_column(required=True))
    until: datetime = Field(sa_column=time_column(required=True))
    """When it ends by itself; moved to the moment at which somebody ended it earlier."""


def freeze(workspace: Workspace, duration: timedelta, *, reason: str = "", actor: str | None = None) -> datetime:
    """Stop what happens by itself for `duration`, and return when it ends (UTC). A freeze in force is prolonged or cut.

    Raises:
        UsageError: the duration is not between a second and 30 days.
        ReadOnlyError: the workspace is read-only.
    """
    if not timedelta(seconds=1) <= duration <= LONGEST:
        raise UsageError("A freeze lasts from 1s to 30d. A box that is forgotten in it for longer helps nobody.")
    with workspace.change("freeze") as tx:
        now = workspace.now()
        row = in_force(tx, now)
        if row is None:
            row = Freeze(actor=actor or workspace.actor, reason=reason, at=now, until=now + duration)
        row.actor, row.reason, row.until = actor or workspace.actor, reason, now + duration
        tx.add(row)
        data = {"until": row.until.isoformat(), "reason": reason}
        workspace.record(tx, "workspace.frozen", "workspace", data, actor=actor)
        return row.until


def thaw(workspace: Workspace, *, actor: str | None = None) -> None:
    """End the freeze now.

    Raises:
        RefusedError: there is none.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.change("thaw") as tx:
        row = in_force(tx, workspace.now())
        if row is None:
            raise RefusedError("Nothing is frozen: there is no freeze to end.")
        row.until = workspace.now()
        workspace.record(tx, "workspace.thawed", "workspace", {"frozen_by": row.actor}, actor=actor)


def in_force(tx: Session, now: datetime) -> Freeze | None:
    """The freeze that holds now."""
    return tx.exec(select(Freeze).where(col(Freeze.until) > now).order_by(col(Freeze.id).desc())).first()
