"""Loading beside the swaps: what is wanted first, then what a rollback would go to. Failures are tried again."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from quarterdeck.deployments import proving, routes
from quarterdeck.deployments.routes import Route
from quarterdeck.errors import QuarterdeckError
from quarterdeck.serving.runtime import Runtime
from quarterdeck.workspace import Workspace

FIRST_PAUSE_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
LONG_SECONDS, REST = 10.0, 5
"""A load that failed after so long is tried again after so many times as long: the others are loaded meanwhile."""
log = logging.getLogger("quarterdeck.gateway")


@dataclass(frozen=True, slots=True)
class Failure:
    """A version that could not be loaded."""

    reason: str
    pause: float
    """Seconds from the attempt to the next one."""
    again_at: float
    """When it is tried again, by `time.monotonic`."""
    reported: bool
    """The operation has been told."""

    @property
    def waits(self) -> bool:
        return time.monotonic() < self.again_at


class Loader:
    """Loads for one route table. All of it is slow, and runs in one thread that no swap waits for."""

    def __init__(self, workspace: Workspace, runtime: Runtime, worker_id: int) -> None:
        self._workspace = workspace
        self._runtime = runtime
        self._worker_id = worker_id
        self._failures: dict[tuple[str, int], Failure] = {}
        self.loads = 0
        """How often a version was loaded, or could not be."""

    def failure(self, route: Route) -> Failure | None:
        """How the newest attempt failed; None where there was none, or it went well."""
        return self._failures.get((route.name, route.revision))

    def next_of(self, wanted: Sequence[Route]) -> Route | None:
        """The first that is to be loaded now: neither in memory, nor waiting after a failure."""
        for route in wanted:
            failure = self.failure(route)
            if not self._runtime.holds(route.version) and (failure is None or not failure.waits):
                return route
        return None

    def load(self, route: Route) -> None:
        """Load what `route` needs; a failure is kept, told to the operation, and tried again later."""
        place, started = (route.name, route.revision), time.monotonic()
        try:
            self._runtime.load(route.model, route.version)
        except Exception as error:  # a model's own code may raise anything; the gateway goes on serving what it has
            took = time.monotonic() - started
            self._failures[place] = self._failed(route, error, self._failures.get(place), took)
        else:
            self._failures.pop(place, None)
        self.loads += 1

    def _failed(self, route: Route, error: Exception, before: Failure | None, took: float) -> Failure:
        reason = str(error) if isinstance(error, QuarterdeckError) else f"{type(error).__name__}: {error}"
        pause = FIRST_PAUSE_SECONDS if before is None else min(2 * before.pause, LONGEST_PAUSE_SECONDS)
        if took > LONG_SECONDS:
            pause = max(pause, REST * took)
        log.error(
            "version %s of model %s cannot serve %s: %s; trying again in %g s",
            *(route.number, route.model, route.name, reason, pause),
        )
        known = before is not None and before.reported and before.reason == reason
        reported = known or self._report(route, reason)
        return Failure(reason, pause, time.monotonic() + pause, reported)

    def _report(self, route: Route, reason: str) -> bool:
        try:
            proving.report_failure(self._workspace, self._worker_id, route.name, route.revision, reason)
        except (QuarterdeckError, SQLAlchemyError) as error:
            log.warning("the failure of %s could not be written, the next one will be: %s", route.name, error)
            return False
        return True

    def forget(self, wanted: Sequence[Route]) -> None:
        """Keep the failures of what is still wanted alone."""
        places = {(route.name, route.revision) for route in wanted}
        for place in list(self._failures):
            if place not in places:
                self._failures.pop(place, None)

    def keep_warm(self, serving: Collection[str], wanted: Sequence[Route]) -> list[Route] | None:
        """Load what a rollback of the `serving` deployments would go to, and return it. None: `wanted` goes first."""
        warm = routes.keep_warm(self._workspace)
        for route in warm:
            if route.name not in serving or self._runtime.holds(route.version) or self.failure(route) is not None:
                continue
            if self.next_of(wanted) is not None:
                return None
            try:
                self._runtime.load(route.model, route.version)
                self.loads += 1
            except Exception as error:  # as above; what serves is not touched by it
                log.warning("version %s for %s cannot be kept warm: %s", route.number, route.name, error)
        return warm
