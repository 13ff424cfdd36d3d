"""A gateway's life: it proves what it serves from the start, drains when told to stop, and goes on without a model."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from sqlmodel import col, select

from quarterdeck import bootstrap
from quarterdeck.deployments import queries, rollout
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.proof import GatewayWorker
from quarterdeck.registry.version import find_version
from quarterdeck.workspace import Workspace
from tests.gateways import add_classifier, free_socket, infer_body, running_gateway
from tests.waiting import wait_for


@pytest.fixture
def real(tmp_path: Path) -> Workspace:
    return bootstrap.create_workspace(tmp_path / "workspace", actor="tester")


def verified(workspace: Workspace, operation: int) -> bool:
    return queries.operation(workspace, operation).state is OperationState.VERIFIED


def count(workspace: Workspace, condition: str) -> int:
    connection = sqlite3.connect(workspace.traffic.path)
    try:
        (found,) = connection.execute(f"SELECT count(*) FROM prediction WHERE {condition}").fetchone()
        return int(found)
    finally:
        connection.close()


def test_a_worker_without_traffic_proves_by_a_probe_that_is_recorded_as_one(real: Workspace) -> None:
    operation = rollout.deploy(real, "fraud", model="fraud", version=add_classifier(real))
    with running_gateway(real.root):
        wait_for(lambda: verified(real, operation.id), seconds=90)
        (proof,) = queries.operation(real, operation.id).proofs
        assert proof.probe
        wait_for(lambda: count(real, f"id = '{proof.request_id}' AND probe"))
    real.close()


def test_a_deployment_made_while_the_gateway_runs_is_served_and_verified(real: Workspace) -> None:
    with running_gateway(real.root) as gateway:
        assert gateway.infer("fraud", infer_body()).status_code == 404
        operation = rollout.deploy(real, "fraud", model="fraud", version=add_classifier(real))
        wait_for(lambda: verified(real, operation.id), seconds=90)
        assert gateway.infer("fraud", infer_body()).status_code == 200
    real.close()


def test_a_model_that_cannot_be_loaded_is_a_503_with_the_reason(real: Workspace) -> None:
    number = add_classifier(real)
    rollout.deploy(real, "fraud", model="fraud", version=number)
    with real.state.read() as tx:
        place = real.artifacts.path(find_version(tx, "fraud", number).artifact or "")
    place.chmod(0o600)
    place.write_bytes(b"spoilt")
    with running_gateway(real.root) as gateway:
        response = gateway.infer("fraud", infer_body())
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "damaged" in response.json()["error"]
    real.close()


def test_sigterm_answers_what_is_in_flight_records_it_and_retires_the_worker(real: Workspace) -> None:
    operation = rollout.deploy(real, "fraud", model="fraud", version=add_classifier(real))
    with running_gateway(real.root) as gateway:
        wait_for(lambda: verified(real, operation.id), seconds=90)
        requests = [_begin_request(gateway.port, len(body)) for body in [_body()] * 3]
        gateway.process.send_signal(signal.SIGTERM)
        wait_for(lambda: _refuses(gateway.port), what="the end of accepting")
        for connection in requests:
            connection.sendall(_body())
        answers = [_read_all(connection) for connection in requests]
        assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 3
        assert gateway.process.wait(timeout=20) == 0
    assert count(real, "NOT probe") == 3
    with real.state.read() as tx:
        assert tx.exec(select(GatewayWorker).where(col(GatewayWorker.stopped_at).is_(None))).first() is None
    real.close()


def _body() -> bytes:
    return json.dumps(infer_body()).encode()


def _begin_request(port: int, length: int) -> socket.socket:
    """A request without its body yet, once the gateway has begun to read it."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = (
        f"POST /v2/models/fraud/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    )
    connection.sendall(head.encode())
    assert connection.recv(100).startswith(b"HTTP/1.1 100")
    return connection


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def _read_all(connection: socket.socket) -> bytes:
    with connection:
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_killed_worker_is_replaced_on_the_same_socket_without_a_refused_connection(real: Workspace) -> None:
    rollout.deploy(real, "fraud", model="fraud", version=add_classifier(real))
    listening = free_socket()
    with running_gateway(real.root, listening=listening) as first:
        first.process.kill()
        first.process.wait()
        late: list[int] = []
        asking = threading.Thread(
            target=lambda: late.append(
                httpx.post(
                    f"http://127.0.0.1:{first.port}/v2/models/fraud/infer",
                    content=json.dumps(infer_body()),
                    timeout=120,
                    trust_env=False,
                ).status_code
            )
        )
        asking.start()
        with running_gateway(real.root, listening=listening):
            asking.join()
            assert late == [200]
            (worker,) = queries.gateway_state(real).workers
            assert worker.alive
    listening.close()
    real.close()


def test_an_address_in_use_is_refused_with_the_address(real: Workspace) -> None:
    taken = free_socket()
    port = taken.getsockname()[1]
    code = (
        "import sys; from pathlib import Path\n"
        "from quarterdeck.bootstrap import open_workspace\n"
        "from quarterdeck.errors import UsageError\n"
        "from quarterdeck.serving.worker import serve\n"
        "try: serve(open_workspace(Path(sys.argv[1])), slot=0, host='127.0.0.1', port=int(sys.argv[2]))\n"
        "except UsageError as error: print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code, real.root, str(port)], capture_output=True, text=True, timeout=60)
    taken.close()
    assert f"cannot listen on 127.0.0.1:{port}" in ran.stdout
    real.close()
