"""Which revision answers for which deployment: one table, swapped whole, that follows what people want."""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import or_
from sqlmodel import col, select

from quarterdeck.database import ChangeWatch
from quarterdeck.deployments import routes
from quarterdeck.deployments.routes import Route
from quarterdeck.events import Event
from quarterdeck.serving.access import Access
from quarterdeck.serving.inputs import Inputs
from quarterdeck.serving.loading import Loader
from quarterdeck.serving.runtime import LoadedModel, Runtime, memory_key
from quarterdeck.workspace import Workspace

LOOK_SECONDS = 0.01
RETRY_SECONDS = 1.0
log = logging.getLogger("quarterdeck.gateway")


@dataclass(slots=True)
class ActiveRoute:
    """What answers for a deployment in this worker. Only `proved` ever changes."""

    deployment: str
    revision: int
    model: LoadedModel
    inputs: Inputs
    routed_at: datetime
    proved: bool = field(default=False)
    """A response of it has been taken as the proof; touched by the event loop alone."""


class RouteTable:
    """The routes of one gateway worker. Reading is one attribute; `reconcile` replaces it whole.

    `reconcile` is called by one thread and swaps at once what is in memory; `load_next` is called by another one and
    brings into memory what the last `reconcile` found wanting. After each load `reconcile` is to be called again.
    """

    def __init__(self, workspace: Workspace, runtime: Runtime, worker_id: int) -> None:
        self.active: Mapping[str, ActiveRoute] = MappingProxyType({})
        self.not_ready: Mapping[str, str] = MappingProxyType({})
        """Deployments that are wanted and cannot answer yet, and why."""
        self.elsewhere: Mapping[str, str] = MappingProxyType({})
        """Deployments that no gateway answers for, and who does."""
        self.reconciled = False
        """Every desired route was tried at least once."""
        self.retry_at = math.inf
        """When what could not be loaded is wanted again, by `time.monotonic`."""
        self._workspace = workspace
        self._runtime = runtime
        self._loader = Loader(workspace, runtime, worker_id)
        self._wanted: tuple[Route, ...] = ()
        self._seen_event = 0
        # How often the one thread has looked and the other has loaded, and how much of that was taken notice of.
        self._looked = self._warmed = 0
        self._seen_loads = 0

    def reconcile(self, swapped: Callable[[ActiveRoute], None]) -> None:
        """Follow the desired routes if something that bears on them is new; call `swapped` for each that was swapped.

        Never loads; it waits for state.db all the same: keep it off the event loop.
        """
        newest, loads = self._newest_event(), self._loader.loads
        news = newest > self._seen_event or loads != self._seen_loads
        if self.reconciled and not news and time.monotonic() < self.retry_at:
            return
        desired = routes.desired_routes(self._workspace)
        self.elsewhere = routes.not_answering(self._workspace)
        self._drop({route.name for route in desired})
        known = [*desired, *(route.fallback for route in desired if route.fallback is not None)]
        self._loader.forget(known)
        self._wanted = tuple(route for one in desired for route in self._follow(one, swapped))
        failures = [failure for route in known if (failure := self._loader.failure(route)) is not None]
        self.retry_at = min((failure.again_at for failure in failures if failure.waits), default=math.inf)
        self.reconciled = self.reconciled or all(self._loader.failure(route) for route in self._wanted)
        self._seen_event, self._seen_loads = newest, loads
        self._looked += 1

    def load_next(self) -> bool:
        """Load the next version that is wanted, else what a rollback would go to. False: nothing was loaded."""
        route = self._loader.next_of(self._wanted)
        if route is not None:
            self._loader.load(route)
            return True
        looked, before = self._looked, self._loader.loads
        if looked == self._warmed:
            return False
        warm = self._loader.keep_warm(set(self.active), self._wanted)
        if warm is None:
            return True
        # What is wanted is read before what is active: `reconcile` moves routes from the one to the other.
        protected = {memory_key(route.version) for route in (*warm, *self._wanted)}
        self._runtime.evict(protected | {route.model.key for route in self.active.values()})
        self._warmed = looked
        # What was brought in to be kept warm may be what is wanted by now: then `reconcile` has to hear of it.
        return self._loader.loads != before

    def _newest_event(self) -> int:
        subject = col(Event.subject)
        concerned = or_(subject.like("deployment/%"), subject.like("alert/%"))
        query = select(Event.id).where(col(Event.id) > self._seen_event, concerned).order_by(col(Event.id).desc())
        with self._workspace.state.read() as tx:
            return tx.exec(query.limit(1)).first() or self._seen_event

    def _follow(self, route: Route, swapped: Callable[[ActiveRoute], None]) -> list[Route]:
        """Swap to `route` if it is in memory; return what has to be loaded first where it is not."""
        if route.withheld is not None:
            if route.fallback is not None:
                return self._follow(route.fallback, swapped)
            # Nothing is known to be good, and it is not guessed: better no answer than the gateway's end.
            self._drop(set(self.active) - {route.name})
            self._set_not_ready(route.name, f"{route.withheld}, and no revision is known good")
            return []
        if self._swap(route, swapped):
            return []
        failure = self._loader.failure(route)
        if route.name in self.active or failure is None:
            if route.name not in self.active:
                self._set_not_ready(route.name, f"version {route.number} of model {route.model} is being loaded")
            return [route]
        # Nothing answers, as after a restart, and what is desired cannot: then what answered before it will do.
        why = f"version {route.number} of model {route.model} cannot be loaded: {failure.reason}"
        self._set_not_ready(route.name, why)
        if route.fallback is None:
            return [route]
        if self._swap(route.fallback, swapped):
            log.warning("%s; revision %s answers for %s", why, route.fallback.revision, route.name)
            return [route]
        return [route.fallback, route]

    def _swap(self, route: Route, swapped: Callable[[ActiveRoute], None]) -> bool:
        """Whether `route` answers now; False where it has to be loaded first."""
        current = self.active.get(route.name)
        if current is not None and current.revision == route.revision:
            return True
        model = self._runtime.held(route.model, route.version)
        if model is None:
            return False
        inputs = Inputs.of(model.signature, route.version, self._workspace.settings.deployment(route.name))
        active = ActiveRoute(route.name, route.revision, model, inputs, self._workspace.now())
        self.active = MappingProxyType({**self.active, route.name: active})
        self._set_not_ready(route.name, None)
        swapped(active)
        return True

    def _set_not_ready(self, name: str, reason: str | None) -> None:
        kept = {other: why for other, why in self.not_ready.items() if other != name}
        self.not_ready = MappingProxyType(kept if reason is None else {**kept, name: reason})

    def _drop(self, wanted: set[str]) -> None:
        if not wanted.issuperset(self.active):
            self.active = MappingProxyType({name: route for name, route in self.active.items() if name in wanted})


