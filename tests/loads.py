"""A paced load of small requests over kept-alive connections, which remembers what each answer said."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

_HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Sent:
    """One request and its answer."""

    at: datetime
    seconds: float
    status: int
    """0 when the connection failed."""
    version: str
    revision: str
    content: dict[str, Any]


@dataclass
class Load:
    """Requests to `path`: `rate` a second over `connections`; as fast as they are answered when `rate` is None."""

    port: int
    path: str
    body: bytes
    rate: float | None = 200.0
    connections: int = 4
    sent: list[Sent] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _stopping: bool = False

    async def __aenter__(self) -> Load:
        self._tasks = [asyncio.create_task(self._connection(number)) for number in range(self.connections)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _connection(self, number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = _HEAD.format(path=self.path, length=len(self.body)).encode()
        due = time.perf_counter() + (number / self.rate if self.rate else 0.0)
        while not self._stopping:
            if self.rate:
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                due += self.connections / self.rate
            at, started = datetime.now(UTC), time.perf_counter()
            try:
                writer.write(head + self.body)
                answer = await _read(reader)
            except (OSError, asyncio.IncompleteReadError):
                self.sent.append(Sent(at, time.perf_counter() - started, 0, "", "", {}))
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                continue
            self.sent.append(Sent(at, time.perf_counter() - started, *answer))
        writer.close()
        await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> tuple[int, str, str, dict[str, Any]]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    content = await reader.readexactly(int(headers["content-length"]))
    status = int(head[0].split()[1])
    return status, headers.get("x-model-version", ""), headers.get("x-revision", ""), json.loads(content)
