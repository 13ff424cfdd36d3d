"""The gateway's one way from a request to an answer, and the proof that a new route answers."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from quarterdeck.deployments import proving
from quarterdeck.errors import NotFoundError, QuarterdeckError
from quarterdeck.serving import protocol
from quarterdeck.serving.columns import BadInput
from quarterdeck.serving.metrics import Metrics
from quarterdeck.serving.protocol import ParsedRequest
from quarterdeck.serving.recorder import Recorder, Served
from quarterdeck.serving.routing import ActiveRoute, RouteTable
from quarterdeck.serving.runtime import Busy, LoadedModel, Runtime
from quarterdeck.workspace import Workspace

VARIANT = "champion"
PROBE_AFTER_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 30.0
log = logging.getLogger("quarterdeck.gateway")


class NotReadyError(QuarterdeckError):
    """The model is being loaded. Try again in a moment."""


class ModelFailedError(QuarterdeckError):
    """The model raised an error on an input that fits its signature."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and the route that gave it: one version, wholly."""

    body: bytes
    route: ActiveRoute
    served: Served


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
        # Proofs have a thread of their own: a rollback's proof must not wait for another model's loading.
        self._proofs = ThreadPoolExecutor(1, thread_name_prefix="proofs")
        self._probes: set[asyncio.Task[None]] = set()
        self._writings: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def infer(self, deployment: str, body: bytes) -> Reply:
        """Answer an inference request. Pass the reply to `delivered` once it has left.

        Raises:
            NotFoundError, NotReadyError: nothing answers for `deployment`.
            BadInput: the request does not fit.
            Busy: too many requests wait.
            ModelFailedError: the model itself failed.
        """
        route = self.route(deployment)
        try:
            request = protocol.parse(body, route.model.signature, self._workspace.now())
            return await self._ask(route, request, probe=False)
        except (BadInput, Busy, ModelFailedError) as error:
            self._recorder.count_error(route.deployment, route.revision, reason := _REASONS[type(error)])
            self.metrics.error(route.deployment, route.model.version, reason)
            raise

    def route(self, deployment: str) -> ActiveRoute:
        """What answers for `deployment` now.

        Raises:
            NotFoundError: it is not known here; the message names those that are.
            NotReadyError: it is wanted, and its model is not loaded.
        """
        route = self._table.active.get(deployment)
        if route is not None:
            return route
        reason = self._table.not_ready.get(deployment)
        if reason is not None:
            raise NotReadyError(f"Deployment '{deployment}' cannot answer now: {reason}.")
        known = ", ".join(sorted({*self._table.active, *self._table.not_ready})) or "none yet"
        raise NotFoundError(f"This gateway serves no deployment '{deployment}'. Known: {known}.")

    @property
    def ready(self) -> bool:
        """Every deployment that should answer was given the chance to load its model."""
        return self._table.reconciled

    async def _ask(self, route: ActiveRoute, request: ParsedRequest, *, probe: bool) -> Reply:
        received_at, started = self._workspace.now(), time.perf_counter_ns()
        model = route.model
        try:
            answer = await self._runtime.predict(model, request.columns, request.rows)
        except Busy:
            raise
        except Exception as error:  # the model's own code may raise anything
            raise _explained(model, request, error) from error
        body = protocol.answer(
            request,
            deployment=route.deployment,
            version=model.version,
            signature=model.signature,
            values=answer.values,
            probabilities=answer.probabilities,
        )
        latency_us = (time.perf_counter_ns() - started) // 1000
        served = Served(
            route.deployment, route.revision, model.version, request, answer, received_at, latency_us, probe
        )
        self._recorder.announce(served)
        return Reply(body, route, served)

    def delivered(self, reply: Reply) -> None:
        """Record what was answered; the first answer of a new route is its proof."""
        served = reply.served
        self._recorder.offer(served)
        if not served.probe:
            meters = self.metrics.route(served.deployment, served.version, VARIANT)
            meters.answered(served.request.rows, served.latency_us / 1e6)
        if not reply.route.proved:
            reply.route.proved = True
            self._prove(reply, self._workspace.now())

    def swapped(self, route: ActiveRoute) -> None:
        """A route was swapped: where no traffic proves it soon, the worker asks itself."""
        _begin(self._probe(route), self._probes)

    async def _probe(self, route: ActiveRoute) -> None:
        await asyncio.sleep(PROBE_AFTER_SECONDS)
        if route.proved or self._table.active.get(route.deployment) is not route:
            return
        columns = {name: [route.model.example[name]] for name in route.model.signature.names}
        request = ParsedRequest(protocol.new_id(), columns, rows=1, keys=[None], event_times=[None])
        try:
            self.delivered(await self._ask(route, request, probe=True))
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


_REASONS: dict[type[Exception], str] = {BadInput: "rejected", Busy: "overload", ModelFailedError: "failed"}


def _explained(model: LoadedModel, request: ParsedRequest, error: Exception) -> QuarterdeckError:
    """What to tell the client: the likely cause in its input where there is one, else that the model failed."""
    for feature in model.signature.features:
        values = request.columns[feature.name]
        if not feature.nullable and None in values:
            return BadInput(
                f"Column '{feature.name}' is null in row {values.index(None)}. It never was in training, and "
                f"version {model.version} cannot answer without it."
            )
        if feature.categories is not None:
            for row, value in enumerate(values):
                if value is not None and str(value) not in feature.categories:
                    return BadInput(
                        f"Column '{feature.name}' has {value!r} in row {row}, which version {model.version} cannot "
                        f"take. Seen in training: {', '.join(feature.categories)}."
                    )
    log.error("version %s of model %s failed", model.version, model.model, exc_info=error)
    first_line = str(error).strip().partition("\n")[0]
    return ModelFailedError(
        f"Version {model.version} of model {model.model} failed: {type(error).__name__}: {first_line}"
    )
