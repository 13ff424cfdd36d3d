"""A real deck for a benchmark: a workspace in a temporary folder, two versions of one model, `quarterdeck up`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.processes import is_at_rest, wait_for
from quarterdeck import bootstrap
from quarterdeck.database import ChangeWatch
from quarterdeck.deployments import queries, rollout
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.rows import OperationRow
from quarterdeck.registry.registration import make_candidate, register
from quarterdeck.runner.queries import runner_state
from quarterdeck.workspace import Workspace

QUARTERDECK = str(Path(sys.executable).parent / "quarterdeck")
ENVIRONMENT = {**os.environ, "DO_NOT_TRACK": "1"}
DEPLOYMENT = "fraud"
START_SECONDS = 120.0
SETTLE_SECONDS = 90.0
COLUMNS = [f"v{number}" for number in range(13)]
TARGET = "is_fraud"
SETTINGS = """\
[workspace]
name = "bench"
[gateway]
port = 0
workers = {workers}
"""


@dataclass(frozen=True, slots=True)
class Deck:
    """A deck that runs, and the answers that each version gives by itself to each of the benchmark's inputs."""

    workspace: Workspace
    pid: int
    """Of the supervisor, from which all others descend."""
    port: int
    inputs: pd.DataFrame
    answers: dict[int, NDArray[np.float64]]
    """By version: [input, class] probabilities, computed here by the estimator, without any of the serving code."""


@contextmanager
def running_deck(*, workers: int) -> Iterator[Deck]:
    """Version 2 serves, version 1 served before it; runner and gateway are started and have come to rest."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as folder:
        root = Path(folder) / "bench"
        root.mkdir()
        (root / "quarterdeck.toml").write_text(SETTINGS.format(workers=workers), encoding="utf-8")
        workspace = bootstrap.create_workspace(root, actor="bench")
        inputs = table(64, seed=1)
        answers = dict(add_version(workspace, inputs, seed) for seed in (10, 20))
        with _up(root) as process:
            try:
                wait_for(lambda: _is_alive(workspace, process, workers), START_SECONDS, "runner and gateway")
                for version in answers:
                    settled(workspace, rollout.deploy(workspace, DEPLOYMENT, model="fraud", version=version))
                wait_for(lambda: is_at_rest(process.pid), SETTLE_SECONDS, "a deck at rest")
                port = queries.gateway_state(workspace).port
                assert port is not None
                yield Deck(workspace, process.pid, port, inputs, answers)
            finally:
                workspace.close()


def table(rows: int, *, seed: int) -> pd.DataFrame:
    """Thirteen numbers; what makes the fraud differs with the seed."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, len(COLUMNS)))
    fraud = values @ rng.normal(size=len(COLUMNS)) + rng.normal(size=rows) > 0
    return pd.DataFrame(values, columns=COLUMNS).assign(**{TARGET: fraud.astype(int)})


def add_version(workspace: Workspace, inputs: pd.DataFrame, seed: int) -> tuple[int, NDArray[np.float64]]:
    """Train and register a version; its number and its answers to the inputs."""
    training = table(2_000, seed=seed)
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(training[COLUMNS], training[TARGET])
    candidate = make_candidate(workspace, "fraud", estimator, training, target=TARGET)
    with workspace.state.write("register") as tx:
        number = register(tx, workspace, candidate).number
    return number, np.asarray(estimator.predict_proba(inputs[COLUMNS]), dtype=np.float64)


def settled(workspace: Workspace, operation: OperationRow, seconds: float = 60.0) -> OperationRow:
    """The operation once it is verified, failed or superseded."""
    watch = ChangeWatch(workspace.state.path)
    deadline = time.monotonic() + seconds
    try:
        while operation.state is OperationState.PLANNED:
            if time.monotonic() > deadline:
                raise RuntimeError(f"operation {operation.id} was not settled within {seconds:g} s")
            if watch.changed():
                operation = queries.operation(workspace, operation.id)
            else:
                time.sleep(0.01)
    finally:
        watch.close()
    return operation


@contextmanager
def _up(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (root / "up.log").open("ab") as log:
        process = subprocess.Popen(
            [QUARTERDECK, "-w", str(root), "up"], stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _is_alive(workspace: Workspace, process: subprocess.Popen[bytes], workers: int) -> bool:
    if process.poll() is not None:
        raise RuntimeError((workspace.root / "up.log").read_text(encoding="utf-8"))
    return runner_state(workspace).alive and queries.gateway_state(workspace).alive == workers
