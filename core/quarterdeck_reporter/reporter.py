"""The sender: a bounded queue and one daemon thread. The service's own threads only put into the queue."""

from __future__ import annotations

import atexit
import http.client
import json
import logging
import math
import os
import random
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, urlsplit

LONGEST_PAUSE_SECONDS = 30.0
REFUSALS = (400, 413, 422)
"""What the gateway answers to rows that do not fit: sent again they would not fit either."""
TRIES_PER_BATCH = 20
"""Requests spent on finding the rows of one batch that do not fit; what is left then is counted as refused."""
log = logging.getLogger("quarterdeck_reporter")
_all: weakref.WeakSet[Reporter] = weakref.WeakSet()


class Reporter:
    """Sends predictions of one deployment to a gateway, in batches, from a thread that starts with the first one."""

    def __init__(
        self,
        url: str,
        deployment: str,
        *,
        version: int | Callable[[], int] | None = None,
        token: str | None = None,
        capacity: int = 10_000,
        capacity_bytes: int = 32_000_000,
        batch: int = 500,
        every: float = 0.5,
        timeout: float = 5.0,
        flush_seconds: float = 2.0,
    ) -> None:
        """Nothing is sent or started yet.

        url: the gateway, such as http://127.0.0.1:8480. version: that of the model which answers, or a function that
        tells it, asked at each prediction. capacity: predictions that may wait; further ones are dropped and counted.
        every: seconds between batches. flush_seconds: how long the end of the process may be held up by what waits.
        """
        self._url = f"{url.rstrip('/')}/v2/models/{quote(deployment, safe='')}/predictions"
        self._version = version
        self._headers = {"content-type": "application/json"}
        if token is not None:
            self._headers["authorization"] = f"Bearer {token}"
        self._capacity, self._capacity_bytes, self._batch = capacity, capacity_bytes, batch
        self._every, self._timeout, self._flush_seconds = every, timeout, flush_seconds
        self._begin()
        _all.add(self)

    def _begin(self) -> None:
        """As if nothing had been reported; also in the child of a fork, whose parent sends what waits."""
        self._lock = threading.Lock()
        self._wake, self._hurry = threading.Event(), threading.Event()
        self._queue: deque[tuple[int, Callable[[], list[dict[str, Any]]]]] = deque()
        self._bytes = self._in_hand = 0
        self._thread: threading.Thread | None = None
        self._counts = {"sent": 0, "dropped": 0, "refused": 0, "unread": 0}
        self.last_error: str | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many were sent, dropped (no room), refused (they do not fit), unread (nothing found), and wait."""
        return {**self._counts, "waiting": len(self._queue) + self._in_hand}

    def report(
        self,
        inputs: Any,
        prediction: Any,
        *,
        version: int | None = None,
        key: Any = None,
        id: str | None = None,
        probabilities: Any = None,
        event_time: str | None = None,
        latency_us: int | None = None,
    ) -> str | None:
        """Report one prediction; return its id, by which a label may name it, or None where it was dropped.

        inputs: a mapping by name, or the values in the order of the signature. Never raises.
        """
        try:
            row = {
                "id": id or uuid.uuid4().hex,
                "inputs": dict(inputs) if isinstance(inputs, Mapping) else list(inputs),
                "prediction": prediction,
                "version": self.version() if version is None else version,
                "key": key,
                "probabilities": probabilities,
                "event_time": event_time or now(),
                "latency_us": latency_us,
            }
            return str(row["id"]) if self.offer(lambda: [row]) else None
        except Exception as error:
            self.count("unread", error=error)
            return None

    def version(self) -> int | None:
        """The version that answers now; None where nobody says."""
        return self._version() if callable(self._version) else self._version

    def offer(self, make: Callable[[], list[dict[str, Any]]], size: int = 0) -> bool:
        """Queue what makes rows, to be called by the sender's thread; False where there is no room."""
        with self._lock:
            if len(self._queue) >= self._capacity or self._bytes + size > self._capacity_bytes:
                self._counts["dropped"] += 1
                return False
            self._queue.append((size, make))
            self._bytes += size
            # Here and not at the start: a server that forks its workers does so after it has made the application.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="quarterdeck-reporter", daemon=True)
                self._thread.start()
        self._wake.set()
        return True

    def flush(self, seconds: float) -> bool:
        """Send what waits, for at most so long; whether nothing waits any more."""
        deadline = time.monotonic() + seconds
        self._hurry.set()
        self._wake.set()
        while self.counts["waiting"] and time.monotonic() < deadline:
            time.sleep(0.01)
        self._hurry.clear()
        return not self.counts["waiting"]

    def count(self, what: str, number: int = 1, error: object = None) -> None:
        """Count predictions that came to nothing, and keep the reason."""
        with self._lock:
            self._counts[what] += number
        if error is not None:
            self._tell(f"{type(error).__name__}: {error}" if isinstance(error, Exception) else str(error))

    def _tell(self, problem: str | None) -> None:
        """Log what changed, not each repetition of it."""
        if problem is not None and self.last_error is None:
            log.warning("predictions cannot be reported: %s", problem)
        elif problem is None and self.last_error is not None:
            log.warning("predictions are reported again; so far %s", self.counts)
        self.last_error = problem

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            if len(self._queue) < self._batch:
                self._hurry.wait(self._every)
            while self._queue:
                try:
                    self._deliver(self._take())
                except Exception as error:  # Whatever it is, the next batch may be better.
                    self.count("refused", self._in_hand, error)
                self._in_hand = 0

    def _take(self) -> list[bytes]:
        """The next rows, as JSON."""
        with self._lock:
            taken = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            self._bytes -= sum(size for size, _ in taken)
            self._in_hand = len(taken)
        rows: list[bytes] = []
        for _, make in taken:
            try:
                rows += [json.dumps(_cleaned(row), default=_plain, allow_nan=False).encode() for row in make()]
            except Exception as error:  # The service's own extraction, or a value that JSON does not know.
                self.count("unread", error=error)
        return rows

    def _deliver(self, rows: list[bytes]) -> None:
        """Send until the gateway has taken each row or refused it."""
        parts, tries = [rows] if rows else [], TRIES_PER_BATCH
        while parts:
            part = parts.pop()
            status, answer = self._send(part)
            if status in REFUSALS and len(part) > 1 and tries > 0:
                # A batch is taken whole or not at all: halves find the rows that do not fit.
                half, tries = len(part) // 2, tries - 1
                parts += [part[half:], part[:half]]
            elif status in REFUSALS:
                self.count("refused", len(part), f"status {status}: {answer}")
            else:
                self.count("sent", len(part))
                self._tell(None)

    def _send(self, rows: list[bytes]) -> tuple[int, str]:
        """The gateway's answer, however long that takes; an answer that a later try may change is none."""
        body, pause = b'{"predictions": [' + b",".join(rows) + b"]}", 0.5
        while True:
            try:
                status, answer = self._post(body)
                if status < 300 or status in REFUSALS:
                    return status, answer
                self._tell(f"status {status}: {answer}")
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._tell(f"{type(error).__name__}: {error}")
            if self._hurry.wait(random.uniform(pause / 2, pause)):
                time.sleep(0.1)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _post(self, body: bytes) -> tuple[int, str]:
        parts = urlsplit(self._url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self._timeout)
        try:
            connection.request("POST", parts.path, body, self._headers)
            answer = connection.getresponse()
            return answer.status, answer.read(1000).decode(errors="replace")
        finally:
            connection.close()


def now() -> str:
    """This moment as ISO text with its zone."""
    return datetime.now(timezone.utc).isoformat()


def _cleaned(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what it does not say, and with null for numbers that are none."""
    inputs = row["inputs"]
    if isinstance(inputs, Mapping):
        inputs = {str(name): _plain(value) for name, value in inputs.items()}
    else:
        inputs = [_plain(value) for value in inputs]
    return {name: value for name, value in {**row, "inputs": inputs}.items() if value is not None}


def _plain(value: Any) -> Any:
    """What JSON knows: numpy's scalars and arrays as Python's, times as text, NaN as null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    elif hasattr(value, "isoformat"):
        value = value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float, list, dict)):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be reported")


def _forked() -> None:
    for reporter in list(_all):
        reporter._begin()


def _leaving() -> None:
    began = time.monotonic()
    for reporter in list(_all):
        if reporter.counts["waiting"]:
            # All of them together take no longer than the most patient one.
            reporter.flush(began + reporter._flush_seconds - time.monotonic())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
atexit.register(_leaving)
