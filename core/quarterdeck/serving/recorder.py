"""Recording what was answered: after the response, in batches, in a bounded queue. What does not fit is counted."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.exc import OperationalError

from quarterdeck.disk import free_bytes
from quarterdeck.errors import BusyError, DiskError
from quarterdeck.serving.metrics import Metrics
from quarterdeck.serving.protocol import ParsedRequest
from quarterdeck.serving.runtime import Answer
from quarterdeck.serving.tally import Tally
from quarterdeck.traffic import recording
from quarterdeck.traffic.prediction import CHAMPION
from quarterdeck.traffic.repetitions import Row, Source, source_of
from quarterdeck.workspace import Workspace

FLUSH_SECONDS = 0.2
COUNT_SECONDS = 1.0
"""How often answers are counted in traffic.db: a transaction of its own, and by the minute is all that is asked for."""
BATCH_ROWS = 2_000
"""Rows of one transaction, which takes 10 ms then. So many that wait are written at once."""
QUEUE_FULL = "queue full"
KNOWN_ID = "id known already"
DISK_LOW = "disk low"
KILLED = "the worker was killed"
log = logging.getLogger("quarterdeck.gateway")


class Served(msgspec.Struct, frozen=True):
    """One request that was answered."""

    deployment: str
    revision: int
    version: int
    request: ParsedRequest
    answer: Answer
    received_at: datetime
    latency_us: int
    probe: bool
    variant: str = CHAMPION
    """`fallback` where a column's policy sent the request there."""

    @property
    def source(self) -> Source:
        return self.deployment, self.version, self.variant

    def rows(self, omitted: Collection[str] = ()) -> list[Row]:
        """What is recorded of it; the values of `omitted` columns are left out."""
        request = self.request
        columns: Iterable[list[Any]] = request.columns.values()
        if omitted:
            nothing = [None] * request.rows
            columns = [nothing if name in omitted else values for name, values in request.columns.items()]
        return recording.rows_of(
            self.deployment,
            received_at=self.received_at,
            revision=self.revision,
            version=self.version,
            variant=self.variant,
            latency_us=self.latency_us,
            probe=self.probe,
            ids=request.ids,
            keys=request.keys,
            event_times=request.event_times,
            inputs=zip(*columns, strict=True),
            predictions=self.answer.values,
            probabilities=self.answer.probabilities or [None] * request.rows,
        )


