"""A deployment of real estimators with labelled traffic, on which the concept may have changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sqlmodel import select

from quarterdeck.deployments import proving
from quarterdeck.deployments.backtesting import BacktestRow, backtest, make_backtest, request
from quarterdeck.deployments.proof import GatewayWorker
from quarterdeck.deployments.rollout import deploy
from quarterdeck.registry.predictor import load_predictor
from quarterdeck.registry.registration import make_candidate, register
from quarterdeck.registry.version import find_version
from quarterdeck.settings import Settings
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock

START = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Concept = Callable[[pd.DataFrame], "NDArray[np.float64]"]
MODEL = "fraud"


def first(frame: pd.DataFrame) -> NDArray[np.float64]:
    """What the inputs mean at first: fraud goes with large amounts on young accounts."""
    return (frame["amount"] - frame["age"]).to_numpy(dtype=np.float64)


def changed(frame: pd.DataFrame) -> NDArray[np.float64]:
    """What they mean later: with large amounts on old accounts."""
    return (frame["amount"] + frame["age"]).to_numpy(dtype=np.float64)


def noise(frame: pd.DataFrame) -> NDArray[np.float64]:
    """They mean nothing."""
    return np.zeros(len(frame))


def rows(n: int, *, seed: int, concept: Concept = first) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.normal(size=n) for name in ("amount", "age", "visits")})
    frame["fraud"] = (concept(frame) + rng.logistic(scale=0.5, size=n) > 0).astype(int)
    return frame


def settled(workspace: Workspace, **monitor: Any) -> Workspace:
    """The workspace with a monitor on `fraud`, where every verified revision is known good."""
    settings = Settings.model_validate(
        {
            "monitors": {"fraud": {"deployment": "fraud", "metric": "roc_auc", **monitor}},
            "deployments": {"fraud": {"probation": "1ms", "probation_requests": 0}},
        }
    )
    return replace(workspace, settings=settings)


def serve(workspace: Workspace, training: pd.DataFrame, estimator: Any = None) -> int:
    """Fit, register and deploy a version of `fraud`, and prove it as a gateway worker would; its number."""
    fresh = LogisticRegression() if estimator is None else estimator
    fitted = fresh.fit(training[["amount", "age", "visits"]], training["fraud"])
    candidate = make_candidate(workspace, MODEL, fitted, training, rows(300, seed=99), target="fraud")
    with workspace.state.write("test") as tx:
        number = register(tx, workspace, candidate).number
    operation = deploy(workspace, "fraud", model=MODEL, version=number)
    with workspace.state.read() as tx:
        worker = tx.exec(select(GatewayWorker.id)).first()
    worker = worker or proving.register_worker(workspace, slot=0, host="127.0.0.1", port=8480)
    now = workspace.now()
    proving.prove(
        workspace, worker, "fraud", operation.to_revision, routed_at=now, served_at=now, request_id="r", probe=False
    )
    clock = workspace.ports.clock
    if isinstance(clock, FakeClock):
        clock.advance(minutes=1)
    return number


def answer(
    workspace: Workspace,
    version: int,
    frame: pd.DataFrame,
    *,
    since: datetime = START,
    labelled: int | None = None,
    step: timedelta = MINUTE,
) -> None:
    """Let `version` answer the rows, one each `step` of event time; the first `labelled` (all) get their truth."""
    with workspace.state.read() as tx:
        known = find_version(tx, MODEL, version)
    predictor = load_predictor(workspace, known)
    answers = predictor.predict(frame[["amount", "age", "visits"]])
    predictor.close()
    assert answers.probabilities is not None
    values, shares = answers.values.tolist(), answers.probabilities.tolist()
    ids = [f"{since:%d%H%M}-{version}-{i}" for i in range(len(frame))]
    record(
        workspace,
        [
            {
                "deployment": "fraud",
                "id": ids[i],
                "received_at": workspace.now(),
                "event_time": since + i * step,
                "version": version,
                "inputs": [float(frame[name].iloc[i]) for name in ("amount", "age", "visits")],
                "prediction": values[i],
                "probabilities": shares[i],
            }
            for i in range(len(frame))
        ],
    )
    truth = frame["fraud"].tolist()[:labelled]
    add_labels(workspace, "fraud", [{"reference": i, "value": t} for i, t in zip(ids, truth, strict=False)])


def outcome(workspace: Workspace) -> BacktestRow:
    """Ask for a backtest and make it here."""
    number = request(workspace, "fraud")
    make_backtest(workspace, number)
    return backtest(workspace, number)
