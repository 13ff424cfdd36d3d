"""Pausing a schedule or a pipeline, and letting it go on."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, Session, select

from quarterdeck.database import Entity, time_column
from quarterdeck.errors import NotFoundError, RefusedError
from quarterdeck.pipelines.discovery import find_pipeline
from quarterdeck.pipelines.schedule import Schedule
from quarterdeck.workspace import Workspace


class Pause(Entity, table=True):
    """What somebody has paused: a schedule fires no ticks, a pipeline starts no runs."""

    subject: str = Field(primary_key=True)
    """`schedule/NAME` or `pipeline/NAME`."""
    actor: str
    reason: str
    at: datetime = Field(sa_column=time_column(required=True))


def pause(workspace: Workspace, subject: str, *, reason: str = "", actor: str | None = None) -> None:
    """Pause `subject` (`schedule/NAME` or `pipeline/NAME`). What runs already goes on to its end.

    Raises:
        NotFoundError: there is no such schedule or pipeline.
        RefusedError: it is paused already.
        ReadOnlyError: the workspace is read-only.
    """
    _find(workspace, subject)
    with workspace.change("pause") as tx:
        row = tx.get(Pause, subject)
        if row is not None:
            raise RefusedError(f"{subject} is paused already, by {row.actor} since {row.at:%Y-%m-%d %H:%M} UTC.")
        tx.add(Pause(subject=subject, actor=actor or workspace.actor, reason=reason, at=workspace.now()))
        kind, _, _ = subject.partition("/")
        workspace.record(tx, f"{kind}.paused", subject, {"reason": reason}, actor=actor)


def resume(workspace: Workspace, subject: str, *, actor: str | None = None) -> None:
    """Let it go on. An interval counts from now, and nothing fires for the time of the pause.

    Raises:
        NotFoundError: there is no such schedule or pipeline.
        RefusedError: nobody paused it; a schedule that the settings pause is resumed there.
        ReadOnlyError: the workspace is read-only.
    """
    _find(workspace, subject)
    kind, _, name = subject.partition("/")
    with workspace.change("resume") as tx:
        row = tx.get(Pause, subject)
        schedule = tx.exec(select(Schedule).where(Schedule.name == name)).first() if kind == "schedule" else None
        if row is None:
            where = f"`paused = true` under [schedules.{name}] in {workspace.settings_file} holds it: set it to false."
            held = schedule is not None and schedule.paused
            raise RefusedError(
                f"{subject} is not paused by anybody. {where if held else 'There is nothing to resume.'}"
            )
        tx.delete(row)
        if schedule is not None:
            schedule.anchor, schedule.next_tick, schedule.last_tick = workspace.now(), None, None
        workspace.record(tx, f"{kind}.resumed", subject, {"paused_by": row.actor}, actor=actor)


def pauses(tx: Session, kind: str) -> dict[str, Pause]:
    """What of a kind (`schedule`, `pipeline`) is paused, by name."""
    rows = tx.exec(select(Pause))
    return {row.subject.partition("/")[2]: row for row in rows if row.subject.startswith(f"{kind}/")}


def _find(workspace: Workspace, subject: str) -> None:
    kind, _, name = subject.partition("/")
    if kind == "pipeline":
        find_pipeline(workspace, name)
        return
    with workspace.state.read() as tx:
        known = list(tx.exec(select(Schedule.name).order_by(Schedule.name)))
    if kind != "schedule" or name not in known:
        listed = ", ".join(f"schedule/{one}" for one in known) or "there are no schedules"
        raise NotFoundError(f"There is no '{subject}'. Write schedule/NAME or pipeline/NAME ({listed}).")
