"""The gateway's one way from a request to an answer, and the proof that a new route answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import msgspec

from quarterdeck.deployments import proving
from quarterdeck.errors import NotFoundError, QuarterdeckError
from quarterdeck.registry.hosted import ModelDownError
from quarterdeck.registry.signature import Signature
from quarterdeck.serving import protocol
from quarterdeck.serving.columns import BadInput
from quarterdeck.serving.failures import explained
from quarterdeck.serving.fallback import FallbackError, Fallbacks
from quarterdeck.serving.inputs import Inputs
from quarterdeck.serving.metrics import Metrics
from quarterdeck.serving.protocol import Content, ParsedRequest
from quarterdeck.serving.recorder import Recorder, Served
from quarterdeck.serving.routing import ActiveRoute, RouteTable
from quarterdeck.serving.runtime import Answering, Busy, Runtime
from quarterdeck.traffic.prediction import CHAMPION, FALLBACK, NO_REVISION
from quarterdeck.workspace import Workspace

PROBE_AFTER_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
log = logging.getLogger("quarterdeck.gateway")


class NotReadyError(QuarterdeckError):
    """The model is being loaded. Try again in a moment."""


class Reply(msgspec.Struct, frozen=True):
    """An answer, and the route that gave it: one version, wholly."""

    content: Content
    route: ActiveRoute
    served: Served
    recorded: bool
    """It is to be recorded once it has left."""


class Write(Protocol):
    """Makes the response in the form of the protocol that the request came in."""

    def __call__(
        self,
        request: ParsedRequest,
        *,
        deployment: str,
        version: int | None,
        signature: Signature,
        values: Sequence[Any],
        probabilities: Sequence[Sequence[float]] | None,
    ) -> Content: ...


class Gateway:
    """Answers requests by the current routes of one worker."""

    def __init__(
        self,
        workspace: Workspace,
        table: RouteTable,
        runtime: Runtime,
        recorder: Recorder,
        metrics: Metrics,
        worker_id: int,
    ) -> None:
        self._workspace = workspace
        self._table = table
        self._runtime = runtime
        self._recorder = recorder
        self.metrics = metrics
        metrics.watch(waiting=lambda: runtime.waiting, queued=lambda: recorder.queued_rows)
        self._worker_id = worker_id
        self._fallbacks = Fallbacks(workspace, runtime)
        # Proofs have a thread of their own: a rollback's proof must not wait for another model's loading.
        self._proofs = ThreadPoolExecutor(1, thread_name_prefix="proofs")
        self._probes: set[asyncio.Task[None]] = set()
        self._writings: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def infer(
        self,
        deployment: str,
        read: Callable[[Inputs, datetime], ParsedRequest],
        write: Write | None = None,
        *,
        version: str | None = None,
    ) -> Reply:
        """Answer an inference request. Pass the reply to `delivered` once it has left.

        `read` gives it as columns that the route takes; `write` makes the response, that of the Open Inference
        Protocol when it is None; `version` is the one that is asked for, as in the path.

        Raises:
            NotFoundError, NotReadyError: nothing answers for `deployment`, or another version.
            BadInput: the request does not fit.
            Busy: too many requests wait.
            ModelDownError: the model's own process is not there, or took too long.
            ModelFailedError: the model itself failed.
            FallbackError: a column's policy sent it to the fallback, which failed.
        """
        try:
            route = self.route(deployment, version)
        except NotReadyError:
            self._recorder.count_error(deployment, NO_REVISION, "unready")
            raise
        variant = CHAMPION
        try:
            request = read(route.inputs, self._workspace.now())
            if request.fallback:
                variant = FALLBACK
                return await self._ask(route, request, await self._fallbacks.of(route), write, variant=variant)
            return await self._ask(route, request, route.model, write)
        except Exception as error:
            reason = _reason(error)
            self._recorder.count_error(route.deployment, route.revision, reason)
            self.metrics.error((route.deployment, route.model.version, variant), reason)
            raise

    def route(self, deployment: str, version: str | None = None) -> ActiveRoute:
        """What answers for `deployment` now; `version` is the one that is asked for.

        Raises:
            NotFoundError: it is not known here, or another version answers; the message names what is there.
            NotReadyError: it is wanted, and its model is not loaded.
        """
        route = self._table.active.get(deployment)
        if route is not None:
            if version is not None and version != str(route.model.version):
                raise NotFoundError(
                    f"Deployment '{deployment}' answers with version {route.model.version} now, and with no version "
                    f"'{version}'. Ask for that one, or for none."
                )
            return route
        reason = self._table.not_ready.get(deployment)
        if reason is not None:
            raise NotReadyError(f"Deployment '{deployment}' cannot answer now: {reason.rstrip('.')}.")
        elsewhere = self._table.elsewhere.get(deployment)
        if elsewhere is not None:
            raise NotFoundError(f"This gateway does not answer for deployment '{deployment}': {elsewhere}.")
        known = ", ".join(sorted({*self._table.active, *self._table.not_ready})) or "none yet"
        raise NotFoundError(f"This gateway serves no deployment '{deployment}'. Known: {known}.")

    @property
    def ready(self) -> bool:
        """Every deployment that should answer was given the chance to load its model."""
        return self._table.reconciled

    def routes(self) -> list[ActiveRoute]:
        """What answers now, by name."""
        return [route for _, route in sorted(self._table.active.items())]

    async def _ask(
        self,
        route: ActiveRoute,
        request: ParsedRequest,
        model: Answering,
        write: Write | None = None,
        *,
        variant: str = CHAMPION,
        probe: bool = False,
    ) -> Reply:
        received_at, started = self._workspace.now(), time.perf_counter_ns()
        try:
            answer = await self._runtime.predict(model, request.columns, request.rows)
        except (Busy, ModelDownError, FallbackError):
            raise
        except Exception as error:  # the model's own code may raise anything
            raise explained(model, request, error) from error
        content = (write or protocol.answer)(
            request,
            deployment=route.deployment,
            version=model.version or None,
            signature=model.signature,
            values=answer.values,
            probabilities=answer.probabilities,
        )
        latency_us = (time.perf_counter_ns() - started) // 1000
        served = Served(
            route.deployment, route.revision, model.version, request, answer, received_at, latency_us, probe, variant
        )
        return Reply(content, route, served, recorded=self._recorder.announce(served))

    def delivered(self, reply: Reply) -> None:
        """Record what was answered; the first answer of a new route is its proof."""
        served = reply.served
        if reply.recorded:
            self._recorder.offer(served)
        if not served.probe:
            self._recorder.count_answer(served.deployment, served.latency_us)
            meters = self.metrics.route(served.deployment, served.version, served.variant)
            meters.answered(served.request.rows, served.latency_us / 1e6)
            if served.request.remarks is not None:
                self._count_remarks(served)
        if not reply.route.proved and served.variant == CHAMPION:
            reply.route.proved = True
            self._prove(reply, self._workspace.now())

    def _count_remarks(self, served: Served) -> None:
        if served.request.extra_columns:
            self.metrics.ignored(served.deployment, len(served.request.extra_columns))
        for column, values in served.request.imputed.items():
            self.metrics.imputed(served.deployment, column, values)

    def swapped(self, route: ActiveRoute) -> None:
        """A route was swapped: where no traffic proves it soon, the worker asks itself."""
        self._fallbacks.prepare(route)
        _begin(self._probe(route), self._probes)

    async def _probe(self, route: ActiveRoute) -> None:
        await asyncio.sleep(PROBE_AFTER_SECONDS)
        if route.proved or self._table.active.get(route.deployment) is not route:
            return
        columns = {name: [route.model.example[name]] for name in route.model.signature.names}
        request = ParsedRequest(protocol.new_id(), columns, rows=1, keys=[None], event_times=[None])
        try:
            self.delivered(await self._ask(route, request, route.model, probe=True))
        except Busy:
            self.swapped(route)  # then there is traffic, and one of the two will be first
        except QuarterdeckError as error:
            log.error("the probe of %s failed: %s", route.deployment, error)
            self._report(route, str(error))
        except Exception as error:  # what nobody foresaw is a failure too, and the operation must not wait for ever
            log.exception("the probe of %s failed", route.deployment)
            self._report(route, f"{type(error).__name__}: {error}")

    def _prove(self, reply: Reply, served_at: datetime) -> None:
        route = reply.route
        prove = partial(
            proving.prove,
            self._workspace,
            self._worker_id,
            route.deployment,
            route.revision,
            routed_at=route.routed_at,
            served_at=served_at,
            request_id=reply.served.request.ids[0],
            probe=reply.served.probe,
        )
        _begin(self._write(route, prove, "proof"), self._writings)

    def _report(self, route: ActiveRoute, error: str) -> None:
        report = partial(
            proving.report_failure, self._workspace, self._worker_id, route.deployment, route.revision, error
        )
        _begin(self._write(route, report, "failure"), self._writings)

    async def _write(self, route: ActiveRoute, write: Callable[[], None], what: str) -> None:
        """Call `write` in the thread of the proofs: again, after longer and longer pauses, while `route` answers."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(self._proofs, write)
                return
            except Exception as error:  # given up, the operation would stay as it is for ever
                log.warning("the %s of %s could not be written: %r", what, route.deployment, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause)
            if self._closing.is_set() or self._table.active.get(route.deployment) is not route:
                return
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def close(self) -> None:
        """Stop probing, write what was proved, and end the threads; requests that were taken are answered."""
        for task in list(self._probes):
            task.cancel()
        await asyncio.gather(*self._probes, return_exceptions=True)
        self._closing.set()
        await asyncio.gather(*self._writings)
        await asyncio.to_thread(self._runtime.close)
        await asyncio.to_thread(self._proofs.shutdown)
        await asyncio.to_thread(self._recorder.close)


def _begin(work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
    """Let `work` go on by itself, kept in `tasks` until it ends."""
    task = asyncio.ensure_future(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _reason(error: Exception) -> str:
    """What `traffic.prediction.Unanswered` calls it."""
    if isinstance(error, BadInput):
        return "rejected"
    return "overload" if isinstance(error, Busy) else "failed"
