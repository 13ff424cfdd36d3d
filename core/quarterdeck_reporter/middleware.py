"""Middleware for WSGI and ASGI: passes everything on as it is, and keeps a copy of what a prediction is read from.

What is read from it is found out by the sender's thread, never while somebody waits for an answer.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

from quarterdeck_reporter.extraction import Prediction, Request, Response, from_json
from quarterdeck_reporter.reporter import Reporter, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Extract = Callable[[Request, Response], Any]

MOST_BYTES = 1_000_000
"""A larger request or response is passed on and not read; it is counted."""


class _Exchange:
    """One request and its response while they pass."""

    def __init__(self, reporter: Reporter, extract: Extract, method: str, path: str) -> None:
        self._reporter, self._extract = reporter, extract
        self._method, self._path = method, path
        self._began, self._at = time.perf_counter(), now()
        self._over = False
        self.request_headers: dict[str, str] = {}
        self.request = bytearray()
        self.status = 0
        self.response_headers: dict[str, str] = {}
        self.response = bytearray()

    def keep(self, part: bytearray, data: bytes) -> None:
        if len(part) + len(data) > MOST_BYTES:
            self._over = True
        elif not self._over:
            part += data

    def end(self) -> None:
        """Hand it over. Never raises: what goes wrong is counted."""
        reporter = self._reporter
        try:
            if not 200 <= self.status < 300:
                return
            if self._over:
                reporter.count("unread", error=f"a body of more than {MOST_BYTES} bytes")
                return
            latency = int((time.perf_counter() - self._began) * 1e6)
            request = Request(self._method, self._path, self.request_headers, bytes(self.request))
            response = Response(self.status, self.response_headers, bytes(self.response))
            extract, at, version = self._extract, self._at, reporter.version()

            def make() -> list[dict[str, Any]]:
                return _as_rows(extract(request, response), at, version, latency)

            reporter.offer(make, len(request.body) + len(response.body))
        except Exception as error:
            reporter.count("unread", error=error)


def _as_rows(found: Any, at: str, version: int | None, latency: int) -> list[dict[str, Any]]:
    """What an extraction function returns (None, one prediction or several) as the gateway takes it."""
    if found is None:
        return []
    several = found if isinstance(found, list) else [found]
    rows = []
    for one in several:
        prediction = Prediction(*one)
        row = {**prediction._asdict(), "latency_us": latency}
        row["id"] = prediction.id or uuid.uuid4().hex
        row["event_time"] = prediction.event_time or at
        row["version"] = version if prediction.version is None else prediction.version
        rows.append(row)
    return rows


class WsgiMiddleware:
    """`app.wsgi_app = WsgiMiddleware(app.wsgi_app, Reporter(...))`."""

    def __init__(
        self, app: Any, reporter: Reporter, *, extract: Extract = from_json, paths: Iterable[str] | None = None
    ) -> None:
        """`paths`: the POST requests that are predictions; all of them when left out."""
        self._app, self._reporter, self._extract = app, reporter, extract
        self._paths = None if paths is None else frozenset(paths)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ.get("REQUEST_METHOD") != "POST" or (self._paths is not None and path not in self._paths):
            return self._app(environ, start_response)  # type: ignore[no-any-return]  # applications are not typed
        exchange = _Exchange(self._reporter, self._extract, "POST", path)
        exchange.request_headers = _wsgi_headers(environ)
        environ["wsgi.input"] = _Listened(environ["wsgi.input"], exchange)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            exchange.status = int(status[:3])
            exchange.response_headers = {name.lower(): value for name, value in headers}
            write = start_response(status, headers, *rest)

            def wrote(data: bytes) -> Any:
                exchange.keep(exchange.response, data)
                return write(data)

            return wrote

        answer = self._app(environ, start)
        if isinstance(answer, (list, tuple)):
            # As it came: a server may count its parts.
            for part in answer:
                exchange.keep(exchange.response, part)
            exchange.end()
            return answer
        return _Answering(answer, exchange)


def _wsgi_headers(environ: dict[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): str(value) for name, value in environ.items() if name[:5] == "HTTP_"}
    if "CONTENT_TYPE" in environ:
        headers["content-type"] = environ["CONTENT_TYPE"]
    return headers


class _Listened:
    """A request's body: what the application reads of it is kept."""

    def __init__(self, body: Any, exchange: _Exchange) -> None:
        self._body, self._exchange = body, exchange

    def _kept(self, data: bytes) -> bytes:
        self._exchange.keep(self._exchange.request, data)
        return data

    def read(self, *size: int) -> bytes:
        return self._kept(self._body.read(*size))

    def readline(self, *size: int) -> bytes:
        return self._kept(self._body.readline(*size))

    def readlines(self, *hint: int) -> list[bytes]:
        return [self._kept(line) for line in self._body.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return (self._kept(line) for line in self._body)

    def __getattr__(self, name: str) -> Any:
        """What the standard does not ask for, where the server has it: `read1` and `readinto` are listened to."""
        found = getattr(self._body, name)
        if name == "read1":
            return lambda *size: self._kept(found(*size))
        if name in ("readinto", "readinto1"):
            return lambda buffer: self._filled(buffer, found(buffer))
        return found

    def _filled(self, buffer: Any, size: int | None) -> int | None:
        self._kept(bytes(memoryview(buffer)[: size or 0]))
        return size


class _Answering:
    """A response's body on its way."""

    def __init__(self, parts: Iterable[bytes], exchange: _Exchange) -> None:
        self._parts, self._exchange = parts, exchange

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            self._exchange.keep(self._exchange.response, part)
            yield part

    def close(self) -> None:
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            self._exchange.end()


class AsgiMiddleware:
    """`app.add_middleware(AsgiMiddleware, reporter=Reporter(...))`, or `AsgiMiddleware(app, Reporter(...))`."""

    def __init__(
        self, app: Any, reporter: Reporter, *, extract: Extract = from_json, paths: Iterable[str] | None = None
    ) -> None:
        """`paths`: the POST requests that are predictions; all of them when left out."""
        self._app, self._reporter, self._extract = app, reporter, extract
        self._paths = None if paths is None else frozenset(paths)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        chosen = scope["type"] == "http" and scope["method"] == "POST"
        if not chosen or (self._paths is not None and scope["path"] not in self._paths):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(self._reporter, self._extract, "POST", scope["path"])
        exchange.request_headers = _asgi_headers(scope)

        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                exchange.keep(exchange.request, message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status, exchange.response_headers = message["status"], _asgi_headers(message)
            elif message["type"] == "http.response.body":
                exchange.keep(exchange.response, message.get("body", b""))
            await send(message)

        await self._app(scope, received, sent)
        exchange.end()


def _asgi_headers(message: Message) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message.get("headers", ())}
