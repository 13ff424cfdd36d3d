"""Several requests on one connection, whichever way each of them is answered."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest

from quarterdeck import bootstrap
from quarterdeck.deployments import rollout
from tests.gateways import GatewayProcess, add_classifier, infer_body, running_gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    root = tmp_path_factory.mktemp("deck")
    workspace = bootstrap.create_workspace(root, actor="test")
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace))
    workspace.close()
    with running_gateway(root) as process:
        yield process


def predict(id_: str, *, deployment: str = "fraud", rows: int = 1, version: str = "1.1", more: str = "") -> bytes:
    body = json.dumps(infer_body(rows, id=id_)).encode()
    head = f"POST /v2/models/{deployment}/infer HTTP/{version}\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


READY = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(gateway: GatewayProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", gateway.port), timeout=20)


def answers(connection: socket.socket, count: int) -> list[tuple[int, str]]:
    """Status and body of the next answers."""
    found = []
    reader = connection.makefile("rb", buffering=0)  # what follows the last answer is left to others
    for _ in range(count):
        status = int(reader.readline().split()[1])
        length = 0
        while (line := reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        body = b""
        while len(body) < length:  # Without a buffer one call may give less.
            body += reader.read(length - len(body))
        found.append((status, body.decode()))
    return found


def test_requests_that_come_at_once_are_answered_in_their_order(gateway: GatewayProcess) -> None:
    asked = [predict("a"), READY, predict("b", deployment="nobody"), predict("c"), READY, predict("d", rows=300)]
    with connect(gateway) as connection:
        connection.sendall(b"".join(asked))
        first, ready, unknown, second, again, last = answers(connection, 6)
    assert [json.loads(body)["id"] for _, body in (first, second, last)] == ["a", "c", "d"]
    assert ready == again == (200, '{"ready":true}')
    assert unknown[0] == 404
    assert "nobody" in unknown[1]


def test_thousands_that_are_refused_behind_one_that_is_answered_all_have_their_answers(
    gateway: GatewayProcess,
) -> None:
    refused = b"GET /invocations/fraud HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(gateway) as connection:
        connection.sendall(predict("first") + 3_000 * refused + predict("last"))
        first, *others, last = answers(connection, 3_002)
    assert [json.loads(body)["id"] for _, body in (first, last)] == ["first", "last"]
    assert {status for status, _ in others} == {405}


def test_a_request_that_comes_byte_by_byte_is_answered(gateway: GatewayProcess) -> None:
    with connect(gateway) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in predict("slow") + READY:
            connection.sendall(bytes([byte]))
        (status, body), ready = answers(connection, 2)
    assert (status, json.loads(body)["id"]) == (200, "slow")
    assert ready[0] == 200


@pytest.mark.parametrize(
    "request_", [predict("x", version="1.0"), predict("x", more="Connection: close\r\n")], ids=["1.0", "close"]
)
def test_a_client_that_wants_no_more_gets_its_answer_and_the_end(gateway: GatewayProcess, request_: bytes) -> None:
    with connect(gateway) as connection:
        connection.sendall(request_)
        response = HTTPResponse(connection)
        response.begin()
        assert response.status == 200
        assert response.getheader("connection") == "close"
        assert json.loads(response.read())["id"] == "x"
        assert connection.recv(1) == b""


def test_a_body_that_the_client_asks_to_send_is_asked_for_in_its_turn(gateway: GatewayProcess) -> None:
    head, _, body = predict("b", more="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    with connect(gateway) as connection:
        connection.sendall(predict("a") + head + b"\r\n\r\n")
        found = answers(connection, 1)
        assert json.loads(found[0][1])["id"] == "a"
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert json.loads(answers(connection, 1)[0][1])["id"] == "b"


def test_a_head_is_answered_without_a_body(gateway: GatewayProcess) -> None:
    with connect(gateway) as connection:
        connection.sendall(b"HEAD /v2/models/fraud/infer HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 405 ")
    assert said.endswith(b"\r\n\r\n")


def send(connection: socket.socket, request: bytes, *, times: int) -> None:
    for _ in range(times):
        connection.sendall(request)


def test_a_client_that_never_reads_cannot_fill_the_memory(gateway: GatewayProcess) -> None:
    request = predict("unread", rows=200)
    with connect(gateway) as connection:
        connection.settimeout(3)
        with pytest.raises(TimeoutError):
            send(connection, request, times=100_000)
    assert gateway.client.get("/v2/health/ready").status_code == 200
    resident = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{gateway.process.pid}/status").read_text())
    assert resident is not None
    assert int(resident.group(1)) < 600_000
