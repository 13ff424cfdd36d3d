"""Tables that are scored by the runner at a tick, by hand meanwhile, and again after a rollback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.deck import Deck, new_deck
from tests.gateways import add_classifier, training_frame
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
PATIENCE = 120.0
SETTINGS = """\
[workspace]
name = "batch"
[gateway]
port = 0
[deployments.fraud]
probation = "1ms"
probation_requests = 10
[schedules.nightly]
score = "fraud"
input = "rows.csv"
output = "scored/{date}.parquet"
every = "1d"
"""


@pytest.fixture
def deck(tmp_path: Path) -> Iterator[Deck]:
    with new_deck(tmp_path / "deck", SETTINGS) as deck:
        training_frame(200).to_csv(deck.root / "rows.csv", index=False)
        deck.start()
        yield deck


def scored(deck: Deck) -> pd.DataFrame:
    (path,) = (deck.root / "scored").iterdir()
    return pd.read_parquet(path)


def test_a_tick_scores_and_a_rollback_is_verified_by_the_next_score(deck: Deck) -> None:
    add_classifier(deck.workspace)
    assert deck.json("deploy", "fraud", "--served-by", "batch")["state"] == "unproven"
    failed = deck.json("run", "--schedule", "nightly", expect=1)
    assert "scored cannot be written" in failed["error"]
    (deck.root / "scored").mkdir()
    assert deck.json("run", "--schedule", "nightly")["state"] == "succeeded"
    assert len(scored(deck)) == 200
    add_classifier(deck.workspace, shift=2.0)
    deck.json("deploy", "fraud", "--version", "2")
    assert deck.json("run", "--schedule", "nightly")["state"] == "succeeded"
    bad = (scored(deck)["prediction"] == "yes").sum()
    operation = deck.json("rollback", "fraud", "--reason", "worse")
    assert (operation["state"], operation["version"]) == ("unproven", 1)
    (output,) = operation["outputs"]
    assert (output["version"], output["rows"]) == (2, 200)
    (again,) = deck.json("score", "--again", "fraud")
    assert again["done"]["version"] == 1
    assert (scored(deck)["prediction"] == "yes").sum() > 2 * bad
    (row,) = deck.status()["deployments"]
    assert row["state"] == "verified"
    wait_for(lambda: deck.json("history", "fraud")[0]["verified_at"], seconds=PATIENCE, what="the proof")
