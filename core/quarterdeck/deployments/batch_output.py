"""An output: a table that `quarterdeck score` has written, by which version, from what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, json_column, time_column
from quarterdeck.deployments.deployment import Deployment
from quarterdeck.deployments.rows import OutputRow


class BatchOutput(Entity, table=True):
    __tablename__ = "batch_output"

    id: int | None = Field(default=None, primary_key=True)
    deployment_id: int = Field(foreign_key="deployment.id", index=True)
    version: int
    revision: int
    input: str
    """Path of the table that was scored."""
    input_digest: str
    """SHA-256 of its bytes."""
    output: str
    """Path of the table that was written."""
    digest: str
    """SHA-256 of its bytes."""
    rows: int
    options: dict[str, Any] = Field(sa_column=json_column())
    """`time` and `key`: the columns that the caller named."""
    ids: str
    """What the ids of its predictions begin with: `IDS:0`, `IDS:1`, ... in the order of the rows."""
    actor: str
    at: datetime = Field(sa_column=time_column(required=True))
    finished_at: datetime | None = Field(default=None, sa_column=time_column())
    """When it was in its place and all its predictions were recorded; None where the process ended before."""


def standing_outputs(tx: Session, deployment: Deployment, version: int) -> tuple[OutputRow, ...]:
    """The outputs that `version` wrote and that no later score has written again, newest first."""
    query = select(BatchOutput).where(BatchOutput.deployment_id == deployment.id).order_by(col(BatchOutput.id).desc())
    newest: dict[str, BatchOutput] = {}
    for row in tx.exec(query):
        newest.setdefault(row.output, row)
    return tuple(output_row(row, deployment) for row in newest.values() if row.version == version)


def output_row(output: BatchOutput, deployment: Deployment) -> OutputRow:
    """An output as a row."""
    return OutputRow(
        id=output.id or 0,
        deployment=deployment.name,
        version=output.version,
        revision=output.revision,
        input=output.input,
        output=output.output,
        digest=output.digest,
        rows=output.rows,
        actor=output.actor,
        at=output.at,
        finished_at=output.finished_at,
    )
