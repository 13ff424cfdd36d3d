"""Edges between the things that came from one another: data version -> run -> model version -> revision."""

from __future__ import annotations

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity


class Edge(Entity, table=True):
    """`target` was made from `source`. Both are references as people type them: `data/payments@1`, `run/3`."""

    __table_args__ = (UniqueConstraint("source", "target"), Index("ix_edge_target", "target"))

    id: int | None = Field(default=None, primary_key=True)
    source: str
    target: str


def connect(tx: Session, source: str, target: str) -> None:
    """Record, inside a verb's transaction, that `target` was made from `source`. Repeating it changes nothing."""
    known = select(Edge.id).where(Edge.source == source, Edge.target == target)
    if tx.exec(known).first() is None:
        tx.add(Edge(source=source, target=target))


def upstream(tx: Session, reference: str) -> list[str]:
    """Everything that `reference` was made from, nearest first."""
    return _walk(tx, reference, forward=False)


def downstream(tx: Session, reference: str) -> list[str]:
    """Everything that was made from `reference`, nearest first."""
    return _walk(tx, reference, forward=True)


def _walk(tx: Session, reference: str, *, forward: bool) -> list[str]:
    here, there = (Edge.source, Edge.target) if forward else (Edge.target, Edge.source)
    found: list[str] = []
    frontier = [reference]
    while frontier:
        reached = tx.exec(select(there).where(col(here).in_(frontier)).order_by(col(Edge.id))).all()
        frontier = [name for name in dict.fromkeys(reached) if name not in found and name != reference]
        found += frontier
    return found
