"""One prediction, and a hundred: how many a second and how soon, with recording on, beside two servers of the field."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
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
COLUMNS_FORM, MATRIX = "13 columns", "13 floats"
"""The same rows by name, as a frame has them, or as one array. Ours is asked by the very bytes that the peer
gets: MLflow's protocol for names, the Open Inference Protocol for arrays; MLflow has its own form for arrays, too."""
ROWS, CONNECTIONS = (1, 100), (1, 16)
TURNS, WARM_SECONDS, SECONDS = 5, 0.2, 0.8
"""All servers are up together and asked in turns, one at a time, since a machine is not the same from one minute to the
next; the figures are the medians of the turns."""
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
[deployments.unrecorded-1]
record = 0
[deployments.unrecorded-2]
record = 0
"""
DEPLOYMENTS = {ONNX: "fast", SKLEARN: "slow", UNRECORDED: "unrecorded"}
SAVE = """\
import sys
import joblib, mlflow.sklearn
from mlflow.models import infer_signature
model, sample = joblib.load(sys.argv[1])
signature = infer_signature(sample, model.predict(sample))
mlflow.sklearn.save_model(model, sys.argv[2], signature=signature, serialization_format="cloudpickle")
"""
Found = dict[tuple[str, str, int, int], "Figures"]
"""By server, form, rows and connections."""


@dataclass(frozen=True, slots=True)
class Server:
    """Somebody that answers `path` on `port`, asked by bodies that `body` makes of rows."""

    name: str
    form: str
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
    samples: dict[str, Any] = {COLUMNS_FORM: training[COLUMNS], MATRIX: training[COLUMNS].to_numpy()}
    fitted = {form: make().fit(sample, training[TARGET]) for form, sample in samples.items()}
    for form, estimator in fitted.items():
        joblib.dump((estimator, samples[form]), folder / f"{form}.mlflow")
    joblib.dump(fitted[MATRIX], folder / "model.joblib")
    found: Found = {}
    notes: dict[str, str] = {}
    mlflow, mlserver = peers
    with ExitStack() as up:
        servers = up.enter_context(_ours(folder, fitted))
        with forgiving(mlflow.name) as attempt:
            servers += [up.enter_context(_mlflow(folder, mlflow, form)) for form in fitted]
        notes[MLFLOW] = attempt.why_not
        with forgiving(mlserver.name) as attempt:
            servers.append(up.enter_context(_mlserver(folder, mlserver)))
        notes[MLSERVER] = attempt.why_not
        _ask(servers, found)
    return _report(model, found, peers, notes)


def _ask(servers: Sequence[Server], found: Found) -> None:
    values = table(BODIES + 100, seed=2)[COLUMNS].to_numpy()
    for rows, connections in product(ROWS, CONNECTIONS):
        bodies = [values[start : start + rows].tolist() for start in range(BODIES)]
        turns: dict[tuple[str, str], list[Figures]] = {}
        for _, server in product(range(TURNS), servers):
            turns.setdefault((server.name, server.form), []).append(_burst(server, bodies, connections))
        for asked, figures in turns.items():
            middle = {name: median(getattr(one, name) for one in figures) for name in ("rate", "p50", "p99")}
            found[*asked, rows, connections] = Figures(**middle)


def _burst(server: Server, bodies: Sequence[list[list[float]]], connections: int) -> Figures:
    plan = {"port": server.port, "path": server.path, "bodies": [server.body(rows) for rows in bodies]}
    timing = {"connections": connections, "warm": WARM_SECONDS, "seconds": SECONDS}
    done = subprocess.run(
        [sys.executable, "-m", "bench.closed"],
        input=json.dumps(plan | timing).encode(),
        capture_output=True,
        cwd=REPOSITORY,
        check=True,
        timeout=START_SECONDS,
    )
    return Figures(**json.loads(done.stdout))


def split(rows: list[list[float]]) -> dict[str, Any]:
    """A request of MLflow's protocol with the columns' names."""
    return {"dataframe_split": {"columns": COLUMNS, "data": rows}}


def tensor(rows: list[list[float]]) -> dict[str, Any]:
    """A request of the Open Inference Protocol with one tensor, which asks for the label alone."""
    data = [value for row in rows for value in row]
    inputs = [{"name": "x", "shape": [len(rows), len(COLUMNS)], "datatype": "FP64", "data": data}]
    return {"inputs": inputs, "outputs": [{"name": "predict"}]}


@contextmanager
def _ours(folder: Path, fitted: dict[str, Any]) -> Iterator[list[Server]]:
    root = folder / "deck"
    root.mkdir()
    (root / "quarterdeck.toml").write_text(SETTINGS, encoding="utf-8")
    workspace = bootstrap.create_workspace(root, actor="bench")
    training = table(2_000, seed=1)
    command = [sys.executable, "-m", "quarterdeck", "gateway", "--workspace", str(root)]
    with started(command, folder / "gateway.log", environment=ENVIRONMENT):
        wait_for(lambda: queries.gateway_state(workspace).alive > 0, START_SECONDS, "the gateway")
        port = queries.gateway_state(workspace).port
        assert port is not None
        servers = []
        for form, path, body in ((COLUMNS_FORM, "/invocations/{}", split), (MATRIX, "/v2/models/{}/infer", tensor)):
            for runtime, model in DEPLOYMENTS.items():
                candidate = make_candidate(workspace, model, fitted[form], training, target=TARGET)
                if (candidate.graph is None) != (model == "slow"):
                    raise RuntimeError(f"{model}: {candidate.agreement}")
                with workspace.state.write("register") as tx:
                    number = register(tx, workspace, candidate).number
                name = f"{model}-{number}"
                settled(workspace, rollout.deploy(workspace, name, model=model, version=number))
                servers.append(Server(runtime, form, port, path.format(name), body))
        yield servers
    workspace.close()


@contextmanager
def _mlflow(folder: Path, peer: Peer, form: str) -> Iterator[Server]:
    if peer.program is None:
        raise RuntimeError(peer.why_not)
    saved, port = folder / f"mlflow {form}", _free_port()
    save = [peer.python, "-c", SAVE, str(folder / f"{form}.mlflow"), str(saved)]
    subprocess.run(save, check=True, capture_output=True, text=True, timeout=START_SECONDS, cwd=folder)
    command = [str(peer.program), "models", "serve", "-m", str(saved), "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    path = f"{Path(peer.python).parent}:{ENVIRONMENT['PATH']}"
    environment = {**ENVIRONMENT, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with started(command, folder / "mlflow.log", folder=folder, environment=environment):
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/ping"), START_SECONDS, "mlflow models serve")
        body = split if form == COLUMNS_FORM else lambda rows: {"inputs": rows}
        yield Server(MLFLOW, form, port, "/invocations", body)


@contextmanager
def _mlserver(folder: Path, peer: Peer) -> Iterator[Server]:
    if peer.program is None:
        raise RuntimeError(peer.why_not)
    place, port = folder / "mlserver", _free_port()
    place.mkdir()
    settings = {"http_port": port, "grpc_port": _free_port(), "metrics_port": _free_port(), "parallel_workers": 0}
    (place / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "debug": False, **settings}))
    uri = {"uri": str(folder / "model.joblib")}
    model = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": uri}
    (place / "model-settings.json").write_text(json.dumps(model))
    with started([str(peer.program), "start", str(place)], folder / "mlserver.log", environment=ENVIRONMENT):
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/v2/models/m/ready"), START_SECONDS, "mlserver")
        yield Server(MLSERVER, MATRIX, port, "/v2/models/m/infer", tensor)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _report(model: str, found: Found, peers: Sequence[Peer], notes: dict[str, str]) -> list[Row]:
    rows: list[Row] = []
    for (server, form, n, connections), figures in found.items():
        if server not in (ONNX, SKLEARN):
            continue
        shape = f"{n} row{'s' * (n > 1)} of {form}, {connections} connection{'s' * (connections > 1)}"
        case = f"{model}, {shape}, {server}"
        rows.append(Row("serving", f"{case}: p50", figures.p50, "ms"))
        rows.append(Row("serving", f"{case}: p99", figures.p99, "ms"))
        for peer in peers:
            name = peer.name.partition(" ")[0]
            if name == MLSERVER and form == COLUMNS_FORM:
                continue
            theirs = found.get((name, form, n, connections))
            least = None if theirs is None else _least(server, name, form, n, connections, theirs.rate)
            rate = None if theirs is None else theirs.rate
            rows.append(Row("serving", case, figures.rate, RATE, least, peer.name, rate, notes.get(name, "")))
        if server == ONNX:
            bare = found[UNRECORDED, form, n, connections].rate
            least = Budget("at least", 0.8 * bare) if n == 1 else None
            rows.append(Row("serving", f"{case}, not recorded", figures.rate, RATE, least, "ours, not recorded", bare))
    return rows


def _least(server: str, peer: str, form: str, rows: int, connections: int, rate: float) -> Budget | None:
    """What is promised beside a peer that answers `rate` a second."""
    if peer == MLSERVER:
        return Budget("at least", 3 * rate) if server == ONNX and (rows, connections) == (1, 1) else None
    if form == MATRIX:
        return None
    if server == SKLEARN:
        return Budget("at least", 2 * rate)
    return Budget("at least", 20 * rate) if (rows, connections) == (1, 1) else None
