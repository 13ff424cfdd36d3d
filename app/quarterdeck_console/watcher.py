"""The watcher: a thread that looks at two files and a few processes, and says so only when something changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from quarterdeck_console.messages import Liveness, LivenessChanged, StateChanged, TrafficChanged

if TYPE_CHECKING:
    from quarterdeck.processes import ProcessIdentity
    from quarterdeck.workspace import Workspace

LOOK_SECONDS = 0.1
TRAFFIC_SECONDS = 1.0
LIVENESS_SECONDS = 2.0


def read_liveness(workspace: Workspace) -> tuple[Liveness, list[ProcessIdentity | None]]:
    """Which recorded processes are alive, and which they are: a process can die without writing that down."""
    from quarterdeck.deployments.queries import gateway_state
    from quarterdeck.processes import identity_of
    from quarterdeck.runner.queries import runner_state

    runner, gateway = runner_state(workspace), gateway_state(workspace)
    pids = [worker.pid for worker in gateway.workers if worker.alive]
    if runner.alive and runner.pid is not None:
        pids.append(runner.pid)
    return Liveness(runner=runner.alive, workers=gateway.alive), [identity_of(pid) for pid in pids]


class Watcher(threading.Thread):
    """Posts StateChanged, TrafficChanged and LivenessChanged until it is stopped."""

    def __init__(self, workspace: Workspace, post: Callable[[Message], object]) -> None:
        super().__init__(name="watcher", daemon=True)
        self._workspace = workspace
        self._post = post
        self._stopped = threading.Event()
        self._alive: Liveness | None = None
        self._living: list[ProcessIdentity | None] = []

    def stop(self) -> None:
        self._stopped.set()
        self.join(timeout=2)

    def run(self) -> None:
        # Raw connections: PRAGMA data_version on an idle one costs two microseconds and no disk.
        state, traffic = self._look_at("state.db"), self._look_at("traffic.db")
        seen_state, seen_traffic = state(), traffic()
        traffic_at = liveness_at = 0.0
        changed = True
        try:
            while not self._stopped.is_set():
                now = time.monotonic()
                if (version := state()) != seen_state:
                    seen_state, changed = version, True
                    self._post(StateChanged())
                if now - traffic_at >= TRAFFIC_SECONDS:
                    traffic_at = now
                    if (version := traffic()) != seen_traffic:
                        seen_traffic = version
                        self._post(TrafficChanged())
                if changed or now - liveness_at >= LIVENESS_SECONDS:
                    if changed or self._somebody_died():
                        self._look_who_lives()
                    liveness_at, changed = now, False
                self._stopped.wait(LOOK_SECONDS)
        finally:
            self._close()

    def _look_at(self, name: str) -> Callable[[], int]:
        from quarterdeck.database import open_read_only

        connection = open_read_only(self._workspace.folder / name)
        self._connections = [*getattr(self, "_connections", []), connection]
        return lambda: int(connection.execute("PRAGMA data_version").fetchone()[0])

    def _somebody_died(self) -> bool:
        # Whoever starts says so in the database: only an end has to be looked for, which needs no query.
        from quarterdeck.processes import is_alive

        return not all(identity is not None and is_alive(identity) for identity in self._living)

    def _look_who_lives(self) -> None:
        try:
            found, self._living = read_liveness(self._workspace)
        except Exception:
            # A busy or moved file: keep what was known, and look again; the panes' own reads say what is wrong.
            found, self._living = self._alive or Liveness(), [None]
        if found != self._alive:
            self._alive = found
            self._post(LivenessChanged(found))

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()
