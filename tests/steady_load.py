"""`python -m tests.steady_load PORT`: steady inference from another process, each answer a line on stdout.

A line is `ID STATUS SECONDS`: the request's id, 0 for a connection that broke, and the clock when the answer came.
It goes on until its stdin is closed.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time

from tests.gateways import infer_body

CONNECTIONS = 3
PAUSE_SECONDS = 0.01


def ask(port: int, number: int, stopping: threading.Event, guard: threading.Lock) -> None:
    """One after the other over a kept-alive connection, which is made anew when it breaks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    count = 0
    while not stopping.wait(PAUSE_SECONDS):
        count += 1
        name = f"load-{number}-{count}"
        try:
            connection.request("POST", "/v2/models/fraud/infer", json.dumps(infer_body(id=name)))
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        with guard:
            sys.stdout.write(f"{name} {status} {time.time():.6f}\n")
            sys.stdout.flush()
    connection.close()


def main(port: int) -> None:
    stopping, guard = threading.Event(), threading.Lock()
    threads = [threading.Thread(target=ask, args=(port, n, stopping, guard)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stopping.set()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
