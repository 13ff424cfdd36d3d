"""A request for predictions and its answer on one connection: straight, since ASGI's way would take a third longer."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from quarterdeck.serving.inference import Asked, Inference, Response

if TYPE_CHECKING:
    from quarterdeck.serving.connections import Joined

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Exchange(RequestResponseCycle):
    """Stands on its connection where uvicorn's cycle of an ASGI application stands otherwise."""

    transport: Joined

    def __init__(self, inference: Inference, asked: Asked, tasks: Collection[Any], **given: Any) -> None:
        """`tasks`: requests that are being answered now; `given`: what uvicorn's cycle takes."""
        super().__init__(**given)
        self._inference = inference
        self._asked = asked
        self._tasks = tasks
        self.begun = False
        """Earlier requests of the connection have their answers."""

    def begin(self) -> None:
        """It is this request's turn, of which the head is there: refuse it already, or let the client go on."""
        self.begun = True
        refused = self._inference.refused(self._asked) or self._inference.refused_at(self._asked, len(self.body))
        if refused is not None:
            self._respond(refused)
        elif self.waiting_for_100_continue:
            self.waiting_for_100_continue = False
            self.transport.send(_CONTINUE)

    def take(self, body: bytes) -> None:
        """More of the body is there."""
        self.body += body
        if self.begun and (refused := self._inference.refused_at(self._asked, len(self.body))) is not None:
            self._respond(refused)

    async def run(self) -> None:
        """Answer the whole request."""
        response = await self._inference.answer(self._asked, bytes(self.body))
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        self._respond(response)
        self._inference.delivered(response)

    def _respond(self, response: Response) -> None:
        if self.disconnected or self.response_complete or self.transport.is_closing():
            return
        self.response_started = self.response_complete = True
        self.body.clear()
        content = [STATUS_LINE[response.status]]
        for name, value in (*self.default_headers, *response.headers):
            content += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            content.append(b"connection: close\r\n")
        content.append(b"content-length: %d\r\n\r\n" % len(response.body))
        if self._asked.method != "HEAD":
            content.append(response.body)
        if len(self._tasks) > 1:
            # Others are about to be answered too: all their clients are woken at once, and each less often.
            self.transport.write(b"".join(content))
        else:
            self.transport.send(b"".join(content))
        if not self.keep_alive:
            self.transport.close()
        answered = self.on_response
        self.let_go()
        answered()

    def let_go(self) -> None:
        """Nothing more is said to the connection: what refers to each other would wait for the garbage collector."""
        self.on_response = _nothing


def _nothing() -> None:
    pass
