"""Models from elsewhere through real processes: adopted, watched, labelled, and told of when their input moves."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression

from quarterdeck.traffic.window import read_window
from tests.adopted import (
    DAY,
    NUMBERS,
    PATIENCE,
    ROWS,
    SETTINGS,
    START,
    Receiver,
    listening,
    moved,
    quiet,
    rows,
    sample,
    serve_days,
    with_truth,
)
from tests.deck import Deck, new_deck

pytestmark = pytest.mark.timeout(300)


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


def fitted() -> LogisticRegression:
    frame = with_truth(rows(1))
    return LogisticRegression().fit(frame[NUMBERS], frame["fraud"])


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
    assert deck.json("label", "add", "risk", str(labels))["accepted"] == ROWS
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
    assert deck.json("label", "add", "outside", str(labels))["accepted"] == ROWS
    assert read_window(deck.workspace, "outside", START, START + DAY).labelled == ROWS
