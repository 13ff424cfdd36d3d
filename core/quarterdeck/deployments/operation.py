"""An operation: the way of one change from the wish to the proof. It belongs to the engine, not to a console."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlmodel import Field

from quarterdeck.database import Entity, choice_column, time_column
from quarterdeck.deployments.revision import RevisionKind


class OperationState(StrEnum):
    PLANNED = "planned"
    """Written: the gateway has not routed it everywhere yet, or the command that does it elsewhere has not ended."""
    UNPROVEN = "unproven"
    """Nothing has shown it yet: no prediction or probe from elsewhere has named its version, or nothing was scored."""
    VERIFIED = "verified"
    """Every gateway worker has served a response of the new revision; or, where it is served elsewhere, a prediction
    or a probe has named its version; or a batch deployment has scored by it."""
    FAILED = "failed"
    """A gateway worker could not serve the new revision and says why; the one before it goes on serving there. Or the
    command that rolls back elsewhere failed."""
    SUPERSEDED = "superseded"
    """Another change came before it was verified."""


class Operation(Entity, table=True):
    id: int | None = Field(default=None, primary_key=True)
    deployment_id: int = Field(foreign_key="deployment.id", index=True)
    kind: RevisionKind = Field(sa_column=choice_column("kind", RevisionKind))
    from_revision: int | None = None
    to_revision: int
    state: OperationState = Field(sa_column=choice_column("state", OperationState))
    actor: str
    reason: str
    planned_at: datetime = Field(sa_column=time_column(required=True))
    routed_at: datetime | None = Field(default=None, sa_column=time_column())
    """When the last gateway worker pointed its routes at it, or the command that does it elsewhere had ended."""
    verified_at: datetime | None = Field(default=None, sa_column=time_column())
    error: str | None = None
