"""Tracking from inside a step: metrics are kept in a buffer and written in batches by a thread of their own.

The thread is the only writer, so that SIGTERM, which interrupts the main thread anywhere, cannot interrupt a write.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from quarterdeck.errors import FencedError, UsageError

if TYPE_CHECKING:
    from sqlmodel import Session

    from quarterdeck.workspace import Workspace

BATCH_ROWS = 100
BATCH_SECONDS = 1.0

_current: Tracker | None = None


def log_metric(name: str, value: float, step: int = 0) -> None:
    """Record one value of a metric of the running run; NaN and infinities are kept as such.

    Args:
        step: the training step, epoch or iteration.

    Raises:
        UsageError: no run is under way in this process, or `value` is not a number.
    """
    _tracker("log_metric").log(name, value, step)


def log_params(parameters: Mapping[str, Any]) -> None:
    """Record parameters that the running step has found or chosen by itself.

    Raises:
        UsageError: no run is under way in this process.
    """
    _tracker("log_params").parameters.update(parameters)


class Tracker:
    """The buffer of one run. As a context manager it is what `log_metric` writes to."""

    def __init__(self, workspace: Workspace, run_id: int, fence: Callable[[Session], None]) -> None:
        self.latest: dict[str, float] = {}
        """The last value of each metric."""
        self.parameters: dict[str, Any] = {}
        """What `log_params` was given since the step began."""
        self.process = os.getpid()
        self._workspace = workspace
        self._run_id = run_id
        self._fence = fence
        self._changed = threading.Condition()
        self._rows: list[dict[str, Any]] = []
        self._logged = self._written = 0
        self._asked = self._closing = False
        self._failure: Exception | None = None
        self._writer = threading.Thread(target=self._write_batches, name="tracking", daemon=True)

    def __enter__(self) -> Tracker:
        global _current
        self._writer.start()
        _current = self
        return self

    def __exit__(self, *raised: object) -> None:
        """Write what is left; whatever ended the block, nothing that was logged is lost."""
        global _current
        _current = None
        try:
            self.flush()
        except FencedError:
            # Another attempt has the run now, and logs for itself.
            pass
        finally:
            with self._changed:
                self._closing = True
                self._changed.notify_all()
            self._writer.join()

    def log(self, name: str, value: float, step: int) -> None:
        try:
            number, step = float(value), int(step)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"log_metric({name!r}, {value!r}, step={step!r}): the value must be a number and the step whole."
            ) from error
        row = {"run_id": self._run_id, "name": str(name), "step": step, "value": number, "at": self._workspace.now()}
        with self._changed:
            self.latest[str(name)] = number
            self._rows.append(row)
            self._logged += 1
            if len(self._rows) >= BATCH_ROWS:
                self._changed.notify_all()

    def flush(self) -> None:
        """Return once everything logged so far is in the database.

        Raises:
            FencedError: this attempt was given up.
            BusyError: the write lock was not free in time.
        """
        with self._changed:
            target = self._logged
            self._failure = None
            self._asked = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._written >= target or self._failure is not None)
            if self._failure is not None:
                raise self._failure

    def _write_batches(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._due, timeout=BATCH_SECONDS)
                if self._closing:
                    return
                self._asked = False
                batch, self._rows = self._rows, []
            failure = self._write(batch) if batch else None
            with self._changed:
                if failure is None:
                    self._written += len(batch)
                else:
                    # Kept for the next round: a busy database is no reason to lose a metric.
                    self._rows = batch + self._rows
                    self._failure = failure
                self._changed.notify_all()

    def _due(self) -> bool:
        return self._asked or self._closing or len(self._rows) >= BATCH_ROWS

    def _write(self, batch: list[dict[str, Any]]) -> Exception | None:
        from sqlalchemy import insert

        from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
        from quarterdeck.pipelines.run import Metric

        try:
            with self._workspace.state.write("metrics", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
                self._fence(tx)
                tx.connection().execute(insert(Metric), batch)
        except Exception as error:
            return error
        return None


def _tracker(function: str) -> Tracker:
    if _current is None:
        raise UsageError(f"{function} works inside a step while `quarterdeck run` executes it, not here.")
    if _current.process != os.getpid():
        raise UsageError(f"{function} was called in a process that the step started: call it in the step itself.")
    return _current
