"""One client's connection, held to bounds that uvicorn does not set: the size of a head, and the time of a request."""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from quarterdeck.serving.exchange import Exchange
from quarterdeck.serving.inference import Asked, Inference, asked

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from uvicorn._types import ASGI3Application

HEAD_BYTES = 64 * 1024
"""Largest request line with headers."""
REQUEST_SECONDS = 30.0
"""From the first byte of a request, or from the connection, to the last byte of its body."""
KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle between two requests: longer than proxies keep theirs."""
UNREAD_BYTES = 32 * 1024 * 1024
"""How much of a body is still taken, and forgotten, once it was answered: a client that sends it all before it reads
gets its answer that way."""
MOST_FILES = 65_536
SPARE_FILES = 128
"""Descriptors for databases, models and logs, which connections may not take."""
_TOO_LARGE = b"431 Request Header Fields Too Large", b"The request's head is larger than 64 kB."
_TOO_SLOW = b"408 Request Timeout", b"The request did not arrive within 30 seconds."
_TOO_MANY = b"503 Service Unavailable", b"Too many connections are open. Try again in a second."


def take_all_descriptors() -> int:
    """Raise this process's limit of open files to what it may have; how many connections fit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(SPARE_FILES, limit - SPARE_FILES)


class Joined(asyncio.Transport):
    """Sends what is written in one turn of the event loop at once: head and body of a response are one packet then.

    Two would cost a system call more, and wake the client for a head that it can do nothing with.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(bytes(data))

    def send(self, data: bytes) -> None:
        """Write it now, after what was written before."""
        self._parts.append(data)
        self._send()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _send(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(b"".join(parts))


class Connection(HttpToolsProtocol):
    """Refuses heads that do not end, requests that trickle in, and connections for which there is no descriptor."""

    most = MOST_FILES
    """Connections at once; set once for the process."""
    request_seconds = REQUEST_SECONDS
    inference: Inference
    """Answers what asks for predictions, all else goes to the ASGI application; set once for the process."""
    _timer: TimerHandle | None = None
    _head_bytes = 0
    _unread_bytes = 0
    _arriving = False
    """A request has begun, and not all of it is there."""
    _in_head = False
    _ended_one = False
    """The data that are being read hold the end of a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.transport = Joined(transport, self.loop)
        if len(self.connections) > self.most:
            self._refuse(*_TOO_MANY)
            return
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)
        if isinstance(self.cycle, Exchange):
            self.cycle.let_go()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return  # Refused; what was on its way is of no use.
        self._ended_one = False
        super().data_received(data)
        if not self._arriving:
            return
        # Only for what did not come as a whole: most requests do.
        self._start_timer()
        cycle: RequestResponseCycle | None = self.cycle
        if not self._in_head and cycle is not None and cycle.response_complete:
            self._unread_bytes += len(data)
            if self._unread_bytes > UNREAD_BYTES:
                self.transport.close()
        # After the end of another request who knows how much of the data is head: the next will tell.
        if self._in_head and not self._ended_one and self.parser is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(*_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._arriving = self._in_head = True
        self._head_bytes = self._unread_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        path = unquote(httptools.parse_url(self.url).path.decode("ascii"))
        request = asked(self.parser.get_method().decode("ascii"), path, self.headers)
        if request is None:
            super().on_headers_complete()
            return
        before: RequestResponseCycle | None = self.cycle
        self.cycle = exchange = self._exchange(request)
        if before is None or before.response_complete:
            exchange.begin()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def _exchange(self, request: Asked) -> Exchange:
        return Exchange(
            self.inference,
            request,
            self.tasks,
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )

    def on_body(self, body: bytes) -> None:
        if not isinstance(self.cycle, Exchange):
            super().on_body(body)
        elif not self.cycle.response_complete:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        self._arriving, self._ended_one = False, True
        self._stop_timer()
        super().on_message_complete()
        if isinstance(self.cycle, Exchange) and self.cycle.begun:
            self._answer(self.cycle)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # uvicorn calls this for the next of several requests that came at once.
        if not isinstance(cycle, Exchange):
            super()._start_asgi_task(cycle, app)
            return
        # In a turn of its own: thousands that are refused one by one would be thousands of calls within each other.
        self.loop.call_soon(self._begin, cycle)

    def _begin(self, exchange: Exchange) -> None:
        exchange.begin()
        if not exchange.more_body:
            self._answer(exchange)

    def _answer(self, exchange: Exchange) -> None:
        if exchange.response_complete:
            return
        task = self.loop.create_task(exchange.run())
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.request_seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_started and not cycle.response_complete:
            self.transport.close()  # Half of an answer is out: another one cannot follow it.
        else:
            self._refuse(*_TOO_SLOW)

    def send_400_response(self, msg: str) -> None:
        self._refuse(b"400 Bad Request", msg.encode())

    def _refuse(self, status: bytes, why: bytes) -> None:
        body = b'{"error":"' + why + b'"}'
        head = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (status, len(body))
        # What does not fit will not fit in a second either.
        again = b"retry-after: 1\r\n" if status.startswith(b"503") else b""
        self.transport.write(head + again + b"connection: close\r\n\r\n" + body)
        self.transport.close()
