"""The watcher: a thread that looks at two files and a few processes, and says so only when something changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.message import Message

from quarterdeck_console.messages import Liveness, LivenessChanged, StateChanged, TrafficChanged

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace

LOOK_SECONDS = 0.1
TRAFFIC_SECONDS = 1.0
LIVENESS_SECONDS = 2.0


def read_liveness(workspace: Workspace) -> Liveness:
    """Which recorded processes are alive: a process can die without writing that down."""
    from quarterdeck.deployments.queries import gateway_state
    from quarterdeck.runner.queries import runner_state

    return Liveness(runner=runner_state(workspace).alive, workers=gateway_state(workspace).alive)


class Watcher(threading.Thread):
    """Posts StateChanged, TrafficChanged and LivenessChanged until it is stopped."""

    def __init__(self, workspace: Workspace, post: Callable[[Message], object]) -> None:
        super().__init__(name="watcher", daemon=True)
        self._workspace = workspace
        self._post = post
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()
        self.join(timeout=2)

    def run(self) -> None:
        # Raw connections: PRAGMA data_version on an idle one costs two microseconds and no disk.
        state, traffic = self._look_at("state.db"), self._look_at("traffic.db")
        seen_state, seen_traffic = state(), traffic()
        alive: Liveness | None = None
        traffic_at = liveness_at = 0.0
        changed = True
        try:
            while not self._stopped.is_set():
                now = time.monotonic()
                if (version := state()) != seen_state:
                    seen_state, changed = version, True
                    self._post(StateChanged())
                if now - traffic_at >= TRAFFIC_SECONDS and (version := traffic()) != seen_traffic:
                    seen_traffic, traffic_at = version, now
                    self._post(TrafficChanged())
                if changed or now - liveness_at >= LIVENESS_SECONDS:
                    liveness_at, changed = now, False
                    found = self._liveness(alive)
                    if found != alive:
                        alive = found
                        self._post(LivenessChanged(found))
                self._stopped.wait(LOOK_SECONDS)
        finally:
            self._close()

    def _look_at(self, name: str) -> Callable[[], int]:
        from quarterdeck.database import open_read_only

        connection = open_read_only(self._workspace.folder / name)
        self._connections = [*getattr(self, "_connections", []), connection]
        return lambda: int(connection.execute("PRAGMA data_version").fetchone()[0])

    def _liveness(self, before: Liveness | None) -> Liveness:
        try:
            return read_liveness(self._workspace)
        except Exception:
            # A busy or moved file: keep what was known; the panes' own reads say what is wrong.
            return before or Liveness()

    def _close(self) -> None:
        for connection in self._connections:
            connection.close()
