"""One candidate of a rollback beside what serves now: everything that would differ."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, select

from quarterdeck import lineage
from quarterdeck.deployments.deployment import ServedBy, find_deployment
from quarterdeck.deployments.fitness import signature_difference
from quarterdeck.deployments.interference import what_would_undo
from quarterdeck.deployments.presence import Onlooker, others
from quarterdeck.deployments.replaying import newest_outcome
from quarterdeck.deployments.revision import Revision, find_revision
from quarterdeck.events import Event
from quarterdeck.monitoring.queries import ResultRow, newest_quality, window_against
from quarterdeck.monitoring.result import moved
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.traffic.queries import latency_p95, traffic, unanswered
from quarterdeck.workspace import Workspace

RATE_WINDOW = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that has another value there; None where it is not known."""

    name: str
    now: str | None
    then: str | None


@dataclass(frozen=True, slots=True)
class CandidateDetail:
    deployment: str
    served_by: ServedBy
    from_revision: int
    to_revision: int
    from_version: int
    to_version: int
    realised: Change
    """Quality in production, of each version's newest window that was judged by labels."""
    replayed: Change
    """What both reached, or would have reached, on the same recorded predictions: the fairest of the comparisons."""
    metrics: tuple[Change, ...]
    """Every metric of both holdouts, whether it differs or not. Each version was measured on its own holdout."""
    data: Change
    """The data versions that each was trained on."""
    signature: tuple[Change, ...]
    """Features that differ, in type, missing values or categories."""
    compatible: str | None
    """Why the callers of the serving version would stumble; None when they would not."""
    settings: tuple[Change, ...]
    """Parameters of the training runs and package versions that differ."""
    drift: Change
    """The newest window of inputs against each version's reference."""
    p95_ms: Change
    """The 95th percentile of latency while each served."""
    errors: Change
    """Requests to each revision that got an error instead of a prediction, by reason."""
    requests_per_second: float
    """What the deployment answers now: that much traffic is affected."""
    artifact_verified: bool | None
    """The stored bytes were read and match; None for a model that is not stored here."""
    undone_by: tuple[str, ...]
    """What would put a later version back, and what happens to it."""
    others: tuple[Onlooker, ...]
    command: str
    """The same on the command line."""


def compare(workspace: Workspace, name: str, revision: int) -> CandidateDetail:
    """Compare revision `revision` of a deployment with the desired one. Reads the artifact to check its bytes.

    Raises:
        NotFoundError: there is no such deployment or revision.
    """
    with workspace.state.read() as tx:
        deployment = find_deployment(tx, name)
        assert deployment.id is not None
        desired = find_revision(tx, deployment.id, deployment.desired_revision or 0)
        candidate = find_revision(tx, deployment.id, revision)
        now = find_version(tx, deployment.model, desired.version)
        then = find_version(tx, deployment.model, candidate.version)
        data = Change("data", _data(tx, deployment.model, now), _data(tx, deployment.model, then))
        settings = _differences(_settings(tx, now), _settings(tx, then))
        undone_by = tuple(what_would_undo(tx, workspace, deployment))
        onlookers = tuple(others(tx, name))
        replay = newest_outcome(tx, deployment.id, now.number, then.number)
    drift_now, drift_then = (window_against(workspace, name, version.number) for version in (now, then))
    recent = traffic(workspace, name, workspace.now() - RATE_WINDOW)
    return CandidateDetail(
        deployment=name,
        served_by=deployment.served_by,
        from_revision=desired.number,
        to_revision=candidate.number,
        from_version=now.number,
        to_version=then.number,
        realised=Change("realised", _realised(workspace, name, now), _realised(workspace, name, then)),
        replayed=Change("replayed", _replayed(replay, "serving"), _replayed(replay, "other")),
        metrics=tuple(
            Change(metric, _figure(now.metrics.get(metric)), _figure(then.metrics.get(metric)))
            for metric in sorted({*now.metrics, *then.metrics})
        ),
        data=data,
        signature=_differences(_features(now), _features(then)),
        compatible=signature_difference(now, then),
        settings=settings,
        drift=Change("drift", _drift(drift_now), _drift(drift_then)),
        p95_ms=Change("p95 ms", _p95(workspace, name, desired), _p95(workspace, name, candidate)),
        errors=Change("errors", _errors(workspace, name, desired), _errors(workspace, name, candidate)),
        requests_per_second=recent.per_second,
        artifact_verified=None if then.artifact is None else workspace.artifacts.verify(then.artifact),
        undone_by=undone_by,
        others=onlookers,
        command=f"quarterdeck rollback {name} --to {candidate.number} --expected {desired.number} --reason '...'",
    )


def _realised(workspace: Workspace, name: str, version: ModelVersion) -> str | None:
    result = newest_quality(workspace, name, version.number)
    score = result.scores[0] if result is not None and result.scores else None
    return None if score is None or score["value"] is None else f"{score['metric']} {score['value']:.3f}"


def _replayed(outcome: dict[str, Any] | None, side: str) -> str | None:
    if outcome is None or outcome.get(side) is None:
        return None
    return f"{outcome['metric']} {outcome[side]:.3f}"


def _data(tx: Session, model: str, version: ModelVersion) -> str | None:
    """The nearest data versions that it was made from: `data/payments@2`."""
    made_from = lineage.upstream(tx, f"version/{model}@{version.number}")
    return ", ".join(sorted(name for name in made_from if name.startswith("data/"))) or None


def _settings(tx: Session, version: ModelVersion) -> dict[str, str]:
    """Parameters that its run was asked for, as its event tells them, and the packages that it was made with."""
    asked: dict[str, Any] = {}
    if version.run_id is not None:
        query = select(Event.data).where(Event.subject == f"run/{version.run_id}", Event.kind == "run.queued")
        asked = (tx.exec(query).first() or {}).get("parameters") or {}
    packages = {f"package {name}": release for name, release in version.environment.items()}
    return {**{name: str(value) for name, value in asked.items()}, **packages}


def _features(version: ModelVersion) -> dict[str, str]:
    return {
        feature.name: f"{feature.type}{', may be missing' if feature.nullable else ''}"
        + (f", {len(feature.categories)} categories" if feature.categories is not None else "")
        for feature in Signature.from_dict(version.signature).features
    }


def _differences(now: dict[str, str], then: dict[str, str]) -> tuple[Change, ...]:
    names = sorted({*now, *then})
    return tuple(Change(name, now.get(name), then.get(name)) for name in names if now.get(name) != then.get(name))


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _drift(result: ResultRow | None) -> str | None:
    if result is None:
        return None
    columns = [str(score["column"]) for score in result.scores if moved(score)]
    return f"{result.verdict}{': ' + ', '.join(columns) if columns else ''} (window to {_minute(result.window_end)})"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _p95(workspace: Workspace, name: str, revision: Revision) -> str | None:
    value = latency_p95(workspace, name, revision.number, since=revision.created_at, until=revision.replaced_at)
    return None if value is None else f"{value:.1f}"


def _errors(workspace: Workspace, name: str, revision: Revision) -> str:
    counts = unanswered(workspace, name, revision.number)
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "none"
