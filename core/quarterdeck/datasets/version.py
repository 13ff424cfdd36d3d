"""A dataset version: one state of the table, named by the bytes it was read from."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field

from quarterdeck.database import Entity, json_column, time_column


class DatasetVersion(Entity, table=True):
    __tablename__ = "dataset_version"
    __table_args__ = (
        UniqueConstraint("dataset_id", "number"),
        UniqueConstraint("dataset_id", "source_digest", "reading_digest"),
        CheckConstraint("number >= 1"),
    )

    id: int | None = Field(default=None, primary_key=True)
    dataset_id: int = Field(foreign_key="dataset.id", index=True)
    number: int
    """1, 2, 3, ... for each dataset; never reused."""
    source: str
    """Where the bytes came from."""
    source_digest: str
    """SHA-256 of the bytes as they were read."""
    reading_digest: str
    """SHA-256 of the settings by which they were read: the same bytes read otherwise are another version."""
    artifact: str
    """Digest of the Parquet file."""
    rows: int
    columns: list[dict[str, Any]] = Field(sa_column=json_column())
    """The schema: a `ColumnSchema` as a dictionary for each column, in the order of the file."""
    warnings: list[str] = Field(sa_column=json_column())
    created_at: datetime = Field(sa_column=time_column(required=True))
