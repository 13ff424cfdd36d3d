"""A trial: that an artifact was loaded and warmed on a machine before anything relied on it, and what it took."""

from __future__ import annotations

import platform
from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, time_column
from quarterdeck.registry.version import ModelVersion


class Trial(Entity, table=True):
    """One artifact that was loaded on one machine. What could not be loaded leaves none."""

    __table_args__ = (UniqueConstraint("artifact", "machine"),)

    id: int | None = Field(default=None, primary_key=True)
    artifact: str
    """Digest of what is loaded: the converted graph where there is one."""
    machine: str
    memory_bytes: int
    """Proportional set size: what it adds to a process that has its libraries, or its own process whole."""
    tried_at: datetime = Field(sa_column=time_column(required=True))


def what_loads(version: ModelVersion) -> str:
    """Digest of what is loaded for a version."""
    return version.graph or version.artifact or ""


def find_trial(tx: Session, version: ModelVersion) -> Trial | None:
    """The trial of a version on this machine."""
    query = select(Trial).where(Trial.artifact == what_loads(version), Trial.machine == platform.node())
    return tx.exec(query).first()


def memory_of(tx: Session, version: ModelVersion) -> int | None:
    """Bytes that a version takes, as it was measured last, on whatever machine; None where it never was loaded."""
    query = select(Trial.memory_bytes).where(Trial.artifact == what_loads(version))
    return tx.exec(query.order_by(col(Trial.tried_at).desc()).limit(1)).first()


def write_trial(tx: Session, version: ModelVersion, memory_bytes: int, now: datetime) -> None:
    """Write down that a version was loaded on this machine."""
    trial = find_trial(tx, version)
    if trial is None:
        trial = Trial(artifact=what_loads(version), machine=platform.node(), memory_bytes=memory_bytes, tried_at=now)
    trial.memory_bytes, trial.tried_at = memory_bytes, now
    tx.add(trial)
