"""The way of a prediction over HTTP: by ASGI itself, since a framework's way would take longer than all the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from litestar.enums import ScopeType
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import ASGIApp, Receive, Scope, Send

from quarterdeck.serving import binary, encoding, invocations, protocol
from quarterdeck.serving.gateway import CHAMPION, Gateway, Reply
from quarterdeck.serving.refusals import Refusal, refusal

Headers = list[tuple[bytes, bytes]]
_JSON, _BYTES = (b"content-type", b"application/json"), (b"content-type", b"application/octet-stream")
_LENGTH = binary.LENGTH_HEADER.encode()


class _ClientGoneError(Exception):
    """Nobody waits for an answer any more."""


class Inference:
    """Answers what asks for predictions; all else goes on to the application behind it."""

    def __init__(self, app: ASGIApp, gateway: Callable[[], Gateway], *, limit: int) -> None:
        """`gateway` gives the gateway once the application has started; `limit`: bytes of the largest body."""
        self._app = app
        self._gateway = gateway
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or (asked := _asked(scope["path"])) is None:
            await self._app(scope, receive, send)
            return
        said = dict(scope["headers"])
        try:
            if scope["method"] != "POST":
                told = Refusal(405, f"{scope['path']} does not take {scope['method']}.", {"allow": "POST"})
                await _refuse(send, told)
                return
            reply, headers = await self._reply(*asked, said, receive)
        except _ClientGoneError:
            return
        except Exception as error:  # whatever it is, it has an answer
            await _refuse(send, refusal(error, f"{scope['method']} {scope['path']}", limit=self._limit))
            return
        body = reply.content.body
        if len(body) >= encoding.LEAST_BYTES and encoding.takes_gzip(said.get(b"accept-encoding", b"")):
            body = await encoding.compressed(body)
            headers.append((b"content-encoding", b"gzip"))
        await _send(send, 200, headers, body)
        self._gateway().delivered(reply)

    async def _reply(
        self, deployment: str, version: str | None, scoring: bool, said: dict[bytes, bytes], receive: Receive
    ) -> tuple[Reply, Headers]:
        """The answer with its headers. `scoring`: by MLflow's protocol; `said`: the request's headers."""
        body = await _body(receive, said, self._limit)
        if scoring:
            kind = said.get(b"content-type", b"").decode("latin-1")
            reply = await self._gateway().infer(
                deployment, lambda inputs, now: invocations.parse(body, inputs, now, kind), invocations.answer
            )
            # The body does not hold the request's id.
            return reply, [*_headers(reply), (b"x-request-id", reply.served.request.id.encode("latin-1", "replace"))]
        given = said.get(_LENGTH)
        length = None if given is None else given.decode("latin-1")
        reply = await self._gateway().infer(
            deployment, lambda inputs, now: protocol.parse(body, inputs, now, length), version=version
        )
        return reply, _headers(reply)


def _asked(path: str) -> tuple[str, str | None, bool] | None:
    """The deployment and its version, and whether it is MLflow's protocol; None where no prediction is asked for."""
    match path.split("/"):
        case ["", "v2", "models", deployment, "infer"]:
            return deployment, None, False
        case ["", "v2", "models", deployment, "versions", version, "infer"]:
            return deployment, version, False
        case ["", "invocations", deployment]:
            return deployment, None, True
    return None


async def _body(receive: Receive, said: dict[bytes, bytes], limit: int) -> bytes:
    """The body, not larger than `limit` as it came, nor once it is not compressed any more."""
    length = said.get(b"content-length", b"")
    if length.isdigit() and int(length) > limit:
        raise RequestEntityTooLarge
    parts, size = [], 0
    while True:
        message: dict[str, Any] = dict(await receive())
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        parts.append(message["body"])
        size += len(message["body"])
        if size > limit:
            raise RequestEntityTooLarge
        if not message["more_body"]:
            break
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    coding = said.get(b"content-encoding")
    return body if coding is None else await encoding.decompressed(body, coding.decode("latin-1"), limit)


def _headers(reply: Reply) -> Headers:
    content, served = reply.content, reply.served
    headers = [_JSON, (b"x-revision", b"%d" % served.revision)]
    if served.version:
        headers.append((b"x-model-version", b"%d" % served.version))
    if served.variant != CHAMPION:
        headers.append((b"x-variant", served.variant.encode()))
    if content.json_length is not None:
        headers[0] = _BYTES
        headers.append((_LENGTH, b"%d" % content.json_length))
    return headers


async def _refuse(send: Send, said: Refusal) -> None:
    headers = [_JSON, *((name.encode(), value.encode()) for name, value in (said.headers or {}).items())]
    await _send(send, said.status, headers, msgspec.json.encode({"error": said.message}))


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
