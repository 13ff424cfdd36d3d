"""Adding data: a file becomes a version of a dataset, named by its bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlmodel import Session, col, select

from quarterdeck import lineage
from quarterdeck.datasets.dataset import Dataset
from quarterdeck.datasets.frames import store_frame
from quarterdeck.datasets.reading import read_bytes, read_source, read_table
from quarterdeck.datasets.schema import infer_schema
from quarterdeck.datasets.version import DatasetVersion
from quarterdeck.errors import UsageError
from quarterdeck.settings.making import DatasetSettings
from quarterdeck.values import check_name
from quarterdeck.workspace import Workspace

__all__ = ["Added", "add", "read_table"]


@dataclass(frozen=True, slots=True)
class Added:
    """What `add` made, or found to be there already."""

    name: str
    number: int
    rows: int
    columns: int
    new: bool
    """False where these bytes, read by these settings, were a version already."""
    warnings: list[str]


def add(workspace: Workspace, name: str, source: Path, *, actor: str | None = None) -> Added:
    """Make the file `source` a version of the dataset `name`, and the dataset if it is new.

    The same bytes read by the same settings are the same version: then nothing changes.

    Raises:
        UsageError: `name` cannot be a name.
        DataError: the file cannot be read as a table.
        SettingsError: the dataset's settings name a column that it does not have.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise UsageError(f"{error}.") from error
    workspace.refuse_if_read_only("data add")
    settings = workspace.settings.dataset(name)
    content = read_source(source)
    digest, reading = hashlib.sha256(content).hexdigest(), _reading_digest(settings)
    with workspace.state.read() as tx:
        known = _find(tx, name, digest, reading)
    if known is not None:
        return _added(name, known, new=False)
    frame, warnings = read_bytes(source, content, settings)
    version = DatasetVersion(
        dataset_id=0,
        number=0,
        source=str(source),
        source_digest=digest,
        reading_digest=reading,
        artifact=store_frame(workspace, frame),
        rows=len(frame),
        columns=[asdict(column) for column in infer_schema(frame, settings)],
        warnings=warnings,
        created_at=workspace.now(),
    )
    with workspace.change("data add") as tx:
        known = _find(tx, name, digest, reading)
        if known is not None:
            return _added(name, known, new=False)
        _number(tx, workspace, name, version)
        subject = f"data/{name}@{version.number}"
        lineage.connect(tx, f"source/{digest[:12]}", subject)
        data = {"rows": version.rows, "columns": len(version.columns), "digest": digest, "source": str(source)}
        workspace.record(tx, "data.added", subject, data, actor=actor)
    return _added(name, version, new=True)


def _find(tx: Session, name: str, digest: str, reading: str) -> DatasetVersion | None:
    query = select(DatasetVersion).join(Dataset).where(Dataset.name == name)
    same = (DatasetVersion.source_digest == digest, DatasetVersion.reading_digest == reading)
    return tx.exec(query.where(*same)).first()


def _number(tx: Session, workspace: Workspace, name: str, version: DatasetVersion) -> None:
    """Give `version` its dataset, made here if it is new, and the next number in it."""
    dataset = tx.exec(select(Dataset).where(Dataset.name == name)).first()
    if dataset is None:
        dataset = Dataset(name=name, created_at=workspace.now())
        tx.add(dataset)
        tx.flush()
    assert dataset.id is not None
    numbers = select(DatasetVersion.number).where(DatasetVersion.dataset_id == dataset.id)
    last = tx.exec(numbers.order_by(col(DatasetVersion.number).desc()).limit(1)).first()
    version.dataset_id, version.number = dataset.id, (last or 0) + 1
    tx.add(version)
    tx.flush()


def _reading_digest(settings: DatasetSettings) -> str:
    """SHA-256 of the settings that change what is read. Roles do not: they only say what columns are for."""
    reading = settings.model_dump(include={"header", "delimiter", "strip", "missing", "replace"}, mode="json")
    return hashlib.sha256(json.dumps(reading, sort_keys=True).encode()).hexdigest()


def _added(name: str, version: DatasetVersion, *, new: bool) -> Added:
    return Added(name, version.number, version.rows, len(version.columns), new, list(version.warnings))
