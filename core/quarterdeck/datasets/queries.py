"""What panes and the command line read about datasets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from quarterdeck.datasets.dataset import Dataset, find_dataset
from quarterdeck.datasets.version import DatasetVersion
from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DatasetRow:
    name: str
    versions: int
    newest: int | None
    rows: int | None
    """Of the newest version."""
    columns: int | None
    created_at: datetime
    changed_at: datetime | None
    """When the newest version was added."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    dataset: str
    number: int
    source: str
    source_digest: str
    artifact: str
    rows: int
    columns: list[dict[str, Any]]
    """A `ColumnSchema` as a dictionary for each column."""
    warnings: list[str]
    created_at: datetime


def datasets(workspace: Workspace) -> list[DatasetRow]:
    """Every dataset, by name."""
    rows: list[DatasetRow] = []
    with workspace.state.read() as tx:
        for dataset in tx.exec(select(Dataset).order_by(Dataset.name)):
            query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id)
            found = tx.exec(query.order_by(col(DatasetVersion.number).desc())).all()
            newest = found[0] if found else None
            rows.append(
                DatasetRow(
                    name=dataset.name,
                    versions=len(found),
                    newest=newest.number if newest else None,
                    rows=newest.rows if newest else None,
                    columns=len(newest.columns) if newest else None,
                    created_at=dataset.created_at,
                    changed_at=newest.created_at if newest else None,
                )
            )
    return rows


def versions(workspace: Workspace, name: str) -> list[VersionRow]:
    """The versions of the dataset `name`, newest first.

    Raises:
        NotFoundError: there is no such dataset.
    """
    with workspace.state.read() as tx:
        dataset = find_dataset(tx, name)
        query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id)
        return [
            VersionRow(
                dataset=name,
                number=version.number,
                source=version.source,
                source_digest=version.source_digest,
                artifact=version.artifact,
                rows=version.rows,
                columns=version.columns,
                warnings=version.warnings,
                created_at=version.created_at,
            )
            for version in tx.exec(query.order_by(col(DatasetVersion.number).desc()))
        ]
