"""What panes and the command line read about models."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck import events
from quarterdeck import lineage as edges
from quarterdeck.errors import NotFoundError
from quarterdeck.lineage import Edge
from quarterdeck.registry.model import Model, find_model
from quarterdeck.registry.trial import memory_of
from quarterdeck.registry.version import Format, GateVerdict, ModelVersion, Task, find_version
from quarterdeck.workspace import Workspace

_RUNTIMES = {
    Format.ONNX: "ONNX Runtime",
    Format.XGBOOST: "XGBoost",
    Format.LIGHTGBM: "LightGBM",
    Format.PICKLE: "a process of its own, from a pickle",
    Format.MLFLOW: "a process of its own, from an MLflow folder",
    Format.ENTRY: "a process of its own, from a Python function",
    Format.EXTERNAL: "a system elsewhere: nothing of it is stored here",
}


@dataclass(frozen=True, slots=True)
class ModelRow:
    name: str
    versions: int
    newest: int | None
    newest_gate: GateVerdict | None
    newest_metrics: dict[str, float]
    task: Task | None
    created_at: datetime
    changed_at: datetime | None
    """When the newest version was registered."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A `ModelVersion` as it is shown."""

    model: str
    number: int
    format: Format
    task: Task
    artifact: str | None
    graph: str | None
    agreement: dict[str, Any]
    reference: str | None
    gate: GateVerdict
    gate_checks: list[dict[str, Any]]
    metrics: dict[str, float]
    importances: dict[str, float]
    signature: dict[str, Any]
    example: list[dict[str, Any]]
    profile: list[dict[str, Any]]
    """A `datasets.profile.ColumnProfile` for each column of the rows it is compared with."""
    environment: dict[str, str]
    run_id: int | None
    created_at: datetime
    created_by: str
    unknown: list[str]
    sources: list[str]
    """What it was made from directly, as lineage references."""
    memory_bytes: int | None
    """What it takes where it is loaded, as it was measured when it was tried; None before that."""
    python: str | None
    entry: str | None
    trusted: str | None

    @property
    def runtime(self) -> str:
        """What computes its answers, and how the converted graph agrees with the estimator, or why none serves."""
        if self.format is not Format.SKOPS:
            return _RUNTIMES[self.format]
        found = self.agreement
        if self.graph is not None:
            rows = found["holdout_rows"] + found["other_rows"]
            return f"ONNX Runtime, agrees with scikit-learn on {rows:,} rows within {found['largest']:.1g}"
        return f"scikit-learn: {found['reason']}" if found.get("reason") else "scikit-learn"


def models(workspace: Workspace) -> list[ModelRow]:
    """Every model, by name."""
    rows: list[ModelRow] = []
    with workspace.state.read() as tx:
        for model in tx.exec(select(Model).order_by(Model.name)):
            query = select(ModelVersion).where(ModelVersion.model_id == model.id)
            newest = tx.exec(query.order_by(col(ModelVersion.number).desc()).limit(1)).first()
            rows.append(
                ModelRow(
                    name=model.name,
                    # Numbers are given one after the other and no version is ever removed.
                    versions=newest.number if newest else 0,
                    newest=newest.number if newest else None,
                    newest_gate=newest.gate if newest else None,
                    newest_metrics=newest.metrics if newest else {},
                    task=newest.task if newest else None,
                    created_at=model.created_at,
                    changed_at=newest.created_at if newest else None,
                )
            )
    return rows


def versions(workspace: Workspace, model: str) -> list[VersionRow]:
    """The versions of `model`, newest first.

    Raises:
        NotFoundError: there is no such model.
    """
    with workspace.state.read() as tx:
        query = select(ModelVersion).where(ModelVersion.model_id == find_model(tx, model).id)
        found = tx.exec(query.order_by(col(ModelVersion.number).desc())).all()
        return [_row(tx, model, version) for version in found]


def version(workspace: Workspace, model: str, number: int) -> VersionRow:
    """Version `number` of `model`.

    Raises:
        NotFoundError: there is none.
    """
    with workspace.state.read() as tx:
        return _row(tx, model, find_version(tx, model, number))


def lineage(workspace: Workspace, reference: str) -> tuple[list[str], list[str]]:
    """What `reference` (`version/fraud@2`) was made from, and what was made from it, nearest first.

    Raises:
        NotFoundError: nothing was ever known by that name.
    """
    with workspace.state.read() as tx:
        before, after = edges.upstream(tx, reference), edges.downstream(tx, reference)
        if not before and not after and not events.newest(tx, 1, reference):
            raise NotFoundError(
                f"Nothing here is called '{reference}'. Write data/NAME@N, run/N, version/NAME@N or revision/NAME@N."
            )
        return before, after


def _row(tx: Session, model: str, version: ModelVersion) -> VersionRow:
    reference = f"version/{model}@{version.number}"
    sources = tx.exec(select(Edge.source).where(Edge.target == reference).order_by(col(Edge.id))).all()
    return VersionRow(
        model=model,
        number=version.number,
        format=version.format,
        task=version.task,
        artifact=version.artifact,
        graph=version.graph,
        agreement=version.agreement,
        reference=version.reference,
        gate=version.gate,
        gate_checks=version.gate_checks,
        metrics=version.metrics,
        importances=version.importances,
        signature=version.signature,
        example=version.example,
        profile=version.profile,
        environment=version.environment,
        run_id=version.run_id,
        created_at=version.created_at,
        created_by=version.created_by,
        unknown=version.unknown,
        sources=list(sources),
        memory_bytes=memory_of(tx, version),
        python=version.python,
        entry=version.entry,
        trusted=version.trusted,
    )
