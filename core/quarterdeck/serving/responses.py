"""Answers over HTTP: JSON or bytes, compressed where the client asks for it."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from quarterdeck.serving import binary, encoding
from quarterdeck.serving.gateway import CHAMPION, Gateway, Reply

BYTES = "application/octet-stream"
_encode = msgspec.json.Encoder().encode


class Answer(ASGIResponse):
    """An answer of the gateway."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(self.body) >= encoding.LEAST_BYTES and encoding.takes_gzip(_accepted(scope)):
            self.body = await encoding.compressed(self.body)
            self.headers["content-encoding"] = "gzip"
            self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


class InferAnswer(Answer):
    """A prediction; once it has left, the gateway hears of it."""

    def __init__(self, gateway: Gateway, reply: Reply, *, with_id: bool = False) -> None:
        """`with_id`: the body does not hold the request's id, so a header does."""
        content, served = reply.content, reply.served
        headers = [("x-revision", str(served.revision))]
        if served.version:
            headers.append(("x-model-version", str(served.version)))
        if served.variant != CHAMPION:
            headers.append(("x-variant", served.variant))
        if with_id:
            headers.append(("x-request-id", served.request.id))
        if content.json_length is None:
            super().__init__(body=content.body, headers=headers)
        else:
            headers.append((binary.LENGTH_HEADER, str(content.json_length)))
            super().__init__(body=content.body, headers=headers, media_type=BYTES)
        self._gateway = gateway
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)
        self._gateway.delivered(self._reply)


def as_json(status: int, content: object, headers: dict[str, str] | None = None) -> Answer:
    """`content` as JSON."""
    return Answer(body=_encode(content), status_code=status, headers=headers)


def _accepted(scope: Scope) -> bytes:
    headers: list[tuple[bytes, Any]] = list(scope["headers"])
    return next((value for name, value in headers if name == b"accept-encoding"), b"")
