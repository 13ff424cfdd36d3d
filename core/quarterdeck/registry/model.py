"""A model: a name for a series of versions that answer one question."""

from __future__ import annotations

from datetime import datetime

from pydantic import field_validator
from sqlmodel import Field, Session, select

from quarterdeck.database import Entity, time_column
from quarterdeck.errors import NotFoundError
from quarterdeck.values import check_name


class Model(Entity, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    created_at: datetime = Field(sa_column=time_column(required=True))

    check_name = field_validator("name")(check_name)


def find_model(tx: Session, name: str) -> Model:
    """The model called `name`.

    Raises:
        NotFoundError: there is none; the message lists those that exist.
    """
    model = tx.exec(select(Model).where(Model.name == name)).first()
    if model is None:
        names = ", ".join(tx.exec(select(Model.name).order_by(Model.name))) or "none yet"
        raise NotFoundError(f"There is no model '{name}'. Known: {names}. `quarterdeck models` lists them.")
    return model
