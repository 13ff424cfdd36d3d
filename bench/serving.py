"""One prediction, and a hundred: how many a second and how soon, with recording on, beside two servers of the field."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import joblib
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.deck import COLUMNS, TARGET, settled, table
from bench.engine import ENVIRONMENT
from bench.peers import Peer, forgiving, install, ours_of
from bench.processes import started, wait_for
from bench.rows import RATE, REPOSITORY, Budget, Row
from quarterdeck import bootstrap
from quarterdeck.deployments import queries, rollout
from quarterdeck.registry.registration import make_candidate, register

MODELS: dict[str, Callable[[], Any]] = {
    "logistic regression": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "random forest": lambda: RandomForestClassifier(100, min_samples_leaf=5, random_state=0),
    "gradient boosting": lambda: HistGradientBoostingClassifier(random_state=0),
}
ROWS, CONNECTIONS = (1, 100), (1, 16)
WARM_SECONDS, SECONDS = 0.5, 3.0
BODIES = 64
START_SECONDS = 120.0
MLFLOW, MLSERVER = "mlflow", "mlserver"
ONNX, SKLEARN, UNRECORDED = "ONNX Runtime", "scikit-learn", "ONNX Runtime, not recorded"
SETTINGS = """\
[workspace]
name = "bench"
[gateway]
port = 0
[models.slow]
convert = false
[deployments.unrecorded]
record = 0
"""
DEPLOYMENTS = {ONNX: "fast", SKLEARN: "slow", UNRECORDED: "unrecorded"}
SAVE = """\
import sys
import joblib, mlflow.sklearn
mlflow.sklearn.save_model(joblib.load(sys.argv[1]), sys.argv[2], serialization_format="cloudpickle")
"""


@dataclass(frozen=True, slots=True)
class Server:
    """Somebody that answers `path` on `port`, asked by bodies that `body` makes of rows."""

    name: str
    port: int
    path: str
    body: Callable[[list[list[float]]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Figures:
    rate: float
    p50: float
    p99: float


def measure() -> list[Row]:
    """Every model, number of rows and number of connections, for every server in turn."""
    peers = [
        install("mlflow", "3.17", beside=ours_of("scikit-learn", "numpy", "joblib")),
        install("mlserver", "1.7", beside=["mlserver-sklearn==1.7.*", *ours_of("scikit-learn", "numpy", "joblib")]),
    ]
    rows: list[Row] = []
    for model, make in MODELS.items():
        with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as name:
            rows += _of_model(model, make, Path(name), peers)
    return rows


def _of_model(model: str, make: Callable[[], Any], folder: Path, peers: Sequence[Peer]) -> list[Row]:
    training = table(2_000, seed=1)
    estimator = make().fit(training[COLUMNS].to_numpy(), training[TARGET])
    joblib.dump(estimator, folder / "model.joblib")
    found: dict[tuple[str, int, int], Figures] = {}
    notes: dict[str, str] = {}
    with _ours(folder, estimator) as servers:
        for server in servers:
            _ask(server, found)
    for peer, serving in zip(peers, (_mlflow, _mlserver), strict=True):
        with forgiving(peer.name) as attempt:
            if peer.program is None:
                raise RuntimeError(peer.why_not)
            with serving(folder, peer) as server:
                _ask(server, found)
        notes[peer.name.partition(" ")[0]] = attempt.why_not
    return _report(model, found, peers, notes)


def _ask(server: Server, found: dict[tuple[str, int, int], Figures]) -> None:
    values = table(BODIES + 100, seed=2)[COLUMNS].to_numpy()
    for rows in ROWS:
        bodies = [server.body(values[start : start + rows].tolist()) for start in range(BODIES)]
        for connections in CONNECTIONS:
            plan = {"port": server.port, "path": server.path, "bodies": bodies, "connections": connections}
            timing = {"warm": WARM_SECONDS, "seconds": SECONDS}
            done = subprocess.run(
                [sys.executable, "-m", "bench.closed"],
                input=json.dumps(plan | timing).encode(),
                capture_output=True,
                cwd=REPOSITORY,
                check=True,
                timeout=START_SECONDS,
            )
            found[server.name, rows, connections] = Figures(**json.loads(done.stdout))


def tensor(rows: list[list[float]]) -> dict[str, Any]:
    """A request of the Open Inference Protocol with one tensor, which asks for the label alone."""
    data = [value for row in rows for value in row]
    inputs = [{"name": "x", "shape": [len(rows), len(COLUMNS)], "datatype": "FP64", "data": data}]
    return {"inputs": inputs, "outputs": [{"name": "predict"}]}


@contextmanager
def _ours(folder: Path, estimator: Any) -> Iterator[list[Server]]:
    root = folder / "deck"
    root.mkdir()
    (root / "quarterdeck.toml").write_text(SETTINGS, encoding="utf-8")
    workspace = bootstrap.create_workspace(root, actor="bench")
    training = table(2_000, seed=1)
    command = [sys.executable, "-m", "quarterdeck", "gateway", "--workspace", str(root)]
    with started(command, folder / "gateway.log", environment=ENVIRONMENT):
        wait_for(lambda: queries.gateway_state(workspace).alive > 0, START_SECONDS, "the gateway")
        for name in DEPLOYMENTS.values():
            candidate = make_candidate(workspace, name, estimator, training, target=TARGET)
            if (candidate.graph is None) != (name == "slow"):
                raise RuntimeError(f"{name}: {candidate.agreement}")
            with workspace.state.write("register") as tx:
                number = register(tx, workspace, candidate).number
            settled(workspace, rollout.deploy(workspace, name, model=name, version=number))
        port = queries.gateway_state(workspace).port
        assert port is not None
        yield [Server(name, port, f"/v2/models/{deployment}/infer", tensor) for name, deployment in DEPLOYMENTS.items()]
    workspace.close()


@contextmanager
def _mlflow(folder: Path, peer: Peer) -> Iterator[Server]:
    saved, port = folder / "mlflow", _free_port()
    save = [peer.python, "-c", SAVE, str(folder / "model.joblib"), str(saved)]
    subprocess.run(save, check=True, capture_output=True, text=True, timeout=START_SECONDS, cwd=folder)
    command = [str(peer.program), "models", "serve", "-m", str(saved), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    path = f"{Path(peer.python).parent}:{ENVIRONMENT['PATH']}"
    environment = {**ENVIRONMENT, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with started(command, folder / "mlflow.log", folder=folder, environment=environment):
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/ping"), START_SECONDS, "mlflow models serve")
        yield Server(MLFLOW, port, "/invocations", lambda rows: {"inputs": rows})


@contextmanager
def _mlserver(folder: Path, peer: Peer) -> Iterator[Server]:
    place, port = folder / "mlserver", _free_port()
    place.mkdir()
    settings = {"http_port": port, "grpc_port": _free_port(), "metrics_port": _free_port(), "parallel_workers": 0}
    (place / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "debug": False, **settings}))
    uri = {"uri": str(folder / "model.joblib")}
    model = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": uri}
    (place / "model-settings.json").write_text(json.dumps(model))
    with started([str(peer.program), "start", str(place)], folder / "mlserver.log", environment=ENVIRONMENT):
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/v2/models/m/ready"), START_SECONDS, "mlserver")
        yield Server(MLSERVER, port, "/v2/models/m/infer", tensor)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _report(
    model: str, found: dict[tuple[str, int, int], Figures], peers: Sequence[Peer], notes: dict[str, str]
) -> list[Row]:
    rows: list[Row] = []
    for (server, n, connections), figures in found.items():
        if server not in (ONNX, SKLEARN):
            continue
        case = f"{model}, {n} row{'s' * (n > 1)}, {connections} connection{'s' * (connections > 1)}, {server}"
        rows.append(Row("serving", f"{case}: p50", figures.p50, "ms"))
        rows.append(Row("serving", f"{case}: p99", figures.p99, "ms"))
        for peer in peers:
            name = peer.name.partition(" ")[0]
            theirs = found.get((name, n, connections))
            budget = _budget(server, name, n, connections, theirs)
            rows.append(
                Row(
                    "serving",
                    case,
                    figures.rate,
                    RATE,
                    budget,
                    peer.name,
                    None if theirs is None else theirs.rate,
                    notes.get(name, ""),
                )
            )
        if server == ONNX:
            bare = found[UNRECORDED, n, connections].rate
            least = Budget("at least", 0.8 * bare) if n == 1 else None
            rows.append(Row("serving", f"{case}, not recorded", figures.rate, RATE, least, "ours, not recorded", bare))
    return rows


def _budget(server: str, peer: str, rows: int, connections: int, theirs: Figures | None) -> Budget | None:
    if theirs is None:
        return None
    if server == ONNX and (rows, connections) == (1, 1):
        return Budget("at least", theirs.rate * {MLFLOW: 20, MLSERVER: 3}[peer])
    if server == SKLEARN and peer == MLFLOW:
        return Budget("at least", 2 * theirs.rate)
    return None
