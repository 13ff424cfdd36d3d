"""A gateway worker: one process that answers requests until it is told to stop, and then answers what it took."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from types import FrameType
from typing import Any

import uvicorn
from litestar import Litestar

from quarterdeck.deployments import proving
from quarterdeck.deployments.withholding import withhold_deadly
from quarterdeck.errors import UsageError
from quarterdeck.serving.access import Access, Guarded
from quarterdeck.serving.certificate import check_certificate
from quarterdeck.serving.connections import KEEP_ALIVE_SECONDS, Connection, take_all_descriptors
from quarterdeck.serving.gateway import Gateway
from quarterdeck.serving.http import make_app
from quarterdeck.serving.inference import Inference
from quarterdeck.serving.metrics import WRITE_SECONDS, Metrics
from quarterdeck.serving.recorder import Recorder
from quarterdeck.serving.routing import RouteTable, RouteWatch
from quarterdeck.serving.runtime import Runtime
from quarterdeck.workspace import Workspace

DRAIN_SECONDS = 8
"""Requests in flight get this long after SIGTERM: less than a supervisor's patience."""
FIRST_LOAD_SECONDS = 20.0
"""Connections wait in the socket's queue this long for the first loading; after that they get a 503."""
QUEUE_LIMIT = 512
"""Requests that may wait for the inference thread."""
BACKLOG = 1024
BEAT_SECONDS = 1.0
SWITCH_SECONDS = 0.0001
"""How long a thread may keep the interpreter from the others. A prediction is mostly Python: with the usual 5 ms the
event loop and the proof of a rollback would wait for it again and again."""
GARBAGE_THRESHOLDS = (20_000, 20, 20)
"""Answers wait for their recording, which looks like garbage that grows: with the usual 700 the collector would look
through them 20 times, and take a third of the time. Hardly anything that a request makes refers to itself."""
log = logging.getLogger("quarterdeck.gateway")


def serve(
    workspace: Workspace,
    *,
    slot: int,
    host: str,
    port: int,
    fd: int | None = None,
    beat: Callable[[], None] | None = None,
) -> None:
    """Answer requests on the listening socket `fd`, else on `host` and `port` (0 takes a free one), until SIGTERM.

    `beat` is called every second by the event loop that answers, from when it answers: a sign of life.

    Raises:
        UsageError: the address cannot be listened on, or the certificate cannot be used.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.setswitchinterval(SWITCH_SECONDS)
    # uvicorn takes these signals while it serves and raises them again when it has drained; that ends here, with 0.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, _stop)
    check_certificate(workspace.root, workspace.settings.gateway)
    listening = _listen(host, port) if fd is None else socket.socket(fileno=fd)
    worker = _Worker(workspace, slot, listening, beat)
    settings = workspace.settings.gateway
    access = worker.access if settings.require_token else None
    Connection.most = take_all_descriptors()
    Connection.inference = Inference(lambda: worker.gateway, limit=settings.max_body_bytes, access=access)
    app: Any = make_app(workspace, lambda: worker.gateway, [worker.lifespan])
    config = uvicorn.Config(
        app if access is None else Guarded(app, access),
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        ssl_certfile=settings.tls_certificate and workspace.root / settings.tls_certificate,
        ssl_keyfile=settings.tls_key and workspace.root / settings.tls_key,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"The gateway cannot listen on {host}:{port}: {error.strerror}. Set another port under [gateway]."
        ) from error
    return listening


async def _write(metrics: Metrics) -> None:
    while True:
        await asyncio.sleep(WRITE_SECONDS)
        await asyncio.to_thread(metrics.write)


class _Worker:
    """The parts of one worker, from start to stop."""

    gateway: Gateway

    def __init__(
        self, workspace: Workspace, slot: int, listening: socket.socket, beat: Callable[[], None] | None
    ) -> None:
        self._workspace = workspace
        self._slot = slot
        self._beat = beat
        self._host, self._port = listening.getsockname()[:2]
        self.access = Access(workspace)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncIterator[None]:
        workspace, settings = self._workspace, self._workspace.settings.gateway
        worker_id = proving.register_worker(workspace, slot=self._slot, host=self._host, port=self._port)
        if (name := withhold_deadly(workspace, self._slot)) is not None:
            log.error("the desired revision of %s is withheld: workers of this slot died of it", name)
        metrics = Metrics(workspace.folder / "metrics", self._slot)
        recorder = Recorder(workspace, metrics, limit=settings.record_queue, worker=f"gateway/{self._slot}")
        runtime = Runtime(workspace, capacity=settings.models_in_memory, queue_limit=QUEUE_LIMIT)
        table = RouteTable(workspace, runtime, worker_id)
        self.gateway = Gateway(workspace, table, runtime, recorder, metrics, worker_id)
        watch = RouteWatch(workspace, table, self.access, self.gateway.swapped)
        watch.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(watch.followed.wait(), FIRST_LOAD_SECONDS)
        # What is there now stays: looking through it for garbage again and again would hold up every request.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        self._show_life()
        writing = asyncio.create_task(_write(metrics))
        try:
            yield
        finally:
            writing.cancel()
            await watch.close()
            await self.gateway.close()
            metrics.write()
            proving.retire_worker(workspace, worker_id)

    def _show_life(self) -> None:
        # A timer of the loop's own: a thread would go on beating while the loop hangs.
        if self._beat is not None:
            self._beat()
            asyncio.get_running_loop().call_later(BEAT_SECONDS, self._show_life)
