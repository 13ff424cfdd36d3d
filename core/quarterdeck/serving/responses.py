"""Answers of the application behind the predictions: JSON, compressed where the client asks for it."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from quarterdeck.serving import encoding

_encode = msgspec.json.Encoder().encode


class Answer(ASGIResponse):
    """An answer of the gateway."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(self.body) >= encoding.LEAST_BYTES and encoding.takes_gzip(_accepted(scope)):
            self.body = await encoding.compressed(self.body)
            self.headers["content-encoding"] = "gzip"
            self.headers["content-length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def as_json(status: int, content: object, headers: dict[str, str] | None = None) -> Answer:
    """`content` as JSON."""
    return Answer(body=_encode(content), status_code=status, headers=headers)


def _accepted(scope: Scope) -> bytes:
    headers: list[tuple[bytes, Any]] = list(scope["headers"])
    return next((value for name, value in headers if name == b"accept-encoding"), b"")
