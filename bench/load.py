"""A load generator in a process of its own: `python -m bench.load PORT PATH RATE BODIES.json ANSWERS.jsonl`.

Requests leave at their due times whether or not earlier ones were answered (an open loop), over kept-alive
connections; a request that finds none free opens another one. Ends with SIGTERM and writes what it saw.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

CONNECTIONS = 8
ANSWER_SECONDS = 10.0
_HEAD = "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Answer:
    """One request and what became of it. Times are seconds since the epoch."""

    due: float
    sent: float
    answered: float
    input: int
    """Which of the bodies was sent."""
    status: int
    """0 when the connection failed or no answer came."""
    version: int | None = None
    revision: int | None = None
    probabilities: list[float] | None = None


@dataclass
class Generator:
    """Sends `bodies` in turn, `rate` a second."""

    port: int
    path: str
    rate: float
    bodies: list[bytes]
    answers: list[Answer] = field(default_factory=list)
    _free: deque[Connection] = field(default_factory=deque)

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, then wait for what is under way."""
        for _ in range(CONNECTIONS):
            self._free.append(await self._connect())
        print("ready", flush=True)
        under_way: set[asyncio.Task[None]] = set()
        start, number = time.time(), 0
        while not stop.is_set():
            due = start + number / self.rate
            await asyncio.sleep(max(0.0, due - time.time()))
            task = asyncio.create_task(self._request(number % len(self.bodies), due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            number += 1
        await asyncio.gather(*under_way)
        for _, writer in self._free:
            writer.close()

    async def _connect(self) -> Connection:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def _request(self, number: int, due: float) -> None:
        sent = time.time()
        try:
            # The connection that was idle longest: the load goes round all of them, so to all workers they lead to.
            connection = self._free.popleft() if self._free else await self._connect()
            async with asyncio.timeout(ANSWER_SECONDS):
                sent = time.time()
                connection[1].write(self._head(number) + self.bodies[number])
                status, headers, content = await _read(connection[0])
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            self.answers.append(Answer(due, sent, time.time(), number, 0))
            return
        self._free.append(connection)
        answered = time.time()
        if status != 200:
            self.answers.append(Answer(due, sent, answered, number, status))
            return
        self.answers.append(
            Answer(
                due,
                sent,
                answered,
                number,
                status,
                int(headers["x-model-version"]),
                int(headers["x-revision"]),
                probabilities_of(json.loads(content)),
            )
        )

    def _head(self, number: int) -> bytes:
        return _HEAD.format(path=self.path, length=len(self.bodies[number])).encode()


async def _read(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    headers = dict(line.split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


def probabilities_of(content: dict[str, Any]) -> list[float] | None:
    """The `predict_proba` output of an Open Inference Protocol response."""
    for output in content["outputs"]:
        if output["name"] == "predict_proba":
            return [float(value) for value in output["data"]]
    return None


async def _until_told(generator: Generator) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await generator.run(stop)


def main(port: str, path: str, rate: str, bodies: str, answers: str) -> None:
    """Send the bodies of one file until SIGTERM, and write the answers to the other."""
    texts = [json.dumps(body).encode() for body in json.loads(Path(bodies).read_text(encoding="utf-8"))]
    generator = Generator(int(port), path, float(rate), texts)
    asyncio.run(_until_told(generator))
    with Path(answers).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(answer)) + "\n" for answer in generator.answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
