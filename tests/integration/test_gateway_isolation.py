"""A model that breaks takes nothing along: neither the gateway worker nor what else that serves."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import col, select

from quarterdeck import bootstrap
from quarterdeck.deployments import queries, rollout
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.routes import desired_routes
from quarterdeck.events import Event
from quarterdeck.monitoring.queries import alerts
from quarterdeck.registry.packing import pack
from quarterdeck.registry.queries import version as version_row
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import Format, Task
from quarterdeck.workspace import Workspace
from tests.environments import environment
from tests.gateways import GatewayProcess, running_gateway
from tests.integration.test_model_process import hosts_in
from tests.waiting import wait_for

PATIENCE = 90.0
SIGNATURE = Signature((Feature("amount", "number", nullable=True),), target=None, classes=None)
SETTINGS = """\
[deployments.cost]
probation = "1ms"
probation_requests = 0
[models.hangs]
load_timeout = "8s"
[models.eats]
memory = "400MB"
[models.slow]
timeout = "1s"
"""
# It stands in for the library that loads boosters: its models break as they are told to, in whatever loads them.
BREAKING = """
import os, time

class basic:
    class LightGBMError(Exception):
        pass

class Booster:
    pandas_categorical = None

    def __init__(self, model_str):
        self.mood = model_str.split("\\n")[1]
        with open(os.environ["LOADED_BY"], "a") as file:
            file.write(f"{self.mood} {os.getpid()}\\n")
        if self.mood == "aborts":
            os.abort()
        if self.mood == "hangs":
            time.sleep(600)
        if self.mood == "eats":
            self.kept = b"x" * (1 << 30)
            time.sleep(600)
        if self.mood == "raises":
            raise ValueError("no such thing")
        self.kept = b"x" * 50_000_000

    def dump_model(self, num_iteration):
        return {"objective": "regression"}

    def feature_name(self):
        return ["amount"]

    def num_model_per_iteration(self):
        return 1

    def predict(self, table, num_threads):
        if self.mood == "deadly" and table.max() > 100:
            os.abort()
        if self.mood == "steady":
            time.sleep(0.002)  # Too long for the event loop: it is asked in the thread of all models in memory.
        return table[:, 0] * 2
"""
SLOW = """
import time
def predict(rows):
    if rows[0]["amount"] > 100:
        open("hangs", "w").close()
        time.sleep(600)
    return [3 * row["amount"] for row in rows]
"""


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says which process has loaded which booster."""
    library = tmp_path / "library"
    library.mkdir()
    (library / "lightgbm.py").write_text(BREAKING)
    monkeypatch.setenv("PYTHONPATH", str(library))
    monkeypatch.setenv("LOADED_BY", str(tmp_path / "loaded"))
    return tmp_path / "loaded"


@pytest.fixture
def real(tmp_path: Path) -> Workspace:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "quarterdeck.toml").write_text(SETTINGS)
    return bootstrap.create_workspace(tmp_path / "workspace", actor="tester")


def add(workspace: Workspace, model: str, artifact: str, format_: Format, **fields: Any) -> int:
    candidate = Candidate(
        model=model,
        format=format_,
        task=Task.REGRESSION,
        artifact=artifact,
        signature=SIGNATURE,
        example=[{"amount": 1.0}],
        reference=None,
        profile=[],
        metrics={},
        importances={},
        environment={},
        **fields,
    )
    with workspace.state.write("test") as tx:
        return register(tx, workspace, candidate).number


def booster(workspace: Workspace, model: str, mood: str) -> int:
    # A text without trees that is whole in all else: the stand-in reads its second line.
    text = f"tree\n{mood}\ntree_sizes=\n\nend of trees\n\nend of parameters\n"
    return add(workspace, model, workspace.artifacts.put(text.encode()), Format.LIGHTGBM)


def slow_process(workspace: Workspace, folder: Path) -> int:
    """A version that is served by a process in an environment with nothing but Python."""
    code = folder / "code"
    code.mkdir()
    (code / "model.py").write_text(SLOW)
    python = str(environment("empty"))
    return add(workspace, "slow", pack(workspace, code), Format.ENTRY, python=python, entry="model:predict")


