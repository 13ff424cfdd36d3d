"""A revision: an immutable list of variants. Nothing is rewound; going back makes a new one."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, choice_column, json_column, time_column
from quarterdeck.deployments.deployment import Deployment
from quarterdeck.errors import NotFoundError

FULL_WEIGHT = 1000


class RevisionKind(StrEnum):
    """What made it."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    UNDO = "undo"


class Revision(Entity, table=True):
    __table_args__ = (UniqueConstraint("deployment_id", "number"), CheckConstraint("number >= 1"))

    id: int | None = Field(default=None, primary_key=True)
    deployment_id: int = Field(foreign_key="deployment.id", index=True)
    number: int
    kind: RevisionKind = Field(sa_column=choice_column("kind", RevisionKind))
    variants: list[dict[str, Any]] = Field(sa_column=json_column())
    """For each variant its version (number), weight (per mille, summing to 1,000) and role."""
    goes_back_to: int | None = None
    """For a rollback or an undo: the revision whose variants it repeats."""
    replaces: int | None = None
    """The revision that was desired before it."""
    reason: str
    actor: str
    created_at: datetime = Field(sa_column=time_column(required=True))
    verified_at: datetime | None = Field(default=None, sa_column=time_column())
    """When every gateway worker had served a response of it."""
    replaced_at: datetime | None = Field(default=None, sa_column=time_column())
    """When another revision became the desired one."""
    withheld: str | None = None
    """Why no gateway worker serves it although it is desired: they died of it."""

    @property
    def version(self) -> int:
        """The version that serves: the champion's."""
        return next(int(v["version"]) for v in self.variants if v["role"] == "champion")


def champion(version: int) -> list[dict[str, Any]]:
    """The variants of a revision that serves one version to everybody."""
    return [{"version": version, "weight": FULL_WEIGHT, "role": "champion"}]


def find_revision(tx: Session, deployment_id: int, number: int) -> Revision:
    """Revision `number` of a deployment.

    Raises:
        NotFoundError: there is none.
    """
    query = select(Revision).where(Revision.deployment_id == deployment_id, Revision.number == number)
    revision = tx.exec(query).first()
    if revision is None:
        name = tx.get_one(Deployment, deployment_id).name
        raise NotFoundError(f"'{name}' has no revision {number}. `quarterdeck history {name}` lists them.")
    return revision


def newest_of_versions(tx: Session, deployment_id: int) -> dict[int, int]:
    """For each version that a deployment was ever meant to serve the number of its newest revision."""
    query = select(Revision).where(Revision.deployment_id == deployment_id).order_by(col(Revision.number))
    return {revision.version: revision.number for revision in tx.exec(query)}


def last_number(tx: Session, deployment_id: int) -> int:
    """The newest revision's number, 0 when there is none."""
    query = select(Revision.number).where(Revision.deployment_id == deployment_id)
    return tx.exec(query.order_by(col(Revision.number).desc()).limit(1)).first() or 0