class Recorder:
    """The queue of answered requests and the thread that writes them to traffic.db."""

    def __init__(self, workspace: Workspace, metrics: Metrics, *, limit: int, worker: str) -> None:
        """`limit`: rows that may wait; `worker`: who counts what could not be recorded (`gateway/0`).

        What an earlier worker of that name took along when it was killed is counted now.
        """
        self._workspace = workspace
        self._metrics = metrics
        self._limit = limit
        self._worker = worker
        self._queue: list[Row] = []
        self._taken: list[Row] = []
        """Out of the queue, and not written yet: the recorder's thread alone sees it."""
        self.queued_rows = 0
        self._lost: Counter[tuple[Source, str]] = Counter()
        self._errors: Counter[tuple[str, int, str]] = Counter()
        self._answered: Counter[tuple[str, int]] = Counter()
        self._count_at = 0.0
        self._guard = threading.Lock()
        self._tally = Tally(workspace.folder / "tally" / worker.replace("/", "-"))
        settled = recording.settled(workspace, self._tally.id)
        for source, rows in self._tally.counts.items():
            if rows > settled[source]:
                self._count(source, KILLED, rows - settled[source])
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="recorder")
        self._thread.start()

    def announce(self, served: Served) -> bool:
        """Whether to `offer` a request whose answer is about to leave.

        It is counted now: a kill must not take it along uncounted.
        """
        chosen = self._chosen(served)
        if chosen:
            with self._guard:
                self._tally.answered(served.source, served.request.rows)
        return chosen

    def offer(self, served: Served) -> None:
        """Queue a request that was announced and answered; count it as unrecorded when there is no room.

        Never waits for the disk.
        """
        count = served.request.rows
        if self.queued_rows + count > self._limit:
            self._count(served.source, QUEUE_FULL, count)
            return
        try:
            # Here and not in the recorder's thread, which would take the interpreter from this one again and again.
            rows = served.rows(self._omitted(served.deployment))
        except Exception as error:  # what cannot be written down was answered all the same
            log.exception("a prediction of %s cannot be recorded", served.deployment)
            self._count(served.source, _reason(error), count)
            return
        with self._guard:
            self._queue += rows
            self.queued_rows += count
        if self.queued_rows >= BATCH_ROWS:
            self._wake.set()

    def _chosen(self, served: Served) -> bool:
        share = self._workspace.settings.deployment(served.deployment).record
        # A probe is a proof, which is looked up.
        return share == 1 or served.probe or zlib.crc32(served.request.id.encode()) < share * (1 << 32)

    def _omitted(self, deployment: str) -> Collection[str]:
        return self._workspace.settings.deployment(deployment).omit

    def count_error(self, deployment: str, revision: int, reason: str) -> None:
        """Count a request that got an error, by one of the reasons of `traffic.prediction.Unanswered`."""
        with self._guard:
            self._errors[deployment, revision, reason] += 1

    def count_answer(self, deployment: str, latency_us: int) -> None:
        """Count a request that was answered, whether or not it is recorded."""
        answer = deployment, recording.latency_class(latency_us)
        with self._guard:
            self._answered[answer] += 1

    def close(self) -> None:
        """Write what is queued and end the thread."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._tally.close()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(FLUSH_SECONDS)
            self._wake.clear()
            if not self._flush() and not self._closing:
                time.sleep(FLUSH_SECONDS)
        self._flush()
        self._give_up()

    def _flush(self) -> bool:
        """Write the queue in batches. False when the database does not take them now; they stay queued."""
        try:
            # What comes meanwhile waits for the next turn: a transaction of a few rows costs more than they do.
            with self._guard:
                self._taken += self._queue
                self._queue = []
            while batch := self._taken[:BATCH_ROWS]:
                self._write(batch)
                del self._taken[: len(batch)]
                with self._guard:
                    self.queued_rows -= len(batch)
            self._write_lost()
            self._write_errors()
            self._write_answers()
        except (BusyError, DiskError, OperationalError) as error:
            log.warning("predictions wait to be recorded: %s", error)
            return False
        return True

    def _write(self, batch: list[Row]) -> None:
        answered = Counter(map(source_of, batch))
        if free_bytes(self._workspace.folder) < self._workspace.settings.disk.stop_recording:
            self._count_all(answered, DISK_LOW)
            return
        try:
            new = recording.record_rows(self._workspace, batch, tally=self._tally.id)
        except (BusyError, DiskError, OperationalError):
            raise
        except Exception as error:  # one batch that cannot be written must not end recording: it is counted
            log.exception("predictions could not be recorded")
            self._count_all(answered, _reason(error))
            return
        for source, count in new.items():
            self._metrics.recorded(source, count)
        self._count_all(answered - new, KNOWN_ID)

    def _count_all(self, rows: Counter[Source], reason: str) -> None:
        for source, count in rows.items():
            self._count(source, reason, count)

    def _count(self, source: Source, reason: str, rows: int) -> None:
        self._metrics.unrecorded(source, reason.partition(":")[0], rows)
        with self._guard:
            self._lost[source, reason] += rows

    def _write_lost(self) -> None:
        while self._lost:
            with self._guard:
                (source, reason), count = self._lost.popitem()
            try:
                recording.record_unrecorded(
                    self._workspace, source, worker=self._worker, count=count, reason=reason, tally=self._tally.id
                )
            except BaseException:
                with self._guard:
                    self._lost[source, reason] += count
                raise

    def _write_errors(self) -> None:
        while self._errors:
            with self._guard:
                (deployment, revision, reason), count = self._errors.popitem()
            try:
                recording.record_unanswered(self._workspace, deployment, revision, reason=reason, count=count)
            except BaseException:
                with self._guard:
                    self._errors[deployment, revision, reason] += count
                raise

    def _write_answers(self) -> None:
        if not self._answered or (time.monotonic() < self._count_at and not self._closing):
            return
        self._count_at = time.monotonic() + COUNT_SECONDS
        with self._guard:
            answered, self._answered = self._answered, Counter()
        try:
            recording.record_answered(self._workspace, answered)
        except BaseException:
            with self._guard:
                self._answered.update(answered)
            raise

    def _give_up(self) -> None:
        if self.queued_rows or self._lost:
            rows = self.queued_rows + self._lost.total()
            log.error("%s predictions were answered and could not be recorded: traffic.db did not take them", rows)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]
