"""Clients that each send the next request once the last one was answered: `python -m bench.closed` < a JSON plan.

One thread over all connections, the same for every server. Prints the answered requests a second and the latencies.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from dataclasses import dataclass, field

HEAD = "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
LIMIT_SECONDS = 30.0


@dataclass
class Client:
    """One kept-alive connection."""

    connection: socket.socket
    turn: int
    sent_at: float = 0.0
    buffer: bytearray = field(default_factory=bytearray)

    def send(self, messages: list[bytes]) -> None:
        self.turn += 1
        self.buffer.clear()
        self.sent_at = time.perf_counter()
        self.connection.sendall(messages[self.turn % len(messages)])

    def receive(self) -> bool:
        """Take what is there; whether the answer is whole."""
        data = self.connection.recv(1 << 18)
        if not data:
            raise RuntimeError("the server closed a connection")
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self.buffer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"not 200: {bytes(self.buffer[:300])!r}")
        head = bytes(self.buffer[:end]).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return len(self.buffer) >= end + 4 + length


def drive(port: int, messages: list[bytes], connections: int, seconds: float) -> list[float]:
    """The latency of each request that was answered within `seconds`, in seconds."""
    selector = selectors.DefaultSelector()
    clients = []
    for number in range(connections):
        connection = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(connection, number)
        clients.append(client)
        selector.register(connection, selectors.EVENT_READ, client)
    latencies: list[float] = []
    end = time.perf_counter() + seconds
    for client in clients:
        client.send(messages)
    while time.perf_counter() < end:
        ready = selector.select(LIMIT_SECONDS)
        if not ready:
            raise RuntimeError(f"no answer within {LIMIT_SECONDS:g} s")
        for key, _ in ready:
            client = key.data
            if client.receive():
                latencies.append(time.perf_counter() - client.sent_at)
                client.send(messages)
    for client in clients:
        client.connection.close()
    return latencies


def main() -> None:
    plan = json.load(sys.stdin)
    bodies = [json.dumps(body).encode() for body in plan["bodies"]]
    messages = [HEAD.format(path=plan["path"], length=len(body)).encode() + body for body in bodies]
    drive(plan["port"], messages, plan["connections"], plan["warm"])
    latencies = sorted(drive(plan["port"], messages, plan["connections"], plan["seconds"]))
    p50, p99 = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    print(json.dumps({"rate": len(latencies) / plan["seconds"], "p50": p50 * 1000, "p99": p99 * 1000}))


if __name__ == "__main__":
    main()