def state(workspace: Workspace, operation: int) -> OperationState:
    return queries.operation(workspace, operation).state


def verified(workspace: Workspace, operation: int) -> None:
    wait_for(lambda: state(workspace, operation) is OperationState.VERIFIED, seconds=PATIENCE, what="the proof")


def ask(gateway: GatewayProcess, name: str, amount: float) -> httpx.Response:
    tensor = {"name": "amount", "datatype": "FP64", "shape": [1], "data": [amount]}
    return gateway.infer(name, {"inputs": [tensor]})


def answered(gateway: GatewayProcess, name: str, amount: float) -> list[Any] | None:
    response = ask(gateway, name, amount)
    return None if response.status_code != 200 else list(response.json()["outputs"][0]["data"])


def test_a_version_that_breaks_fails_its_trial_and_the_worker_never_loads_it(real: Workspace, loaded: Path) -> None:
    reasons = {
        "aborts": "its trial in a process of its own failed: ended by SIGABRT, as os.abort() does",
        "hangs": "it did not load and answer its example within 8 s",
        "eats": "MB of memory, and may take 400 MB",
        "raises": "ValueError: no such thing",
    }
    sound = rollout.deploy(real, "cost", model="cost", version=booster(real, "cost", "sound"))
    with running_gateway(real.root) as gateway:
        verified(real, sound.id)
        for mood, reason in reasons.items():
            operation = rollout.deploy(real, mood, model=mood, version=booster(real, mood, mood)).id
            wait_for(lambda of=operation: state(real, of) is OperationState.FAILED, seconds=PATIENCE, what=mood)  # type: ignore[misc]
            assert reason in (queries.operation(real, operation).error or "")
            assert ask(gateway, mood, 1.0).status_code == 503
            assert answered(gateway, "cost", 2.0) == [4.0]
        assert gateway.process.poll() is None
        loads = [line.split() for line in loaded.read_text().splitlines()]
        assert {mood for mood, pid in loads if int(pid) == gateway.process.pid} == {"sound"}
        assert gateway.stop() == 0
    real.close()


def test_a_version_is_tried_once_on_a_machine_and_its_memory_is_kept(real: Workspace, loaded: Path) -> None:
    operation = rollout.deploy(real, "cost", model="cost", version=booster(real, "cost", "sound"))
    assert version_row(real, "cost", 1).memory_bytes is None
    for _ in range(2):
        with running_gateway(real.root) as gateway:
            verified(real, operation.id)
            assert answered(gateway, "cost", 2.0) == [4.0]
    assert len(loaded.read_text().splitlines()) == 3  # the trial, and each of the workers
    memory = version_row(real, "cost", 1).memory_bytes
    assert memory is not None
    assert 50_000_000 <= memory < 100_000_000
    real.close()


def test_a_model_s_process_that_hangs_is_a_504_and_holds_up_no_other_deployment(
    real: Workspace, loaded: Path, tmp_path: Path
) -> None:
    slow = rollout.deploy(real, "slow", model="slow", version=slow_process(real, tmp_path))
    sound = rollout.deploy(real, "cost", model="cost", version=booster(real, "cost", "steady"))
    (deployment,) = [row for row in queries.deployments(real) if row.name == "slow"]
    assert deployment.served_by == "process"
    with running_gateway(real.root) as gateway:
        verified(real, slow.id)
        verified(real, sound.id)
        assert answered(gateway, "slow", 2.0) == [6.0]
        assert (version_row(real, "slow", 1).memory_bytes or 0) > 1_000_000
        told: list[httpx.Response] = []
        client = httpx.Client(base_url=gateway.client.base_url, timeout=60, trust_env=False)
        hanging = GatewayProcess(gateway.process, gateway.port, client)
        asking = threading.Thread(target=lambda: told.append(ask(hanging, "slow", 1000.0)))
        asking.start()
        wait_for(lambda: list(real.folder.rglob("hangs")), seconds=PATIENCE, what="the model to hang")
        assert answered(gateway, "cost", 2.0) == [4.0]
        assert not told
        asking.join()
        client.close()
        assert told[0].status_code == 504
        assert "did not answer within 1 s" in told[0].json()["error"]
        down = ask(gateway, "slow", 2.0)
        assert down.status_code in (200, 503)
        wait_for(lambda: answered(gateway, "slow", 2.0) == [6.0], seconds=PATIENCE, what="the process to be back")
    real.close()


