"""HTTP in, HTTP out: translates between Litestar and the gateway, and does nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from quarterdeck.errors import BusyError, NotFoundError, QuarterdeckError, RefusedError, UsageError
from quarterdeck.registry.hosted import ModelDownError, ModelTimeoutError
from quarterdeck.serving import external, protocol
from quarterdeck.serving.gateway import Gateway, NotReadyError, Reply
from quarterdeck.serving.runtime import Busy
from quarterdeck.workspace import Workspace

RETRY = {"retry-after": "1"}
GENERAL_ERROR = "The gateway could not answer this. Its log, .quarterdeck/logs, says why."
# The first that fits: a class comes before its parents.
_STATUS: tuple[tuple[type[QuarterdeckError], int], ...] = (
    (NotFoundError, 404),
    (UsageError, 400),
    (RefusedError, 409),
    (NotReadyError, 503),
    (BusyError, 503),
    (ModelTimeoutError, 504),
    (ModelDownError, 503),
)
log = logging.getLogger("quarterdeck.gateway")
AnyRequest = Request[Any, Any, Any]
_encode = msgspec.json.Encoder().encode


class InferResponse(ASGIResponse):
    """A prediction; once it has left, the gateway hears of it."""

    def __init__(self, gateway: Gateway, reply: Reply) -> None:
        super().__init__(
            body=reply.body,
            headers=[("x-model-version", str(reply.route.model.version)), ("x-revision", str(reply.route.revision))],
        )
        self._gateway = gateway
        self._reply = reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, send)
        self._gateway.delivered(self._reply)


def make_app(workspace: Workspace, gateway: Callable[[], Gateway], lifespan: list[Any]) -> Litestar:
    """The HTTP application. `gateway` gives the gateway once the application has started."""
    return Litestar(
        route_handlers=[*_health(gateway), *_models(gateway), *_reports(workspace)],
        exception_handlers={
            QuarterdeckError: _known,
            Busy: _busy,
            HTTPException: _http,
            Exception: _unforeseen,
        },
        lifespan=lifespan,
        request_max_body_size=workspace.settings.gateway.max_body_bytes,
        openapi_config=None,
        logging_config=None,
    )


def _health(gateway: Callable[[], Gateway]) -> list[Any]:
    @get("/v2", sync_to_thread=False)
    def server() -> ASGIResponse:
        return _json(200, {"name": "quarterdeck", "version": version("quarterdeck"), "extensions": []})

    @get("/v2/health/live", sync_to_thread=False)
    def live() -> ASGIResponse:
        return _json(200, {"live": True})

    @get("/v2/health/ready", sync_to_thread=False)
    def ready() -> ASGIResponse:
        return _json(200 if gateway().ready else 503, {"ready": gateway().ready})

    @get("/metrics", sync_to_thread=True)
    def metrics(request: AnyRequest) -> ASGIResponse:
        body, kind = gateway().metrics.exposition(request.headers.get("accept", ""))
        return ASGIResponse(body=body, media_type=kind)

    return [server, live, ready, metrics]


def _models(gateway: Callable[[], Gateway]) -> list[Any]:
    @get("/v2/models/{deployment:str}", sync_to_thread=False)
    def metadata(request: AnyRequest) -> ASGIResponse:
        deployment = _deployment(request)
        model = gateway().route(deployment).model
        return _json(200, protocol.metadata(deployment, model.version, model.platform, model.signature))

    @get("/v2/models/{deployment:str}/ready", sync_to_thread=False)
    def ready(request: AnyRequest) -> ASGIResponse:
        route = gateway().route(deployment := _deployment(request))
        return _json(200, {"name": deployment, "ready": True}, _versions(route.model.version, route.revision))

    @post("/v2/models/{deployment:str}/infer")
    async def infer(request: AnyRequest) -> ASGIResponse:
        reply = await gateway().infer(_deployment(request), await request.body())
        return InferResponse(gateway(), reply)

    return [metadata, ready, infer]


def _reports(workspace: Workspace) -> list[Any]:
    @post("/v2/models/{deployment:str}/predictions")
    async def predictions(request: AnyRequest) -> ASGIResponse:
        body = await request.body()
        return _json(200, await asyncio.to_thread(external.take_predictions, workspace, _deployment(request), body))

    @post("/v2/models/{deployment:str}/labels")
    async def labels(request: AnyRequest) -> ASGIResponse:
        body = await request.body()
        return _json(200, await asyncio.to_thread(external.take_labels, workspace, _deployment(request), body))

    return [predictions, labels]


def _deployment(request: AnyRequest) -> str:
    name: str = request.path_params["deployment"]
    return name


def _json(status: int, content: object, headers: dict[str, str] | None = None) -> ASGIResponse:
    return ASGIResponse(body=_encode(content), status_code=status, headers=headers)


def _versions(version: int, revision: int) -> dict[str, str]:
    return {"x-model-version": str(version), "x-revision": str(revision)}


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Response[Any]:
    # The protocol's error is an object with one key.
    return Response({"error": message}, status_code=status, headers=headers)


def _known(request: AnyRequest, error: QuarterdeckError) -> Response[Any]:
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return _error(status, str(error), RETRY if status == 503 else None)
    log.error("%s %s: %s", request.method, request.url.path, error)
    return _error(500, str(error))


def _busy(request: AnyRequest, error: Busy) -> Response[Any]:
    return _error(503, "Too many requests are waiting for an answer. Try again in a second.", RETRY)


def _http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    if error.status_code == 413:
        limit = request.app.request_max_body_size
        return _error(413, f"The body is larger than {limit} bytes, which max_body_bytes under [gateway] sets.")
    if error.status_code == 404:
        return _error(404, f"There is nothing at {request.url.path}. Predictions are at /v2/models/DEPLOYMENT/infer.")
    if error.status_code == 405:
        return _error(405, f"{request.url.path} does not take {request.method}.", error.headers)
    return _error(error.status_code, error.detail if error.status_code < 500 else GENERAL_ERROR)


def _unforeseen(request: AnyRequest, error: Exception) -> Response[Any]:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error(500, GENERAL_ERROR)
