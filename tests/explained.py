"""A workspace with a real model whose recorded predictions can be explained."""

from __future__ import annotations

from typing import Any

from sqlmodel import select

from quarterdeck.deployments.rollout import deploy
from quarterdeck.registry.inputs import as_inputs
from quarterdeck.registry.predictor import load_predictor
from quarterdeck.registry.registration import make_candidate, register
from quarterdeck.registry.signature import Signature
from quarterdeck.registry.version import ModelVersion
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.registry_models import FEATURES, classifier, plain_rows, table

NAME = "member"


def serve_member(workspace: Workspace, rows: int = 12) -> None:
    """Deployment `member` of a logistic regression, with its answers to some rows recorded as `m0`, `m1`, ..."""
    training = table(400)[[*FEATURES, "label"]]
    estimator = classifier().fit(training[FEATURES], training["label"])
    candidate = make_candidate(workspace, NAME, estimator, training, target="label")
    with workspace.state.write("test") as tx:
        version = register(tx, workspace, candidate)
    deploy(workspace, NAME, model=NAME, version=version.number, reason="first")
    asked = table(rows, seed=5)[FEATURES]
    answers = load_predictor(workspace, version).predict(as_inputs(asked, Signature.from_dict(version.signature)))
    assert answers.probabilities is not None
    recorded: list[dict[str, Any]] = [
        {
            "deployment": NAME,
            "id": f"m{number}",
            "key": f"order-{number}",
            "received_at": workspace.now(),
            "version": version.number,
            "revision": 1,
            "inputs": [value for (value,) in row.values()],
            "prediction": answers.values[number],
            "probabilities": answers.probabilities[number].tolist(),
            "latency_us": 1234,
        }
        for number, row in enumerate(plain_rows(asked, range(rows)))
    ]
    record(workspace, recorded)


def change_version(workspace: Workspace, **changes: Any) -> None:
    """Let the version of `member` be stored otherwise."""
    with workspace.state.write("test") as tx:
        for version in tx.exec(select(ModelVersion)):
            for name, value in changes.items():
                setattr(version, name, value)
            tx.add(version)