def test_no_process_of_a_model_outlives_a_killed_worker_or_a_stopped_one(real: Workspace, tmp_path: Path) -> None:
    operation = rollout.deploy(real, "slow", model="slow", version=slow_process(real, tmp_path))
    for end in (signal.SIGKILL, signal.SIGTERM):
        with running_gateway(real.root) as gateway:
            verified(real, operation.id)
            wait_for(lambda: answered(gateway, "slow", 2.0) == [6.0], seconds=PATIENCE, what="an answer")
            assert hosts_in(real.folder)
            os.kill(gateway.process.pid, end)
            gateway.process.wait(20)
            wait_for(lambda: not hosts_in(real.folder), what="the end of the model's process")
    real.close()


def test_a_revision_that_the_worker_dies_of_twice_is_withheld_and_pages(real: Workspace, loaded: Path) -> None:
    good = rollout.deploy(real, "cost", model="cost", version=booster(real, "cost", "sound"))
    other = rollout.deploy(real, "other", model="other", version=booster(real, "other", "other"))
    with running_gateway(real.root) as gateway:
        verified(real, good.id)
        verified(real, other.id)
        deadly = rollout.deploy(real, "cost", model="cost", version=booster(real, "cost", "deadly"))
        verified(real, deadly.id)
        dies(gateway)
    with running_gateway(real.root) as gateway:
        assert answered(gateway, "cost", 2.0) == [4.0]
        assert alerts(real) == []  # once may be bad luck
        dies(gateway)
    with running_gateway(real.root) as gateway:
        response = ask(gateway, "cost", 1000.0)
        assert (response.status_code, response.headers["x-model-version"]) == (200, "1")
        assert answered(gateway, "other", 2.0) == [4.0]
        (alert,) = alerts(real)
        assert (alert.kind, alert.severity, alert.deployment, alert.version) == ("outage", "page", "cost", 2)
        assert "died 2 times within 60 s" in (queries.operation(real, deadly.id).error or "")
        with real.state.read() as tx:
            (opened,) = tx.exec(select(Event).where(col(Event.kind) == "alert.opened")).all()
        assert opened.data["severity"] == "page"
        back = rollout.roll_back(real, "cost", reason="version 2 kills the gateway")
        verified(real, back.id)
        assert alerts(real) == []
    real.close()


def test_a_withheld_revision_without_a_known_good_one_is_stopped(real: Workspace, loaded: Path) -> None:
    operation = rollout.deploy(real, "fresh", model="fresh", version=booster(real, "fresh", "deadly"))
    for _ in range(2):
        with running_gateway(real.root) as gateway:
            verified(real, operation.id)
            wait_for(lambda: answered(gateway, "fresh", 2.0) == [4.0], seconds=PATIENCE, what="an answer")
            dies(gateway, "fresh")
    with running_gateway(real.root) as gateway:
        response = ask(gateway, "fresh", 2.0)
        assert response.status_code == 503
        assert "died 2 times" in response.json()["error"]
        assert gateway.client.get("/v2/health/ready").status_code == 200
        (route,) = desired_routes(real)
        assert route.fallback is None
    real.close()


def dies(gateway: GatewayProcess, name: str = "cost") -> None:
    """Send what the deadly version dies of."""
    with pytest.raises(httpx.TransportError):
        ask(gateway, name, 1000.0)
    assert gateway.process.wait(20) == -signal.SIGABRT
