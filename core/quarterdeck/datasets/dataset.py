"""A dataset: a name for a series of versions of one table."""

from __future__ import annotations

from datetime import datetime

from pydantic import field_validator
from sqlmodel import Field, Session, select

from quarterdeck.database import Entity, time_column
from quarterdeck.errors import NotFoundError
from quarterdeck.values import check_name


class Dataset(Entity, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    created_at: datetime = Field(sa_column=time_column(required=True))

    check_name = field_validator("name")(check_name)


def find_dataset(tx: Session, name: str) -> Dataset:
    """The dataset called `name`.

    Raises:
        NotFoundError: there is none; the message lists those that exist.
    """
    dataset = tx.exec(select(Dataset).where(Dataset.name == name)).first()
    if dataset is None:
        names = ", ".join(tx.exec(select(Dataset.name).order_by(Dataset.name))) or "none yet"
        raise NotFoundError(
            f"There is no dataset '{name}'. Known: {names}. Add one with `quarterdeck data add {name} FILE`."
        )
    return dataset
