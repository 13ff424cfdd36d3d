"""The one way in for what other systems report: predictions of external deployments, and labels of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, select

from quarterdeck.deployments.checking import Answers, check_label, checked_prediction
from quarterdeck.deployments.deployment import Deployment, ServedBy, find_deployment
from quarterdeck.deployments.revision import find_revision, newest_of_versions
from quarterdeck.deployments.witnessing import witness
from quarterdeck.errors import DataError, RefusedError, UsageError
from quarterdeck.registry.model import find_model
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion, Task, find_version
from quarterdeck.traffic.labelling import Labelled, add_labels
from quarterdeck.traffic.recorded import recorded
from quarterdeck.traffic.recording import Ingested, add_predictions
from quarterdeck.workspace import Workspace

# What SQLite and JSON refuse to hold, such as half of a surrogate pair.
_UNSTORABLE = (TypeError, ValueError, OverflowError)


def refuse_unless_external(workspace: Workspace, name: str) -> None:
    """Raises NotFoundError, RefusedError: predictions of that deployment are not taken from outside."""
    with workspace.state.read() as tx:
        _external(tx, name)


def reporting_version(workspace: Workspace, name: str, version: int | None) -> tuple[int, Signature]:
    """The version of an external deployment that answered, the deployed one when it is None, and its signature.

    Raises:
        NotFoundError: there is no such deployment or version.
        RefusedError: the deployment is served here.
        UsageError: nothing is deployed, and no version is given.
    """
    with workspace.state.read() as tx:
        deployment = _external(tx, name)
        number = _desired(tx, deployment) if version is None else version
        if number is None:
            raise UsageError(f"Deployment '{name}' serves nothing yet: say which version answered with --version.")
        return number, Signature.from_dict(find_version(tx, deployment.model, number).signature)


def take_predictions(
    workspace: Workspace, name: str, rows: Sequence[Mapping[str, Any]], *, version: int | None = None
) -> Ingested:
    """Record predictions of an external deployment, all or none; one whose id is known changes nothing.

    `version` is that of the rows which name none; the deployed one when it is None. The first prediction that is said
    to be of the deployed version verifies that this version is what is served elsewhere.

    Raises:
        NotFoundError: there is no such deployment.
        RefusedError: it is served here, or the workspace is read-only.
        DataError: a row does not fit; the message names the row, from 1, the column, and what was expected.
    """
    with workspace.state.read() as tx:
        deployment = _external(tx, name)
        default = _desired(tx, deployment) if version is None else version
        versions = _versions(tx, deployment.model)
        revisions = newest_of_versions(tx, deployment.id or 0)
    now = workspace.now()
    predictions = [
        checked_prediction(row, f"Prediction {number} for '{name}'", versions, default, now)
        for number, row in enumerate(rows, start=1)
    ]
    for prediction in predictions:
        prediction["revision"] = revisions.get(prediction["version"])
    try:
        taken = add_predictions(workspace, name, predictions)
    except _UNSTORABLE as error:
        raise DataError(f"A prediction for '{name}' holds a value that cannot be stored: {error}.") from error
    # A default names nothing.
    named = {p["id"]: p["version"] for row, p in zip(rows, predictions, strict=True) if version or row.get("version")}
    _witness(workspace, name, predictions, named, repeated=taken.duplicates > 0)
    return taken


def _witness(
    workspace: Workspace,
    name: str,
    predictions: Sequence[Mapping[str, Any]],
    named: Mapping[str, int],
    *,
    repeated: bool,
) -> None:
    """Write down when each version answered, of those that the reports name."""
    moments = {prediction["id"]: prediction["event_time"] for prediction in predictions}
    # What was recorded first holds; that report may have been cut short before anything was made of it.
    known = recorded(workspace, name, named) if repeated else {}
    seen: dict[int, list[datetime]] = {}
    for identifier, version in named.items():
        recorded_version, moment = known.get(identifier, (version, moments[identifier]))
        if recorded_version == version:
            seen.setdefault(version, []).append(moment)
    if seen:
        witness(workspace, name, seen)


def take_labels(workspace: Workspace, name: str, rows: Sequence[Mapping[str, Any]]) -> Labelled:
    """Attach labels to predictions by id or by key. A label may come before its prediction.

    Raises:
        NotFoundError: there is no such deployment.
        DataError: a row does not fit; the message names the row, from 1, the column, and what was expected.
        ReadOnlyError: the workspace is read-only.
    """
    with workspace.state.read() as tx:
        deployment = find_deployment(tx, name)
        number = _desired(tx, deployment)
        answers = None if number is None else _versions(tx, deployment.model)[number]
    for position, row in enumerate(rows, start=1):
        if answers is not None and row.get("value") is not None:
            check_label(row["value"], answers, f"Label {position} for '{name}'")
    try:
        return add_labels(workspace, name, rows)
    except _UNSTORABLE as error:
        raise DataError(f"A label for '{name}' holds a value that cannot be stored: {error}.") from error


def _external(tx: Session, name: str) -> Deployment:
    deployment = find_deployment(tx, name)
    if deployment.served_by is not ServedBy.EXTERNAL:
        raise RefusedError(
            f"Deployment '{name}' is served here and records its own predictions. "
            "Only an external deployment takes predictions from outside."
        )
    return deployment


def _desired(tx: Session, deployment: Deployment) -> int | None:
    if deployment.id is None or deployment.desired_revision is None:
        return None
    return find_revision(tx, deployment.id, deployment.desired_revision).version


def _versions(tx: Session, model: str) -> dict[int, Answers]:
    # Not the whole version: its profile is large.
    query = select(ModelVersion.number, ModelVersion.signature, ModelVersion.task)
    found = tx.exec(query.where(ModelVersion.model_id == find_model(tx, model).id))
    return {number: Answers(Signature.from_dict(dict(signature)), Task(task)) for number, signature, task in found}
