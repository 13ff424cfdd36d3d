"""Frames in the artifact store, as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlmodel import Session, col, select

from quarterdeck.datasets.dataset import find_dataset
from quarterdeck.datasets.version import DatasetVersion
from quarterdeck.errors import ArtifactError, NotFoundError
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def load_frame(workspace: Workspace, name: str, number: int | None = None) -> tuple[DatasetVersion, pd.DataFrame]:
    """A version of the dataset `name`, the newest when no number is given, and its table.

    Raises:
        NotFoundError: there is no such dataset or version; the message lists those that exist.
        ArtifactError: the table is missing or damaged.
    """
    with workspace.state.read() as tx:
        version = find_dataset_version(tx, name, number)
    return version, read_frame(workspace, version.artifact)


def find_dataset_version(tx: Session, name: str, number: int | None = None) -> DatasetVersion:
    """Version `number` of the dataset `name`, the newest when no number is given.

    Raises:
        NotFoundError: there is none; the message lists those that exist.
    """
    dataset = find_dataset(tx, name)
    query = select(DatasetVersion).where(DatasetVersion.dataset_id == dataset.id)
    versions = query.order_by(col(DatasetVersion.number).desc())
    found = tx.exec(versions if number is None else query.where(DatasetVersion.number == number)).first()
    if found is None:
        numbers = ", ".join(str(version.number) for version in reversed(tx.exec(versions).all())) or "none yet"
        raise NotFoundError(f"Dataset '{name}' has no version {number or ''}. Known: {numbers}.".replace(" .", "."))
    return found


def store_frame(workspace: Workspace, frame: pd.DataFrame) -> str:
    """Store a table as Parquet, without its index, and return its digest. The same table gives the same digest."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), sink, compression="zstd")
    return workspace.artifacts.put(sink.getvalue().to_pybytes())


def read_frame(workspace: Workspace, digest: str) -> pd.DataFrame:
    """The table that was stored under `digest`.

    Raises:
        ArtifactError: it is missing, damaged, or no table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = workspace.artifacts.read(digest)
    try:
        frame: pd.DataFrame = pq.read_table(pa.BufferReader(content)).to_pandas()
    except pa.ArrowException as error:
        raise ArtifactError(f"Artifact {digest[:12]} is not a Parquet table: {error}.") from error
    return frame
