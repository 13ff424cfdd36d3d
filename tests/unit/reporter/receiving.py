"""A gateway for the reporter's tests: keeps what it is told, and answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Gateway(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.rows: list[dict[str, Any]] = []
        self.batches: list[int] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.bad: set[str] = set()
        """Ids of rows that do not fit: a batch that holds one is refused whole."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, path: str, rows: list[dict[str, Any]]) -> int:
        assert path == "/v2/models/pricing/predictions"
        self.batches.append(len(rows))
        if self.status != 200:
            return self.status
        if any(row["id"] in self.bad for row in rows):
            return 400
        self.rows += rows
        return 200


class _Take(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        self.send_response(self.server.take(self.path, body["predictions"]))
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def receiving() -> Iterator[Gateway]:
    with Gateway() as gateway:
        thread = threading.Thread(target=gateway.serve_forever, name="gateway")
        thread.start()
        try:
            yield gateway
        finally:
            gateway.shutdown()
            thread.join()
