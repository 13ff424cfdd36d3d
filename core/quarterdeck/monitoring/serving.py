"""What serves now, as the events tell it: monitoring never asks the rooms above it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmodel import Session, col, select

from quarterdeck.events import Event

MOVES = ("deployment.deployed", "deployment.rolled_back", "deployment.undone")


@dataclass(frozen=True, slots=True)
class Serving:
    """The model and the version that a deployment is meant to answer with."""

    model: str
    version: int


def what_serves(tx: Session, deployment: str) -> Serving | None:
    """What the newest change of the deployment put there; None before the first one."""
    query = select(Event.data).where(Event.subject == f"deployment/{deployment}", col(Event.kind).in_(MOVES))
    data = tx.exec(query.order_by(col(Event.id).desc()).limit(1)).first()
    return None if data is None else Serving(model=data["model"], version=data["version"])
