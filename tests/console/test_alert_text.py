"""The words about an alert."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from quarterdeck.monitoring.queries import AlertRow, alert
from quarterdeck.monitoring.stakes import Cost
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.workspace import Workspace
from quarterdeck_console import alert_words
from quarterdeck_console.formatting import Page
from quarterdeck_console.screens import alert_text

SETTINGS = MonitorSettings(deployment="fraud")
SCORE: dict[str, Any] = {
    "effect": 0.02,
    "measure": "wasserstein_normed",
    "q_value": 0.9,
    "missing_current": 0.31,
    "missing_reference": 0.01,
    "missing_q": 1e-6,
    "unseen": 0.25,
    "unseen_q": 0.004,
    "n_current": 400,
    "importance": 0.6,
}


@pytest.fixture
def row(seeded: Workspace) -> AlertRow:
    return replace(alert(seeded, 1), columns=("amount",), slice=None)


def evidence(row: AlertRow, score: dict[str, Any], settings: MonitorSettings | None = SETTINGS) -> str:
    page = Page()
    alert_text.evidence(page, replace(row, evidence={"amount": score}), settings)
    return page.text.plain


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("drift", "amount 0.02 sigma 0.1 q=0.9 400 31%, was 1% 60%"),
        ("missing", "amount +30% missing 10% q<0.001 400 31%, was 1% 60%"),
        ("unseen", "amount 25.0% new 1% q=0.004 400 31%, was 1% 60%"),
    ],
)
def test_the_evidence_is_what_the_alert_goes_by(row: AlertRow, kind: str, says: str) -> None:
    lines = evidence(replace(row, kind=kind), SCORE).splitlines()
    assert [" ".join(line.split()) for line in lines if "400" in line] == [says]
    assert "sigma: spreads of the reference; q: the chance of that if nothing moved" in " ".join(lines)


def test_what_does_not_come_as_it_should_is_said_in_words(row: AlertRow) -> None:
    traffic = replace(row, kind="traffic", columns=("silence", "labels"))
    assert alert_text.what(traffic).plain == "nothing comes any more, labels are late"
    assert alert_text.what(replace(row, columns=("silence",))).plain == "silence"


@pytest.mark.parametrize(("carries", "says"), [(0.75, ", 75% of the loss"), (math.nan, ""), (None, "")])
def test_a_slice_carries_a_part_of_the_loss_where_there_is_one(row: AlertRow, carries: float | None, says: str) -> None:
    slices = [{"slice": "channel=app", "n_current": 90, "share": 0.25, "carries": carries}]
    score = {"metric": "roc_auc", "value": 0.7, "low": 0.6, "high": 0.8, "baseline": 0.8, "loss": 0.125}
    said = evidence(replace(row, kind="quality"), {**score, "slice": "channel=app", "slices": slices})
    assert "0.8 on its holdout: 12% worse (a finding from 10% on)" in said
    assert f"in channel=app: 90 rows (25%){says}\n" in said


@pytest.mark.parametrize(
    ("cost", "short", "full"),
    [
        (Cost("realised", "roc_auc", 0.53), "53% worse", "roc_auc 53% worse, by labels"),
        (Cost("estimated", "f1", 0.02), "~2% worse", "f1 2% worse, estimated, as labels have not come"),
        (Cost("realised", "f1", -0.2), "no worse", "f1 20% better, by labels"),
        (Cost("estimated", "f1", 0.2, 1240.4, "EUR"), "~EUR 1,240 a day", "costs EUR 1,240 a day more, estimated"),
    ],
)
def test_what_it_costs_is_said_in_words_and_with_no_sign(row: AlertRow, cost: Cost, short: str, full: str) -> None:
    told = replace(row, cost=cost)
    assert alert_words.cost(told) == short
    assert (alert_words.cost_in_full(told) or "").startswith(full)


def test_a_resolved_alert_offers_what_can_still_be_done_and_a_runbook_stands_with_the_keys(row: AlertRow) -> None:
    def keys(row: AlertRow, in_a_line: int) -> str:
        page = Page()
        alert_text.actions(page, row, in_a_line=in_a_line)
        assert max(map(len, page.text.plain.splitlines())) <= 78
        return page.text.plain

    said = keys(replace(row, runbook="https://runbooks.example.org/fraud"), 2)
    assert [word for word in said.split() if len(word) == 1 and word != "a"] == list("RASCbv")
    assert "Runbook: https://runbooks.example.org/fraud" in said
    assert len(said.splitlines()) == 6
    resolved = keys(replace(row, state="resolved"), 1)
    assert [line[0] for line in resolved.splitlines()[2:]] == ["C", "b", "v"]
