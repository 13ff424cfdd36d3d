"""HTTP in, HTTP out: translates between Litestar and the gateway, and does nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException

from quarterdeck.errors import BusyError, NotFoundError, QuarterdeckError, RefusedError, UsageError
from quarterdeck.registry.hosted import ModelDownError, ModelTimeoutError
from quarterdeck.serving import binary, encoding, external, invocations, openapi, protocol
from quarterdeck.serving.fallback import FallbackError
from quarterdeck.serving.gateway import Gateway, NotReadyError
from quarterdeck.serving.responses import Answer, InferAnswer, as_json
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
    (FallbackError, 503),
    (BusyError, 503),
    (ModelTimeoutError, 504),
    (ModelDownError, 503),
)
log = logging.getLogger("quarterdeck.gateway")
AnyRequest = Request[Any, Any, Any]


def make_app(workspace: Workspace, gateway: Callable[[], Gateway], lifespan: list[Any]) -> Litestar:
    """The HTTP application. `gateway` gives the gateway once the application has started."""
    settings = workspace.settings.gateway
    return Litestar(
        route_handlers=[*_health(gateway, token=settings.require_token), *_models(gateway), *_reports(workspace)],
        exception_handlers={
            QuarterdeckError: _known,
            Busy: _busy,
            HTTPException: _http,
            Exception: _unforeseen,
        },
        lifespan=lifespan,
        request_max_body_size=settings.max_body_bytes,
        openapi_config=None,
        logging_config=None,
    )


def _health(gateway: Callable[[], Gateway], *, token: bool) -> list[Any]:
    @get("/v2", sync_to_thread=False)
    def server() -> Answer:
        return as_json(
            200, {"name": "quarterdeck", "version": version("quarterdeck"), "extensions": [binary.EXTENSION]}
        )

    @get("/v2/health/live", sync_to_thread=False)
    def live() -> Answer:
        return as_json(200, {"live": True})

    @get("/v2/health/ready", sync_to_thread=False)
    def ready() -> Answer:
        return as_json(200 if gateway().ready else 503, {"ready": gateway().ready})

    @get("/metrics", sync_to_thread=True)
    def metrics(request: AnyRequest) -> Answer:
        body, kind = gateway().metrics.exposition(request.headers.get("accept", ""))
        return Answer(body=body, media_type=kind)

    @get("/openapi.json", sync_to_thread=True)
    def document() -> Answer:
        return as_json(200, openapi.document(gateway().routes(), version("quarterdeck"), token=token))

    return [server, live, ready, metrics, document]


def _models(gateway: Callable[[], Gateway]) -> list[Any]:
    @get(_with_version(""), sync_to_thread=False)
    def metadata(request: AnyRequest) -> Answer:
        deployment = _deployment(request)
        model = gateway().route(deployment, _version(request)).model
        return as_json(200, protocol.metadata(deployment, model.version, model.platform, model.signature))

    @get(_with_version("/ready"), sync_to_thread=False)
    def ready(request: AnyRequest) -> Answer:
        route = gateway().route(deployment := _deployment(request), _version(request))
        return as_json(200, {"name": deployment, "ready": True}, _versions(route.model.version, route.revision))

    @post(_with_version("/infer"))
    async def infer(request: AnyRequest) -> InferAnswer:
        said = _said(request)
        body = await _body(request, said)
        length = said.get(_LENGTH)
        reply = await gateway().infer(
            _deployment(request),
            lambda inputs, now: protocol.parse(body, inputs, now, length),
            version=_version(request),
        )
        return InferAnswer(gateway(), reply)

    @post("/invocations/{deployment:str}")
    async def invocations_(request: AnyRequest) -> InferAnswer:
        said = _said(request)
        body = await _body(request, said)
        kind = said.get(b"content-type", "")
        reply = await gateway().infer(
            _deployment(request),
            lambda inputs, now: invocations.parse(body, inputs, now, kind),
            invocations.answer,
        )
        return InferAnswer(gateway(), reply, with_id=True)

    return [metadata, ready, infer, invocations_]


def _with_version(end: str) -> list[str]:
    """The path of a model's route, without and with the version."""
    return [f"/v2/models/{{deployment:str}}{end}", f"/v2/models/{{deployment:str}}/versions/{{version:str}}{end}"]


def _reports(workspace: Workspace) -> list[Any]:
    @post("/v2/models/{deployment:str}/predictions")
    async def predictions(request: AnyRequest) -> Answer:
        body = await _body(request, _said(request))
        return as_json(200, await asyncio.to_thread(external.take_predictions, workspace, _deployment(request), body))

    @post("/v2/models/{deployment:str}/labels")
    async def labels(request: AnyRequest) -> Answer:
        body = await _body(request, _said(request))
        return as_json(200, await asyncio.to_thread(external.take_labels, workspace, _deployment(request), body))

    return [predictions, labels]


_LENGTH = binary.LENGTH_HEADER.encode()
_READ = frozenset({_LENGTH, b"content-encoding", b"content-type"})


def _said(request: AnyRequest) -> dict[bytes, str]:
    """Those of the headers that say how the body is to be read."""
    # Litestar's own headers are made of all of them, which takes longer than the rest of a request's way.
    return {name: value.decode("latin-1") for name, value in request.scope["headers"] if name in _READ}


async def _body(request: AnyRequest, said: dict[bytes, str]) -> bytes:
    """The body, not larger than `gateway.max_body_bytes` as it came, nor once it is not compressed any more."""
    body = await request.body()
    coding, limit = said.get(b"content-encoding"), request.app.request_max_body_size
    return await encoding.decompressed(body, coding, limit) if coding and isinstance(limit, int) else body


def _deployment(request: AnyRequest) -> str:
    name: str = request.path_params["deployment"]
    return name


def _version(request: AnyRequest) -> str | None:
    asked: str | None = request.path_params.get("version")
    return asked


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
        return _error(
            404,
            f"There is nothing at {request.url.path}. Predictions are at /v2/models/DEPLOYMENT/infer, and "
            "the list of all routes is at /openapi.json.",
        )
    if error.status_code == 405:
        return _error(405, f"{request.url.path} does not take {request.method}.", error.headers)
    return _error(error.status_code, error.detail if error.status_code < 500 else GENERAL_ERROR)


def _unforeseen(request: AnyRequest, error: Exception) -> Response[Any]:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error(500, GENERAL_ERROR)
