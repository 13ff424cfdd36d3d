"""Retraining is held while an alert on inputs is open: a contaminated week must not become the next model."""

from __future__ import annotations

from sqlmodel import Session, col, select

from quarterdeck.monitoring.alert import OF_INPUTS, Alert, AlertKind, AlertState, Judgement, Severity
from quarterdeck.monitoring.serving import what_serves
from quarterdeck.pipelines.run import Run
from quarterdeck.registry.model import Model
from quarterdeck.registry.version import ModelVersion

HOLDING = (*OF_INPUTS, AlertKind.SKEW)


def contaminating(tx: Session, deployment: str | None = None) -> list[Alert]:
    """The alerts, of one deployment or of all, that say that what comes in may not be learnt; the oldest first.

    Not one that was called noise, nor one of no consequence: that tells nobody, and must not stop anything without a
    word either.
    """
    query = select(Alert).where(
        col(Alert.kind).in_(HOLDING),
        Alert.state != AlertState.RESOLVED,
        Alert.severity != Severity.INFORMATIONAL,
        col(Alert.judgement).is_distinct_from(Judgement.NOISE),
    )
    if deployment is not None:
        query = query.where(Alert.deployment == deployment)
    return list(tx.exec(query.order_by(col(Alert.id))))


def held_pipelines(tx: Session) -> dict[str, Alert]:
    """The pipelines that made what a deployment with such an alert serves, each with the oldest one."""
    held: dict[str, Alert] = {}
    for alert in contaminating(tx):
        serving = what_serves(tx, alert.deployment)
        if serving is None:
            continue
        made = select(Run.pipeline).join(ModelVersion, col(ModelVersion.run_id) == Run.id).join(Model)
        mine = made.where(Model.name == serving.model, ModelVersion.number == serving.version)
        for pipeline in tx.exec(mine):
            held.setdefault(pipeline, alert)
    return held
