"""Models from elsewhere through real processes: adopted, watched, labelled, and told of when their input moves."""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from quarterdeck.monitoring.queries import ResultRow, results
from quarterdeck.traffic.window import read_window, watermark
from tests.deck import Deck, new_deck
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
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
        self.server.told.append({**json.loads(body), "key": self.headers["Idempotency-Key"]})
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


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with listening() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Deck]:
    folder = tmp_path_factory.mktemp("adoption") / "deck"
    with new_deck(folder, SETTINGS.format(webhook=receiver.url)) as deck:
        deck.start()
        yield deck


def rows(seed: int, *, shift: float = 0.0) -> pd.DataFrame:
    """The model's input; `shift`, in standard deviations, moves `amount`."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({"amount": random.normal(shift, 1, ROWS), "age": random.normal(40, 9, ROWS)})


def with_truth(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(fraud=np.where(frame["amount"] > 0, 1, 0))


def fitted() -> LogisticRegression:
    frame = with_truth(rows(1))
    return LogisticRegression().fit(frame[NUMBERS], frame["fraud"])


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
    line = f"quarterdeck open alert/{alert['id']}"
    wait_for(lambda: line in [page["open"] for page in receiver.told], seconds=PATIENCE, what="the page")
    (page,) = [page for page in receiver.told if page["open"] == line]
    assert (page["deployment"], page["columns"], page["severity"]) == (name, ["amount"], "page")


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


def test_a_skops_file_is_served_watched_and_labelled(deck: Deck, receiver: Receiver, tmp_path: Path) -> None:
    path = tmp_path / "risk.skops"
    skops.io.dump(fitted(), path)
    adopted = deck.json("adopt", str(path), "--sample", sample(tmp_path), "--target", "fraud")
    assert (adopted["deployment"], adopted["version"], adopted["monitor"]) == ("risk", 1, "risk")
    assert "[monitors.risk]" in (deck.root / "quarterdeck.toml").read_text()
    expected = fitted().predict_proba(rows(3)[NUMBERS])
    answer = deck.infer("risk", rows(3), event_time=START - DAY).json()
    (shares,) = [output["data"] for output in answer["outputs"] if output["name"] == "predict_proba"]
    np.testing.assert_allclose(np.reshape(shares, (-1, 2)), expected, atol=1e-9)
    serve_days(deck, receiver, "risk")

    labels = tmp_path / "labels.csv"
    ids = [f"{answer['id']}:{row}" for row in range(ROWS)]
    pd.DataFrame({"id": ids, "label": with_truth(rows(3))["fraud"]}).to_csv(labels, index=False)
    assert deck.json("label", "add", "risk", str(labels))["labels"] == ROWS
    assert read_window(deck.workspace, "risk", START - DAY, START).labelled == ROWS


def test_an_onnx_graph_is_served_and_watched(deck: Deck, receiver: Receiver, tmp_path: Path) -> None:
    path = tmp_path / "graph.onnx"
    with warnings.catch_warnings():
        # skl2onnx and what it imports warn of their own dependencies.
        warnings.simplefilter("ignore")
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import FloatTensorType

        graph = to_onnx(fitted(), initial_types=[("input", FloatTensorType([None, 2]))])
    path.write_bytes(graph.SerializeToString())
    adopted = deck.json("adopt", str(path), "--sample", sample(tmp_path), "--target", "fraud")
    assert (adopted["deployment"], adopted["version"]) == ("graph", 1)
    serve_days(deck, receiver, "graph")


def test_a_model_served_elsewhere_is_watched(deck: Deck, receiver: Receiver, tmp_path: Path) -> None:
    arguments = ("adopt", "--external", "--name", "outside", "--sample", sample(tmp_path), "--target", "fraud")
    assert deck.json(*arguments)["deployment"] == "outside"
    body = {
        "predictions": [
            {
                "id": f"http-{day}-{i}",
                "inputs": dict(row),
                "prediction": 1,
                "event_time": (START + day * DAY).isoformat(),
            }
            for day, frame in enumerate((rows(3), rows(4, shift=3)))
            for i, row in frame.iterrows()
        ]
    }
    place = f"{deck.url}/v2/models/outside/predictions"
    for duplicates in (0, 2 * ROWS):
        taken = httpx.post(place, json=body, timeout=PATIENCE)
        assert taken.json() == {"accepted": 2 * ROWS - duplicates, "duplicates": duplicates}
    quiet(deck, "outside")

    table = tmp_path / "predictions.csv"
    last_day = rows(5, shift=3).assign(at=START + 2 * DAY)
    late = pd.concat([last_day, rows(6).head(1).assign(at=START + 3 * DAY)], ignore_index=True)
    late.assign(id=[f"table-{i}" for i in range(len(late))], prediction=1).to_csv(table, index=False)
    added = deck.json("predictions", "add", "outside", str(table), "--time", "at")
    assert (added["accepted"], added["duplicates"]) == (ROWS + 1, 0)
    moved(deck, receiver, "outside")

    labels = tmp_path / "labels.csv"
    pd.DataFrame({"id": [f"http-0-{i}" for i in range(ROWS)], "label": 1}).to_csv(labels, index=False)
    assert deck.json("label", "add", "outside", str(labels))["labels"] == ROWS
    assert read_window(deck.workspace, "outside", START, START + DAY).labelled == ROWS
