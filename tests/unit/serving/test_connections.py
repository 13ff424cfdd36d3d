"""Clients that never end their head, trickle, or come in crowds: each is told, and nobody else notices."""

from __future__ import annotations

import json
import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from quarterdeck.serving import connections
from quarterdeck.serving.connections import HEAD_BYTES, Connection
from tests.waiting import wait_for

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Impatient(Connection):
    most = 3
    request_seconds = 0.3


async def app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def port() -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Impatient, ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    wait_for(lambda: server.started, seconds=10, what="the server")
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join(10)


def said(connection: socket.socket) -> tuple[int, dict[str, str]]:
    """All that comes until the other side closes: the status, and what the body says.

    Whoever is to come back is told when, and nobody else.
    """
    answer = b""
    while part := connection.recv(65536):
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split()[1])
    assert (b"retry-after: 1" in head) == (status == 503)
    return status, json.loads(body)


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.settimeout(10)
    return connection


def test_a_head_that_does_not_end_is_refused(port: int) -> None:
    with connect(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\n" + b"x-more: " + b"a" * HEAD_BYTES)
        status, body = said(client)
    assert status == 431
    assert "64 kB" in body["error"]


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST / HTTP/1.1\r\nHost", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345"],
    ids=["silent", "half a head", "half a body"],
)
def test_a_request_that_does_not_arrive_in_time_is_refused(port: int, sent: bytes) -> None:
    with connect(port) as client:
        client.sendall(sent)
        assert said(client)[0] == 408


def test_a_connection_that_waits_between_two_requests_is_left_alone(port: int) -> None:
    with connect(port) as client:
        client.sendall(REQUEST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        with connect(port) as slow:
            assert said(slow)[0] == 408  # Now more than a request's time has passed.
        client.sendall(REQUEST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def test_more_connections_than_there_are_descriptors_for_are_told_to_come_back(port: int) -> None:
    clients = [connect(port) for _ in range(Impatient.most)]
    for client in clients:
        client.sendall(REQUEST)
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
    with connect(port) as late:
        assert said(late) == (503, {"error": "Too many connections are open. Try again in a second."})
    for client in clients:
        client.close()
    wait_for(lambda: _answers(port), seconds=10, what="room again")


def _answers(port: int) -> bool:
    with connect(port) as client:
        client.sendall(REQUEST)
        return client.recv(65536).startswith(b"HTTP/1.1 200")


def test_what_is_no_http_gets_an_error_in_json(port: int) -> None:
    with connect(port) as client:
        client.sendall(b"\x16\x03\x01 what is this\r\n\r\n")
        assert said(client) == (400, {"error": "Invalid HTTP request received."})


def test_a_worker_may_open_as_many_files_as_it_is_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        most = connections.take_all_descriptors()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == most + connections.SPARE_FILES
        assert soft >= min(before[1], connections.MOST_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
