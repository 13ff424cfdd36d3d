"""Notifications over real HTTP, to a server of the test's own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from quarterdeck.adapters.webhook import HttpNotifier
from quarterdeck.errors import QuarterdeckError
from quarterdeck.values import public_part

SECRET = "T0/B1/hush"


class Taking(BaseHTTPRequestHandler):
    """Keeps what comes, and answers without an end."""

    taken: ClassVar[list[tuple[dict[str, str], bytes]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.taken.append((dict(self.headers), body))
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"x" * 65536)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port of a server of that kind."""
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def refusing() -> Iterator[int]:
    """The port of a server that refuses everything."""
    with serving(Refusing) as port:
        yield port


def refusal(url: str) -> str:
    with pytest.raises(QuarterdeckError) as refused:
        HttpNotifier().send(url, {"text": "drift"}, idempotency_key="alert/1")
    return str(refused.value)


def test_a_refused_notification_names_the_host_and_not_the_secret_behind_it(refusing: int) -> None:
    said = refusal(f"http://127.0.0.1:{refusing}/services/{SECRET}?token={SECRET}")
    assert f"http://127.0.0.1:{refusing} answered 404" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "url", [f"http://127.0.0.1:1/{SECRET}", f"ftp://127.0.0.1/{SECRET}", f"http://127.0.0.1:port/{SECRET}"]
)
def test_a_notification_that_nobody_takes_names_no_secret_either(url: str) -> None:
    said = refusal(url)
    assert "did not answer" in said
    assert SECRET not in said


def test_a_name_before_the_host_is_not_shown() -> None:
    assert public_part(f"https://user:{SECRET.replace('/', '-')}@hooks.example.org/x") == "https://hooks.example.org"


@pytest.mark.parametrize("secret", ["plain words", "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()])
def test_a_signed_notification_can_be_verified_by_its_receiver(secret: str) -> None:
    Taking.taken.clear()
    with serving(Taking) as port:
        HttpNotifier().send(
            f"http://127.0.0.1:{port}",
            {"text": "dérive"},
            idempotency_key="alert-1",
            content_type="application/cloudevents+json",
            secret=secret,
        )
    ((headers, body),) = Taking.taken
    given = {name.lower(): value for name, value in headers.items()}
    assert (given["content-type"], given["idempotency-key"]) == ("application/cloudevents+json", "alert-1")
    assert json.loads(body) == {"text": "dérive"}
    key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
    content = f"{given['webhook-id']}.{given['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    assert given["webhook-signature"] == f"v1,{expected}"


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 2", b"\xff\x00 no HTTP at all\r\n\r\n", b"HTTP/1.1 302 x\r\nlocation: /\r\n\r\n"]
)
def test_a_receiver_that_breaks_is_an_error_in_one_line(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def break_() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=break_)
        thread.start()
        said = refusal(f"http://127.0.0.1:{listening.getsockname()[1]}")
        thread.join()
    assert "did not answer" in said or "answered 302" in said
    assert "\n" not in said
