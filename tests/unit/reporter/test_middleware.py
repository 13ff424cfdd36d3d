"""Middleware: the service answers byte for byte as without it, and its predictions are read from what passed."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from quarterdeck_reporter import AsgiMiddleware, Prediction, Reporter, Request, Response, WsgiMiddleware, from_json
from quarterdeck_reporter import middleware as middleware_module
from tests.unit.reporter.receiving import Gateway, receiving

JSON = [("Content-Type", "application/json")]
BODY = {"rooms": 3, "area": 71.5}


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with receiving() as gateway:
        yield gateway


@pytest.fixture
def reporter(gateway: Gateway) -> Reporter:
    return Reporter(gateway.url, "pricing", version=2, every=0.01)


def request(asked: Any, path: str = "/predict", headers: dict[str, str] | None = None) -> Request:
    return Request("POST", path, headers or {}, json.dumps(asked).encode())


def response(answered: Any, headers: dict[str, str] | None = None) -> Response:
    return Response(200, headers or {}, json.dumps(answered).encode())


@pytest.mark.parametrize(
    ("asked", "answered", "found"),
    [
        (BODY, {"prediction": 4.5}, [(BODY, 4.5, None, None)]),
        (BODY, 4.5, [(BODY, 4.5, None, None)]),
        ({"inputs": BODY, "key": "k"}, {"result": "yes", "version": 3}, [(BODY, "yes", 3, "k")]),
        ({**BODY, "id": 7}, {"prediction": 0, "model_version": "5"}, [({**BODY, "id": 7}, 0, 5, 7)]),
        ([BODY, BODY], [1, 0], [(BODY, 1, None, None), (BODY, 0, None, None)]),
        ({"instances": [[3, 71.5]]}, {"predictions": [{"label": "no"}]}, [([3, 71.5], "no", None, None)]),
        ({"inputs": [3, 71.5]}, {"output": 1}, [([3, 71.5], 1, None, None)]),
        (
            {"dataframe_split": {"columns": ["rooms", "area"], "data": [[3, 71.5]]}},
            {"predictions": [1]},
            [(BODY, 1, None, None)],
        ),
    ],
)
def test_common_json_is_read(asked: Any, answered: Any, found: list[tuple[Any, ...]]) -> None:
    assert [tuple(one[:4]) for one in from_json(request(asked), response(answered))] == found


def test_the_header_says_the_version_and_what_cannot_be_paired_is_an_error() -> None:
    (one,) = from_json(request(BODY), response(1, {"x-model-version": "8"}))
    assert one.version == 8
    for asked, answered in (([BODY, BODY], [1]), (BODY, {"status": "ok"})):
        with pytest.raises(ValueError, match="extraction function"):
            from_json(request(asked), response(answered))


def wsgi(application: Callable[..., Any], body: bytes, **environ: Any) -> tuple[str, list[Any], bytes]:
    """One request as a server makes it."""
    surroundings: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/predict",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        **environ,
    }
    setup_testing_defaults(surroundings)
    started: list[Any] = []

    def start(status: str, headers: list[Any], exc_info: Any = None) -> Callable[[bytes], None]:
        started[:] = [status, headers]
        return lambda data: None

    answer = application(surroundings, start)
    try:
        content = b"".join(answer)
    finally:
        if hasattr(answer, "close"):
            answer.close()
    return started[0], started[1], content


def generating(environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
    asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start("200 OK", JSON)
    yield b'{"prediction": '
    yield str(asked["rooms"]).encode() + b"}"


def listing(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    asked = json.loads(b"".join(environ["wsgi.input"]))
    start("200 OK", JSON)
    return [json.dumps({"prediction": asked["rooms"]}).encode()]


def filling(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    """Reads as Werkzeug does."""
    buffer = bytearray(4096)
    size = environ["wsgi.input"].readinto(buffer)
    return listing({"wsgi.input": [bytes(buffer[:size]), environ["wsgi.input"].read1(10)]}, start)


@pytest.mark.parametrize("application", [generating, listing, filling])
def test_a_wsgi_service_answers_as_before_and_is_reported(
    application: Callable[..., Any], reporter: Reporter, gateway: Gateway
) -> None:
    body = json.dumps(BODY).encode()
    assert wsgi(WsgiMiddleware(application, reporter), body) == wsgi(application, body)
    assert reporter.flush(20)
    (row,) = gateway.rows
    assert (row["inputs"], row["prediction"], row["version"], row["latency_us"] >= 0) == (BODY, 3, 2, True)


def test_what_is_no_prediction_is_passed_on_unread(reporter: Reporter, gateway: Gateway) -> None:
    def refusing(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start("400 BAD REQUEST", JSON)
        return [b"{}"]

    watched = WsgiMiddleware(generating, reporter, paths=["/predict"])
    body = json.dumps(BODY).encode()
    assert wsgi(watched, body, PATH_INFO="/train")[2] == b'{"prediction": 3}'
    wsgi(WsgiMiddleware(refusing, reporter), body)
    wsgi(WsgiMiddleware(listing, reporter), body, REQUEST_METHOD="PUT")
    assert reporter.counts == {"sent": 0, "dropped": 0, "refused": 0, "unread": 0, "waiting": 0}


def test_an_error_of_the_service_is_its_own(reporter: Reporter) -> None:
    def failing(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        raise KeyError("rooms")

    with pytest.raises(KeyError):
        wsgi(WsgiMiddleware(failing, reporter), b"{}")


def test_an_extraction_that_fails_or_a_body_that_is_large_is_counted(
    reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(BODY).encode()
    for extract in (lambda asked, answered: 1 / 0, lambda asked, answered: [("too", "many", 1, 2, 3, 4, 5, 6)]):
        assert wsgi(WsgiMiddleware(listing, reporter, extract=extract), body)[2] == b'{"prediction": 3}'
    monkeypatch.setattr(middleware_module, "MOST_BYTES", 10)
    assert wsgi(WsgiMiddleware(listing, reporter), body)[2] == b'{"prediction": 3}'
    assert reporter.flush(20)
    assert (reporter.counts["unread"], reporter.counts["sent"]) == (3, 0)


def test_an_extraction_of_ones_own_says_all_of_it(reporter: Reporter, gateway: Gateway) -> None:
    def extract(asked: Request, answered: Response) -> list[Prediction]:
        assert asked.headers["content-type"] == "text/plain"
        return [Prediction({"text": asked.body.decode()}, answered.json()["prediction"], 7, "key", [0.5, 0.5], "id")]

    wsgi(
        WsgiMiddleware(
            lambda environ, start: (environ["wsgi.input"].read(), listing_of(start))[1], reporter, extract=extract
        ),
        b"hello",
        CONTENT_TYPE="text/plain",
    )
    wsgi(WsgiMiddleware(listing, reporter, extract=lambda asked, answered: None), json.dumps(BODY).encode())
    assert reporter.flush(20)
    (row,) = gateway.rows
    assert (row["inputs"], row["version"], row["key"], row["probabilities"], row["id"]) == (
        {"text": "hello"},
        7,
        "key",
        [0.5, 0.5],
        "id",
    )


def listing_of(start: Callable[..., Any]) -> list[bytes]:
    start("200 OK", JSON)
    return [b'{"prediction": 1}']


def test_an_asgi_service_answers_as_before_and_is_reported(reporter: Reporter, gateway: Gateway) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        first, second = await receive(), await receive()
        asked = json.loads(first["body"] + second["body"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Model-Version", b"4")]})
        await send({"type": "http.response.body", "body": b'{"predict', "more_body": True})
        await send({"type": "http.response.body", "body": b'ion": %d}' % asked["rooms"]})

    body = json.dumps(BODY).encode()
    parts = [{"type": "http.request", "body": body[:5], "more_body": True}, {"type": "http.request", "body": body[5:]}]
    sent: list[Any] = []

    async def serve(app: Any) -> None:
        waiting = iter(parts)

        async def receive() -> Any:
            return next(waiting)

        async def send(message: Any) -> None:
            sent.append(message)

        await app({"type": "lifespan"}, receive, send)
        await app({"type": "http", "method": "POST", "path": "/predict", "headers": []}, receive, send)

    asyncio.run(serve(application))
    without, sent = sent, []
    asyncio.run(serve(AsgiMiddleware(application, reporter)))
    assert sent == without
    assert reporter.flush(20)
    (row,) = gateway.rows
    assert (row["inputs"], row["prediction"], row["version"]) == (BODY, 3, 4)
