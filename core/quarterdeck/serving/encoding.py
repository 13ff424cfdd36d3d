"""Bodies that are compressed on their way: gzip and deflate in, within a bound, and gzip out."""

from __future__ import annotations

import asyncio
import zlib

from litestar.exceptions import HTTPException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from quarterdeck.serving.columns import BadInput

LEAST_BYTES = 1400
"""A smaller answer is one packet on the network whether it is compressed or not."""
AT_ONCE_BYTES = 32 * 1024
"""Compressed on the event loop up to this; that takes less than half a millisecond."""
LEVEL = 1
_GZIP, _ZLIB = 31, 15
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


async def decompressed(body: bytes, coding: str, limit: int) -> bytes:
    """`body` as it was before `coding`, the header's Content-Encoding, was applied.

    Raises:
        RequestEntityTooLarge: it would be larger than `limit` bytes; not more than that is ever made of it.
        HTTPException: 415, the coding is not known.
        BadInput: the body is not compressed by it, or ends early.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in _WINDOWS:
        raise HTTPException(
            f"The content-encoding '{coding[:60]}' is not known. Known: gzip, deflate.", status_code=415
        )
    try:
        return await asyncio.to_thread(_inflate, body, _WINDOWS[coding], limit)
    except zlib.error as error:
        raise BadInput(f"The body is not compressed by {coding}: {error}.") from None


def _inflate(body: bytes, window: int, limit: int) -> bytes:
    stream = zlib.decompressobj(window)
    content = stream.decompress(body, limit + 1)
    if len(content) > limit:
        raise RequestEntityTooLarge
    if not stream.eof:
        raise BadInput("The compressed body ends early.")
    if stream.unused_data:
        raise BadInput(f"{len(stream.unused_data)} bytes follow the end of the compressed body.")
    return content


def takes_gzip(accept: bytes) -> bool:
    """Whether an Accept-Encoding header asks for gzip."""
    for part in accept.lower().split(b","):
        name, _, quality = part.partition(b";")
        if name.strip() == b"gzip":
            return quality.replace(b" ", b"").rstrip(b"0.") != b"q="
    return False


async def compressed(body: bytes) -> bytes:
    """`body` by gzip; a large one in a thread."""
    return _deflate(body) if len(body) <= AT_ONCE_BYTES else await asyncio.to_thread(_deflate, body)


def _deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(LEVEL, wbits=_GZIP)
    return stream.compress(body) + stream.flush()
