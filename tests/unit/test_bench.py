"""What a benchmark reports: rows with their budgets, and which answers count as misrouted or as wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.load import Answer, probabilities_of
from bench.rollback import Change, differing, misrouted
from bench.rows import Budget, Row, append, as_table, middle, percentile

FORM = {"bench", "case", "ours", "unit", "peer", "theirs", "ratio", "budget", "met"}
CHANGES = [
    Change(revision=1, version=1, planned=0.0, verified=1.0),
    Change(revision=2, version=2, planned=10.0, verified=11.0),
    Change(revision=3, version=1, planned=20.0, verified=21.0),
]


def answer(sent: float, answered: float, revision: int, version: int, **fields: object) -> Answer:
    values = {"due": sent, "input": 0, "status": 200, "probabilities": [0.2, 0.8], **fields}
    return Answer(sent=sent, answered=answered, revision=revision, version=version, **values)  # type: ignore[arg-type]


def test_a_row_is_written_in_the_form_that_the_design_gives(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    row = Row("console", "first paint", 0.5, "s", Budget("under", 0.7), "harlequin 2.17", 1.5)
    append([row, row], {"machine": {"cpus": 2}, "date": "2026-01-05", "commit": "abc"}, path)
    append([row], {"machine": {"cpus": 2}, "date": "2026-01-06", "commit": "abc"}, path)
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(written) == 3
    assert written[0].keys() >= FORM | {"machine", "date", "commit"}
    assert written[0]["ratio"] == pytest.approx(3.0)
    assert (written[0]["budget"], written[0]["met"]) == ("under 0.7 s", True)


@pytest.mark.parametrize(
    ("budget", "kept", "broken"),
    [(Budget("under", 250), 249.9, 250), (Budget("at most", 0), 0, 1), (Budget("at least", 196), 196, 195.9)],
)
def test_a_budget_is_met_or_it_is_not(budget: Budget, kept: float, broken: float) -> None:
    assert Row("rollback", "case", kept, "", budget).met
    assert not Row("rollback", "case", broken, "", budget).met


def test_what_could_not_be_measured_meets_no_budget() -> None:
    assert not Row("console", "first paint", None, "s", Budget("under", 0.7)).met
    assert Row("console", "first paint", None, "s").met


def test_a_row_without_peer_has_no_ratio_and_the_table_says_what_was_missed() -> None:
    row = Row("cli", "--help", 0.4, "s", Budget("under", 0.3), note="0.10 s of CPU")
    assert row.ratio is None
    assert row.as_dict()["peer"] is None
    assert "NO" in as_table([row]).splitlines()[1].split()


def test_percentiles_of_few_values_are_the_largest_ones() -> None:
    values = [float(value) for value in range(1, 21)]
    assert percentile(values, 0.99) == 20
    assert percentile(values, 0.5) == 10
    assert middle([1.0, None]) is None
    assert middle([1.0, 3.0]) == 2.0


def test_an_answer_by_what_was_verified_is_not_misrouted() -> None:
    assert misrouted([answer(5, 5.01, 1, 1), answer(12, 12.01, 2, 2), answer(30, 30.01, 3, 1)], CHANGES) == []


def test_while_a_change_is_under_way_both_sides_may_answer() -> None:
    assert misrouted([answer(10.1, 10.2, 1, 1), answer(10.1, 10.2, 2, 2), answer(9.9, 10.1, 2, 2)], CHANGES) == []


def test_an_answer_by_another_version_after_the_proof_is_misrouted() -> None:
    late = answer(11.5, 11.6, 1, 1)
    assert misrouted([late], CHANGES) == [late]


def test_an_answer_before_its_revision_was_wanted_is_misrouted() -> None:
    early = answer(5, 6, 2, 2)
    assert misrouted([early], CHANGES) == [early]


def test_an_old_revision_of_the_right_version_is_misrouted() -> None:
    stale = answer(25, 25.01, 1, 1)
    assert misrouted([stale], CHANGES) == [stale]


def test_a_failed_request_is_not_misrouted_too() -> None:
    failed = Answer(due=25, sent=25, answered=26, input=0, status=503)
    assert misrouted([failed], CHANGES) == []
    assert differing([failed], {}) == []


def test_an_output_that_the_named_version_does_not_give_is_found() -> None:
    expected = {1: np.array([[0.2, 0.8]]), 2: np.array([[0.6, 0.4]])}
    right, wrong = answer(5, 6, 1, 1), answer(5, 6, 2, 2)
    nothing = answer(5, 6, 1, 1, probabilities=None)
    unknown = answer(5, 6, 9, 9)
    assert differing([right, wrong, nothing, unknown], expected) == [wrong, nothing, unknown]


def test_probabilities_are_read_from_the_protocol() -> None:
    outputs = [{"name": "predict", "data": ["yes"]}, {"name": "predict_proba", "data": [0.25, 0.75]}]
    assert probabilities_of({"outputs": outputs}) == [0.25, 0.75]
    assert probabilities_of({"outputs": outputs[:1]}) is None
