"""Models from elsewhere as a person sees them: their input, days of traffic that moves, and who is told of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quarterdeck.monitoring.queries import ResultRow, results
from quarterdeck.traffic.window import read_window, watermark
from tests.deck import Deck
from tests.waiting import wait_for

PATIENCE = 120.0
SETTINGS = """\
[workspace]
name = "adoption"
[gateway]
port = 0
[notifications]
webhooks = ["{webhook}"]
"""
START = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""Noon of a day: windows are days, and one that is over is judged five minutes later."""
DAY = timedelta(days=1)
NUMBERS = ["amount", "age"]
ROWS = 300


class Receiver(ThreadingHTTPServer):
    """A webhook's other end: keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.told: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pages"


class _Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        message = json.loads(body)
        # What comes within a while is told together.
        for facts in message.get("alerts", [message]):
            self.server.told.append({**facts, "key": self.headers["Idempotency-Key"]})
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def listening() -> Iterator[Receiver]:
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, name="webhook")
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def rows(seed: int, *, shift: float = 0.0) -> pd.DataFrame:
    """The model's input; `shift`, in standard deviations, moves `amount`."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({"amount": random.normal(shift, 1, ROWS), "age": random.normal(40, 9, ROWS)})


def with_truth(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(fraud=np.where(frame["amount"] > 0, 1, 0))


def sample(folder: Path) -> str:
    path = folder / "sample.csv"
    with_truth(rows(2)).to_csv(path, index=False)
    return str(path)


def quiet(deck: Deck, name: str) -> None:
    """Judge what is over so far: nothing moved in it."""
    assert judged_days(deck, name)[-1].verdict == "quiet"
    assert deck.json("alerts", "--deployment", name) == []


def moved(deck: Deck, receiver: Receiver, name: str) -> None:
    """Judge the two days that moved: one alert names `amount`, and the webhook was told."""
    assert [row.verdict for row in judged_days(deck, name)[:2]] == ["found", "found"]
    (alert,) = deck.json("alerts", "--deployment", name)
    assert alert["columns"] == ["amount"]
    assert alert["severity"] == "page"
    # Of deployments in which the same moved at once, the first stands for the others.
    line = f"quarterdeck open alert/{alert['cause'] or alert['id']}"

    def pages() -> list[dict[str, Any]]:
        return [page for page in receiver.told if page["open"] == line and name in (page["deployment"], *page["also"])]

    wait_for(pages, seconds=PATIENCE, what="the page")
    assert {(*page["columns"], page["severity"]) for page in pages()} == {("amount", "page")}


def judged_days(deck: Deck, name: str) -> list[ResultRow]:
    """The days that are over, as they were judged, newest first. By the verb, if not by the runner before."""
    deck.json("monitor", "run", name)
    # The runner may be judging the same days now: whoever is first writes them.
    return wait_for(lambda: newest_judged(deck, name), seconds=PATIENCE, what="the verdicts")


def newest_judged(deck: Deck, name: str) -> list[ResultRow]:
    """Empty as long as a day that is over is not judged."""
    end = watermark(deck.workspace, name)
    assert end is not None
    found = [row for row in results(deck.workspace, deployment=name) if row.served and row.aspect == "inputs"]
    return found if found and found[0].window_end == end.replace(hour=0) else []


def serve_days(deck: Deck, receiver: Receiver, name: str) -> None:
    """A day as the sample, then two whose amounts moved, through the gateway; and the row that ends the last."""
    deck.infer(name, rows(3), event_time=START).raise_for_status()
    deck.infer(name, rows(4, shift=3), event_time=START + DAY).raise_for_status()
    wait_for(lambda: recorded(deck, name) == 2 * ROWS, seconds=PATIENCE, what="the record of two days")
    quiet(deck, name)
    deck.infer(name, rows(5, shift=3), event_time=START + 2 * DAY).raise_for_status()
    deck.infer(name, rows(6).head(1), event_time=START + 3 * DAY).raise_for_status()
    wait_for(lambda: recorded(deck, name) == 3 * ROWS + 1, seconds=PATIENCE, what="the record of what was answered")
    moved(deck, receiver, name)


def recorded(deck: Deck, name: str) -> int:
    return read_window(deck.workspace, name, START, START + 30 * DAY).n
