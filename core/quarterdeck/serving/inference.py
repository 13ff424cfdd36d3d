"""What asks for predictions over HTTP, from its head and its body to the answer."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from quarterdeck.serving import binary, encoding, invocations, protocol
from quarterdeck.serving.access import Access
from quarterdeck.serving.gateway import Gateway, Reply
from quarterdeck.serving.refusals import refusal
from quarterdeck.traffic.prediction import CHAMPION

Headers = list[tuple[bytes, bytes]]
_JSON, _BYTES = (b"content-type", b"application/json"), (b"content-type", b"application/octet-stream")
_LENGTH = binary.LENGTH_HEADER.encode()


class Asked(msgspec.Struct, frozen=True):
    """The head of a request for predictions."""

    method: str
    path: str
    headers: dict[bytes, bytes]
    deployment: str
    version: str | None
    scoring: bool
    """By MLflow's protocol; else by the Open Inference Protocol."""


class Response(msgspec.Struct, frozen=True):
    """What is sent back; its length is still to be said."""

    status: int
    headers: Headers
    body: bytes
    reply: Reply | None = None
    """Where it is an answer: what to record once it has left."""


def asked(method: str, path: str, headers: Headers) -> Asked | None:
    """What a request asks for; None where that is no prediction."""
    match path.split("/"):
        case ["", "v2", "models", deployment, "infer"]:
            return Asked(method, path, dict(headers), deployment, None, False)
        case ["", "v2", "models", deployment, "versions", version, "infer"]:
            return Asked(method, path, dict(headers), deployment, version, False)
        case ["", "invocations", deployment]:
            return Asked(method, path, dict(headers), deployment, None, True)
    return None


class Inference:
    """Answers what asks for predictions."""

    def __init__(self, gateway: Callable[[], Gateway], *, limit: int, access: Access | None = None) -> None:
        """`gateway` gives the gateway once it has started; `limit`: bytes of the largest body; `access`: where it is
        held to tokens."""
        self._gateway = gateway
        self._limit = limit
        self._access = access

    def refused(self, asked: Asked) -> Response | None:
        """What the head is refused for; None: the body may come."""
        if self._access is not None:
            denied = self._access.refusal(asked.path, asked.headers.get(b"authorization", b"").decode("latin-1"))
            if denied is not None:
                return _told(denied.status, denied.message, denied.headers)
        if asked.method != "POST":
            return _told(405, f"{asked.path} does not take {asked.method}.", {"allow": "POST"})
        length = asked.headers.get(b"content-length", b"")
        return self.refused_at(asked, int(length)) if length.isdigit() else None

    def refused_at(self, asked: Asked, size: int) -> Response | None:
        """Whether a body of `size` bytes, or more, is too large."""
        return self._failed(asked, RequestEntityTooLarge()) if size > self._limit else None

    async def answer(self, asked: Asked, body: bytes) -> Response:
        """The answer to a whole request that was not refused. Pass it to `delivered` once it has left."""
        try:
            reply, headers = await self._reply(asked, body)
        except Exception as error:  # whatever it is, it has an answer
            return self._failed(asked, error)
        content = reply.content.body
        if len(content) >= encoding.LEAST_BYTES and encoding.takes_gzip(asked.headers.get(b"accept-encoding", b"")):
            content = await encoding.compressed(content)
            headers.append((b"content-encoding", b"gzip"))
        return Response(200, headers, content, reply)

    def delivered(self, response: Response) -> None:
        """The response has left."""
        if response.reply is not None:
            self._gateway().delivered(response.reply)

    async def _reply(self, asked: Asked, body: bytes) -> tuple[Reply, Headers]:
        said = asked.headers
        if (coding := said.get(b"content-encoding")) is not None:
            body = await encoding.decompressed(body, coding.decode("latin-1"), self._limit)
        if asked.scoring:
            kind = said.get(b"content-type", b"").decode("latin-1")
            reply = await self._gateway().infer(
                asked.deployment, lambda inputs, now: invocations.parse(body, inputs, now, kind), invocations.answer
            )
            # The body does not hold the request's id.
            return reply, [*_headers(reply), (b"x-request-id", reply.served.request.id.encode("latin-1", "replace"))]
        given = said.get(_LENGTH)
        length = None if given is None else given.decode("latin-1")
        reply = await self._gateway().infer(
            asked.deployment, lambda inputs, now: protocol.parse(body, inputs, now, length), version=asked.version
        )
        return reply, _headers(reply)

    def _failed(self, asked: Asked, error: Exception) -> Response:
        said = refusal(error, f"{asked.method} {asked.path}", limit=self._limit)
        return _told(said.status, said.message, said.headers)


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


def _told(status: int, message: str, headers: dict[str, str] | None) -> Response:
    named = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Response(status, [_JSON, *named], msgspec.json.encode({"error": message}))
