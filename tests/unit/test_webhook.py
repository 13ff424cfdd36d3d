"""Notifications over real HTTP, to a server of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from quarterdeck.adapters.webhook import HttpNotifier, shown
from quarterdeck.errors import QuarterdeckError

SECRET = "T0/B1/hush"


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[int]:
    """The port of a server that refuses everything."""
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


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
    assert shown(f"https://user:{SECRET.replace('/', '-')}@hooks.example.org/x") == "https://hooks.example.org"
