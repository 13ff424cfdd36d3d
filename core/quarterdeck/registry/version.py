"""A model version: what was stored, how it is called, how good it was, and where it came from."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, UniqueConstraint
from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, choice_column, json_column, time_column
from quarterdeck.errors import NotFoundError
from quarterdeck.registry.model import Model, find_model


class Format(StrEnum):
    """How the artifact is stored."""

    SKOPS = "skops"
    """A scikit-learn estimator, stored by skops: it can be loaded without running anything it contains."""
    ONNX = "onnx"
    """An ONNX graph."""
    XGBOOST = "xgboost"
    """An XGBoost booster in its own JSON or UBJ."""
    LIGHTGBM = "lightgbm"
    """A LightGBM booster in its own text."""
    PICKLE = "pickle"
    """A pickle or joblib file: loaded only in a process and an environment of its own."""
    MLFLOW = "mlflow"
    """An MLflow folder with its MLmodel, packed; as a pickle."""
    ENTRY = "entry"
    """A Python function `module:predict` in an environment of its own; the folder with its code, packed."""
    EXTERNAL = "external"
    """Nothing is stored here: the model is served elsewhere."""


HOSTED = frozenset({Format.PICKLE, Format.MLFLOW, Format.ENTRY})
"""What is loaded only in a process of its own."""
PICKLED = frozenset({Format.PICKLE, Format.MLFLOW})
"""Loading one runs whatever it contains."""


class Task(StrEnum):
    """What kind of answer the model gives."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


class GateVerdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    """Kept, but refused for deployment."""
    NONE = "none"
    """No bound is declared for its model."""


class ModelVersion(Entity, table=True):
    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("model_id", "number"), CheckConstraint("number >= 1"))

    id: int | None = Field(default=None, primary_key=True)
    model_id: int = Field(foreign_key="model.id", index=True)
    number: int
    """1, 2, 3, ... for each model; never reused."""
    format: Format = Field(sa_column=choice_column("format", Format))
    task: Task = Field(sa_column=choice_column("task", Task))
    artifact: str | None = None
    """Digest of the stored model; none for external ones."""
    graph: str | None = None
    """Digest of the ONNX graph that an estimator was converted to: it serves in its place, since the two agree."""
    agreement: dict[str, Any] = Field(default_factory=dict, sa_column=json_column())
    """A `registry.agreement.Agreement` as a dictionary; empty where nothing was to be converted."""
    python: str | None = None
    """For a model in a process of its own: the interpreter of its environment."""
    entry: str | None = None
    """For one that is a function: `module:predict`, in the folder that the artifact holds."""
    trusted: str | None = None
    """Digest of the artifact that a person said may be unpickled; no other one is."""
    signature: dict[str, Any] = Field(sa_column=json_column())
    """A `registry.signature.Signature` as a dictionary."""
    example: list[dict[str, Any]] = Field(sa_column=json_column())
    """A few rows of real input, by column name."""
    reference: str | None = None
    """Digest of a Parquet file with the training rows that monitors compare with: features, and target if known."""
    holdout: str | None = None
    """Digest of a Parquet file of `registry.holdout`: rows with their truth and this version's answers to them."""
    profile: list[dict[str, Any]] = Field(sa_column=json_column())
    """A `ColumnProfile` as a dictionary for each column of the reference."""
    metrics: dict[str, float] = Field(sa_column=json_column())
    """Metrics on the holdout."""
    importances: dict[str, float] = Field(sa_column=json_column())
    """Share of each feature in the model's quality on the holdout, summing to 1; empty when not known."""
    gate: GateVerdict = Field(sa_column=choice_column("gate", GateVerdict))
    gate_checks: list[dict[str, Any]] = Field(sa_column=json_column())
    """A `registry.gate.Check` as a dictionary for each bound."""
    run_id: int | None = None
    environment: dict[str, str] = Field(sa_column=json_column())
    """Package versions that the model was made with."""
    unknown: list[str] = Field(sa_column=json_column())
    """What could not be learnt about it, in sentences (adopted models)."""
    created_by: str
    created_at: datetime = Field(sa_column=time_column(required=True))


def find_version(tx: Session, model: str, number: int) -> ModelVersion:
    """Version `number` of `model`.

    Raises:
        NotFoundError: there is none; the message lists those that exist.
    """
    model_id = find_model(tx, model).id
    query = select(ModelVersion).where(ModelVersion.model_id == model_id, ModelVersion.number == number)
    version = tx.exec(query).first()
    if version is None:
        known = tx.exec(
            select(ModelVersion.number).where(ModelVersion.model_id == model_id).order_by(col(ModelVersion.number))
        ).all()
        numbers = ", ".join(str(n) for n in known) or "none yet"
        raise NotFoundError(f"Model '{model}' has no version {number}. Known: {numbers}.")
    return version


def next_number(tx: Session, model: Model) -> int:
    """The number that the next version of `model` gets."""
    query = select(ModelVersion.number).where(ModelVersion.model_id == model.id)
    return (tx.exec(query.order_by(col(ModelVersion.number).desc()).limit(1)).first() or 0) + 1
