"""Small real models and real gateway processes for tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sqlmodel import select

from quarterdeck.registry.model import Model
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.storage import store_estimator
from quarterdeck.registry.trial import write_trial
from quarterdeck.registry.version import Format, GateVerdict, ModelVersion, Task, next_number
from quarterdeck.workspace import Workspace
from tests.waiting import wait_for

NUMBERS = ("amount", "age", "balance", "n_last_day")
CHANNEL = Feature("channel", "text", nullable=True, categories=("app", "shop", "web"))
FEATURES = (*(Feature(name, "number", nullable=True) for name in NUMBERS), CHANNEL)
CLASSIFIER = Signature(FEATURES, target="fraud", classes=("no", "yes"), time="at", key="payment")
REGRESSOR = Signature(FEATURES, target="cost", classes=None)


def training_frame(rows: int = 400, *, seed: int = 7) -> pd.DataFrame:
    """Numbers, a category, missing values."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: rng.normal(size=rows) for name in NUMBERS})
    frame["channel"] = pd.Series(rng.choice(["app", "shop", "web"], size=rows), dtype=object)
    frame.loc[::17, "age"] = np.nan
    return frame


def pipeline(last_step: Any) -> Any:
    """A preprocessing as people write it, before `last_step`."""
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = [("numbers", numbers, list(NUMBERS)), ("channel", OneHotEncoder(handle_unknown="ignore"), ["channel"])]
    return make_pipeline(ColumnTransformer(columns), last_step)


def add_version(
    workspace: Workspace, model: str, estimator: Any, signature: Signature, *, tried: bool = True, **fields: Any
) -> int:
    """Register a fitted estimator as the next version of `model`; return its number.

    `tried`: as if it had been loaded on this machine before, which spares the process of its trial.
    """
    artifact = store_estimator(workspace, estimator)
    now = workspace.now()
    with workspace.state.write("test") as tx:
        found = tx.exec(select(Model).where(Model.name == model)).first() or Model(name=model, created_at=now)
        tx.add(found)
        tx.flush()
        number = next_number(tx, found)
        values: dict[str, Any] = {
            "model_id": found.id,
            "number": number,
            "format": Format.SKOPS,
            "task": Task.REGRESSION if signature.classes is None else Task.CLASSIFICATION,
            "artifact": artifact,
            "signature": signature.as_dict(),
            "example": [{"amount": 1.0, "age": None, "balance": 0.5, "n_last_day": 2.0, "channel": "app"}],
            "profile": [],
            "metrics": {},
            "importances": {},
            "gate": GateVerdict.NONE,
            "gate_checks": [],
            "environment": {},
            "unknown": [],
            "created_by": "tester",
            "created_at": now,
        }
        version = ModelVersion(**{**values, **fields})
        tx.add(version)
        if tried:
            write_trial(tx, version, 1_000_000, now)
    return number


def add_classifier(workspace: Workspace, model: str = "fraud", *, shift: float = 0.0, **fields: Any) -> int:
    """A version whose answers depend on `shift`, so that two versions can be told apart by what they answer."""
    frame = training_frame()
    answers = np.where(frame["amount"] + frame["balance"] > shift, "yes", "no")
    return add_version(workspace, model, pipeline(LogisticRegression()).fit(frame, answers), CLASSIFIER, **fields)


def add_regressor(workspace: Workspace, model: str = "cost") -> int:
    frame = training_frame()
    return add_version(workspace, model, pipeline(Ridge()).fit(frame, 3 * frame["amount"] + 1), REGRESSOR)


def add_linear(workspace: Workspace, signature: Signature, model: str = "sum") -> int:
    """A version that answers the sum of its features, all of them numbers."""
    names = list(signature.names)
    frame = pd.DataFrame(np.random.default_rng(3).normal(size=(50, len(names))), columns=names)
    estimator = LinearRegression().fit(frame, frame.sum(axis=1))
    return add_version(workspace, model, estimator, signature, example=[dict.fromkeys(names, 1.0)])


def infer_body(rows: int = 1, *, id: str | None = None, **changes: list[Any] | None) -> dict[str, Any]:
    """A good request; `changes` replaces the data of columns, or leaves one out where it is None."""
    columns: dict[str, tuple[str, list[Any]]] = {name: ("FP64", [0.5] * rows) for name in NUMBERS}
    columns["channel"] = ("BYTES", ["app"] * rows)
    for name, data in changes.items():
        if data is None:
            del columns[name]
        else:
            columns[name] = (columns[name][0] if name in columns else "BYTES", data)
    inputs = [
        {"name": name, "shape": [rows], "datatype": datatype, "data": data}
        for name, (datatype, data) in columns.items()
    ]
    return {"inputs": inputs} if id is None else {"id": id, "inputs": inputs}


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A gateway worker that runs."""

    process: subprocess.Popen[bytes]
    port: int
    client: httpx.Client

    def infer(self, deployment: str, body: object) -> httpx.Response:
        return self.client.post(f"/v2/models/{deployment}/infer", content=json.dumps(body))

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@contextmanager
def running_gateway(
    root: Path,
    *,
    slot: int = 0,
    listening: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
    log: Path | None = None,
) -> Iterator[GatewayProcess]:
    """A gateway worker on a free port, ended with the block.

    `tls`: whom to trust, where it speaks HTTPS; `log`: gets what it says, instead of the test's own output.
    """
    own = listening or free_socket()
    port = own.getsockname()[1]
    command = [sys.executable, "-P", "-m", "quarterdeck", "gateway", "--workspace", str(root)]
    with nullcontext() if log is None else log.open("wb") as said:
        process = subprocess.Popen(
            [*command, "--slot", str(slot), "--fd", str(own.fileno())],
            pass_fds=[own.fileno()],
            env={**os.environ, "PYTHONWARNINGS": "default"},
            stdout=said,
            stderr=said,
        )
    if listening is None:
        own.close()
    scheme = "http" if tls is None else "https"
    client = httpx.Client(base_url=f"{scheme}://127.0.0.1:{port}", timeout=60, trust_env=False, verify=tls or True)
    try:
        wait_for(lambda: _answers(process, client), seconds=120, what="the gateway")
        yield GatewayProcess(process, port, client)
    finally:
        client.close()
        if process.poll() is None:
            process.kill()
        process.wait()


def free_socket() -> socket.socket:
    """A socket that listens on a free port."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    listening.set_inheritable(True)
    return listening


def _answers(process: subprocess.Popen[bytes], client: httpx.Client) -> bool:
    assert process.poll() is None, f"the gateway ended with {process.returncode}"
    try:
        return client.get("/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False
