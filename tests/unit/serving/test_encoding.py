"""Compressed bodies: taken within a bound, told what is wrong with them, and sent where they are asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.exceptions import HTTPException
from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from quarterdeck.serving import encoding
from quarterdeck.serving.columns import BadInput

CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "GZIP ": gzip.compress,
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("body", [b"", b"[1, 2]", b"x" * 100_000])
async def test_a_compressed_body_is_as_it_was_before(coding: str, body: bytes) -> None:
    assert await encoding.decompressed(CODINGS[coding](body), coding, 100_000) == body


async def test_identity_is_no_compression() -> None:
    assert await encoding.decompressed(b"[1]", "identity", 10) == b"[1]"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_is_too_large_and_is_not_unpacked(coding: str) -> None:
    bomb = CODINGS[coding](b"\0" * 50_000_000)
    with pytest.raises(RequestEntityTooLarge):
        await encoding.decompressed(bomb, coding, 100_000)
    with pytest.raises(RequestEntityTooLarge):
        await encoding.decompressed(CODINGS[coding](b"x" * 11), coding, 10)
    assert await encoding.decompressed(CODINGS[coding](b"x" * 10), coding, 10) == b"x" * 10


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b"", "ends early", id="empty"),
        pytest.param(b"[1, 2]", "not compressed by gzip", id="plain"),
        pytest.param(gzip.compress(b"abc" * 100)[:-9], "ends early", id="cut"),
        pytest.param(gzip.compress(b"abc") + b"more", "4 bytes follow the end", id="longer"),
        pytest.param(gzip.compress(b"abc")[:-8] + b"\0" * 8, "not compressed by gzip", id="wrong sum"),
    ],
)
async def test_a_body_that_is_not_what_its_header_says_is_bad_input(body: bytes, expected: str) -> None:
    with pytest.raises(BadInput, match=expected):
        await encoding.decompressed(body, "gzip", 1000)


async def test_an_unknown_coding_is_a_415_that_names_the_known_ones() -> None:
    with pytest.raises(HTTPException, match="Known: gzip, deflate") as raised:
        await encoding.decompressed(b"x", "br", 1000)
    assert raised.value.status_code == 415


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"gzip; q=1.0", True),
        (b"gzip;q=0", False),
        (b"gzip; q=0.00", False),
        (b"identity", False),
        (b"", False),
        (b"gzipped", False),
    ],
)
def test_gzip_is_sent_where_it_is_asked_for(accept: bytes, expected: bool) -> None:
    assert encoding.takes_gzip(accept) is expected


@given(st.binary(max_size=80))
def test_any_header_is_read(accept: bytes) -> None:
    assert encoding.takes_gzip(accept) in (True, False)


@pytest.mark.parametrize("size", [10, encoding.AT_ONCE_BYTES + 1])
async def test_an_answer_is_compressed_by_gzip(size: int) -> None:
    body = b"0.25," * size
    packed = await encoding.compressed(body)
    assert gzip.decompress(packed) == body
