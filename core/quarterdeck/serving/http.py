"""HTTP in, HTTP out: translates between Litestar and the gateway, and does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from litestar import Litestar, Request, Response, get, head, post
from litestar.exceptions import HTTPException

from quarterdeck.errors import QuarterdeckError
from quarterdeck.serving import binary, encoding, external, openapi, protocol
from quarterdeck.serving.gateway import Gateway, NotReadyError
from quarterdeck.serving.refusals import refusal
from quarterdeck.serving.responses import Answer, as_json
from quarterdeck.workspace import Workspace

AnyRequest = Request[Any, Any, Any]


def make_app(workspace: Workspace, gateway: Callable[[], Gateway], lifespan: list[Any]) -> Litestar:
    """The HTTP application behind the predictions. `gateway` gives the gateway once the application has started."""
    settings = workspace.settings.gateway
    return Litestar(
        route_handlers=[*_health(gateway, token=settings.require_token), *_models(gateway), *_reports(workspace)],
        exception_handlers={QuarterdeckError: _failed, HTTPException: _http, Exception: _failed},
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

    # Load balancers ask for the status alone.
    @head("/v2/health/live", sync_to_thread=False)
    def live_status() -> None:
        return None

    @head("/v2/health/ready", sync_to_thread=False)
    def ready_status() -> None:
        if not gateway().ready:
            raise NotReadyError("The gateway has not tried to load all that it is to serve.")

    @get("/metrics", sync_to_thread=True)
    def metrics(request: AnyRequest) -> Answer:
        body, kind = gateway().metrics.exposition(request.headers.get("accept", ""))
        return Answer(body=body, headers={"content-type": kind})

    @get("/openapi.json", sync_to_thread=True)
    def document() -> Answer:
        return as_json(200, openapi.document(gateway().routes(), version("quarterdeck"), token=token))

    return [server, live, ready, live_status, ready_status, metrics, document]


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

    return [metadata, ready]


def _with_version(end: str) -> list[str]:
    """The path of a model's route, without and with the version."""
    return [f"/v2/models/{{deployment:str}}{end}", f"/v2/models/{{deployment:str}}/versions/{{version:str}}{end}"]


def _reports(workspace: Workspace) -> list[Any]:
    @post("/v2/models/{deployment:str}/predictions")
    async def predictions(request: AnyRequest) -> Answer:
        body = await _body(request)
        return as_json(200, await asyncio.to_thread(external.take_predictions, workspace, _deployment(request), body))

    @post("/v2/models/{deployment:str}/labels")
    async def labels(request: AnyRequest) -> Answer:
        body = await _body(request)
        return as_json(200, await asyncio.to_thread(external.take_labels, workspace, _deployment(request), body))

    return [predictions, labels]


async def _body(request: AnyRequest) -> bytes:
    """The body, not larger than `gateway.max_body_bytes` as it came, nor once it is not compressed any more."""
    body = await request.body()
    coding, limit = request.headers.get("content-encoding"), request.app.request_max_body_size
    return await encoding.decompressed(body, coding, limit) if coding and isinstance(limit, int) else body


def _deployment(request: AnyRequest) -> str:
    name: str = request.path_params["deployment"]
    return name


def _version(request: AnyRequest) -> str | None:
    asked: str | None = request.path_params.get("version")
    return asked


def _versions(version: int, revision: int) -> dict[str, str]:
    return {"x-model-version": str(version), "x-revision": str(revision)}


def _failed(request: AnyRequest, error: Exception) -> Response[Any]:
    limit = request.app.request_max_body_size
    said = refusal(error, f"{request.method} {request.url.path}", limit=limit if isinstance(limit, int) else 0)
    return Response({"error": said.message}, status_code=said.status, headers=said.headers)


def _http(request: AnyRequest, error: HTTPException) -> Response[Any]:
    path = request.url.path
    if error.status_code == 404:
        message = (
            f"There is nothing at {path}. Predictions are at /v2/models/DEPLOYMENT/infer, and "
            "the list of all routes is at /openapi.json."
        )
        return Response({"error": message}, status_code=404)
    if error.status_code == 405:
        return Response({"error": f"{path} does not take {request.method}."}, status_code=405, headers=error.headers)
    return _failed(request, error)
