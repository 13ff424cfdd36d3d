"""What others report over HTTP: predictions that were made elsewhere, and labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from quarterdeck.deployments import intake
from quarterdeck.deployments.deployment import find_deployment
from quarterdeck.serving.protocol import decode
from quarterdeck.workspace import Workspace


class PredictionsBody(msgspec.Struct):
    """Predictions that were made elsewhere: `id`, `inputs`, `prediction`, and what else is known of each."""

    predictions: list[dict[str, Any]]


class LabelsBody(msgspec.Struct):
    """Labels: `reference` (a prediction's id or its key), `value`, and perhaps `labelled_at`."""

    labels: list[dict[str, Any]]


_predictions = msgspec.json.Decoder(PredictionsBody)
_labels = msgspec.json.Decoder(LabelsBody)


def take_predictions(workspace: Workspace, deployment: str, body: bytes) -> dict[str, int]:
    """Record predictions of an external deployment; one whose id is known changes nothing.

    Raises:
        NotFoundError: there is no such deployment.
        RefusedError: this gateway serves it, and records what it answers itself.
        BadInput, DataError: the body does not fit; nothing was taken.
    """
    # Before the body: that it does not fit is no news to somebody who asks at the wrong place.
    intake.refuse_unless_external(workspace, deployment)
    taken = intake.take_predictions(workspace, deployment, decode(_predictions, body).predictions)
    return asdict(taken)


def take_labels(workspace: Workspace, deployment: str, body: bytes) -> dict[str, int]:
    """Attach labels to predictions by id or by key. A label may come before its prediction.

    Raises:
        NotFoundError: there is no such deployment.
        BadInput, DataError: the body does not fit; nothing was taken.
    """
    with workspace.state.read() as tx:
        find_deployment(tx, deployment)
    return asdict(intake.take_labels(workspace, deployment, decode(_labels, body).labels))
