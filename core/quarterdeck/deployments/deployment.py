"""A deployment: a name that answers predictions, and the revision that people want it to answer with."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import field_validator
from sqlmodel import Field, Session, select

from quarterdeck.database import Entity, choice_column, time_column
from quarterdeck.errors import ConflictError, NotFoundError
from quarterdeck.registry.version import HOSTED, Format
from quarterdeck.values import check_name


class ServedBy(StrEnum):
    """Who answers."""

    GATEWAY = "gateway"
    """Quarterdeck's own gateway."""
    PROCESS = "process"
    """A process in a Python environment of its own, behind the gateway."""
    EXTERNAL = "external"
    """A system elsewhere, which reports its predictions here."""
    BATCH = "batch"
    """Nobody at any time: `quarterdeck score` writes tables of predictions."""


IN_GATEWAY = (ServedBy.GATEWAY, ServedBy.PROCESS)
"""The gateway takes the requests; which of the two it is follows from the version that is to serve."""


def served_in_gateway(version_format: Format) -> ServedBy:
    """Which of the two serves a version of this format."""
    return ServedBy.PROCESS if version_format in HOSTED else ServedBy.GATEWAY


class Deployment(Entity, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    model: str
    """Name of the model whose versions it serves."""
    served_by: ServedBy = Field(sa_column=choice_column("served_by", ServedBy))
    desired_revision: int | None = None
    """The revision number that is wanted. What each gateway worker observes is in its proofs."""
    created_at: datetime = Field(sa_column=time_column(required=True))
    url: str | None = None
    """Where it answers, for one that is served elsewhere; None where nobody said."""

    check_name = field_validator("name")(check_name)

    def expect(self, revision: int | None) -> None:
        """Compare-and-swap: refuse to change a deployment that is no longer as the person saw it.

        Raises:
            ConflictError: `revision` is given and is not the desired one.
        """
        if revision is not None and revision != self.desired_revision:
            raise ConflictError(
                f"Deployment '{self.name}' is now at revision {self.desired_revision}, not {revision}: plan again."
            )


def find_deployment(tx: Session, name: str) -> Deployment:
    """The deployment called `name`.

    Raises:
        NotFoundError: there is none; the message lists those that exist.
    """
    deployment = tx.exec(select(Deployment).where(Deployment.name == name)).first()
    if deployment is None:
        names = ", ".join(tx.exec(select(Deployment.name).order_by(Deployment.name))) or "none yet"
        raise NotFoundError(
            f"There is no deployment '{name}'. Known: {names}. "
            "Make one with `quarterdeck deploy NAME --model MODEL --version N`."
        )
    return deployment