class RouteWatch:
    """Looks every 10 ms whether anything was committed; the table follows in one thread and loads in another."""

    def __init__(
        self, workspace: Workspace, table: RouteTable, access: Access, swapped: Callable[[ActiveRoute], None]
    ) -> None:
        """`swapped` is called on the event loop, for each route that was swapped."""
        self._watch = ChangeWatch(workspace.state.path)
        self._access = access
        self._table = table
        self._swapped = swapped
        self._following = ThreadPoolExecutor(1, thread_name_prefix="routing")
        # A swap to what is in memory must not wait for another version's loading.
        self._loading = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._loop = asyncio.get_running_loop()
        self.followed = asyncio.Event()
        """Every desired route was tried at least once."""
        self._due = True
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loads = asyncio.Event()

    def start(self) -> None:
        """Look now, and every 10 ms from now on."""
        self._begin(self._load())
        self._look()

    def _look(self) -> None:
        # A timer of the loop's own costs half of what a sleeping task does, and this runs 100 times a second.
        try:
            due = self._watch.changed() or self._due or time.monotonic() >= self._table.retry_at
        except sqlite3.Error:
            log.exception("state.db cannot be looked at; trying again in %g s", RETRY_SECONDS)
            self._timer = self._loop.call_later(RETRY_SECONDS, self._look)
            return
        if due:
            self._begin(self._follow())
        else:
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _follow(self) -> None:
        """Let the table follow in its thread; nothing that goes wrong there may end the looking."""
        pause = LOOK_SECONDS
        self._due = False
        try:
            await self._loop.run_in_executor(self._following, self._reconcile)
            if self._table.reconciled:
                self.followed.set()
            self._loads.set()
        except Exception:  # as above; the next look tries again
            self._due = True
            pause = RETRY_SECONDS
            log.exception("the routes could not be followed; trying again in %g s", RETRY_SECONDS)
        self._timer = self._loop.call_later(pause, self._look)

    def _reconcile(self) -> None:
        self._table.reconcile(self._announce)
        self._access.reconcile()

    async def _load(self) -> None:
        """Let the table load in its thread whenever it has followed; nothing that goes wrong there may end that."""
        while True:
            await self._loads.wait()
            self._loads.clear()
            try:
                while await self._loop.run_in_executor(self._loading, self._table.load_next):
                    self._due = True
            except Exception:  # as above
                log.exception("the models could not be kept warm; trying again in %g s", RETRY_SECONDS)
                self._loads.set()
                await asyncio.sleep(RETRY_SECONDS)

    def _announce(self, route: ActiveRoute) -> None:
        self._loop.call_soon_threadsafe(self._swapped, route)

    async def close(self) -> None:
        """Stop looking; what is being loaded is let go of once it is there."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.to_thread(self._following.shutdown, cancel_futures=True)
        await asyncio.to_thread(self._loading.shutdown, cancel_futures=True)
        self._watch.close()
