"""One recorded prediction: its inputs by name, and what moved it; or, in one line, why that cannot be said."""

from __future__ import annotations

import json
import sys

import pytest

from quarterdeck.deployments.explaining import explain
from quarterdeck.deployments.inspection import inspect, named_inputs
from quarterdeck.errors import ArtifactError, NotFoundError, UsageError
from quarterdeck.registry.version import Format
from quarterdeck.traffic.queries import prediction, recent
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import verbs
from tests.explained import NAME, change_version, serve_member


@pytest.fixture
def served(workspace: Workspace) -> Workspace:
    serve_member(workspace)
    return workspace


def quarterdeck(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quarterdeck", "--workspace", str(workspace.root), *arguments])
    return verbs.run()


def test_a_prediction_is_explained_by_the_version_that_answered_it(served: Workspace) -> None:
    row = prediction(served, NAME, "m3")
    found = explain(served, NAME, "m3")
    assert found.explanation.outcome == f"probability of {row.prediction}"
    assert found.recorded == max(row.probabilities or [])
    assert found.explanation.answer == pytest.approx(found.recorded, abs=1e-6)
    assert found.differs is None
    assert found.runtime == "scikit-learn"
    assert [given.name for given in found.inputs] == ["amount", "age", "visits", "channel", "member"]
    assert {told.feature for told in found.explanation.influences[:2]} == {"amount", "channel"}


def test_inputs_stand_beside_the_reference_of_the_version(served: Workspace) -> None:
    row = prediction(served, NAME, "m0")
    found = {given.name: given for given in inspect(served, NAME, row).inputs}
    assert found["age"].value is None
    assert found["age"].position is not None
    assert found["age"].position.words.startswith("missing, as in 9.")
    assert found["member"].position is not None
    assert 0.3 < (found["member"].position.share or 0) < 0.7
    assert named_inputs(served, NAME, [row])[0]["amount"] == row.inputs[0]


def test_an_answer_that_the_model_does_not_give_any_more_is_said_to_differ(served: Workspace) -> None:
    row = prediction(served, NAME, "m3")
    changed = {"deployment": NAME, "id": "other", "received_at": served.now(), "version": 1, "revision": 1}
    record(served, [{**changed, "inputs": row.inputs, "prediction": "yes", "probabilities": [0.5, 0.5]}])
    differs = explain(served, NAME, "other").differs
    assert differs is not None
    assert "0.5 was recorded" in differs


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": Format.EXTERNAL}, "served elsewhere"),
        ({"reference": None}, "no reference rows"),
    ],
)
def test_a_version_that_cannot_be_asked_here_says_so_in_one_line(
    served: Workspace, changes: dict[str, object], why: str
) -> None:
    change_version(served, **changes)
    with pytest.raises(UsageError, match=why) as refused:
        explain(served, NAME, "m3")
    assert "\n" not in str(refused.value)
    assert "member@1" in str(refused.value)


def test_a_damaged_model_and_an_unknown_name_are_no_tracebacks(served: Workspace) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        explain(served, NAME, "nowhere")
    with pytest.raises(NotFoundError, match="elsewhere"):
        explain(served, "elsewhere", "m3")
    with pytest.raises(UsageError, match="permutation, shap"):
        explain(served, NAME, "m3", "guess")
    change_version(served, artifact=served.artifacts.put(b"nothing that can be loaded"))
    with pytest.raises(ArtifactError):
        explain(served, NAME, "m3")


def test_the_verb_prints_the_table_the_definition_and_what_it_is_not(
    served: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quarterdeck(monkeypatch, served, "explain", NAME, "m3") == 0
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert lines[0].startswith("member@1 answered ")
    assert lines[2].split() == ["INPUT", "VALUE", "IN", "REFERENCE", "INFLUENCE", "+-"]
    assert "One-feature-at-a-time interventional difference" in said
    assert "Source: " in said
    assert "What it is not: " in said
    assert quarterdeck(monkeypatch, served, "explain", NAME, "m3", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["explanation"]["method"] == "permutation"
    assert len(told["explanation"]["influences"]) == len(told["inputs"]) == 5


def test_the_verb_takes_shap_and_ends_with_2_for_what_is_not_there(
    served: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quarterdeck(monkeypatch, served, "explain", NAME, "m3", "--method", "shap", "--json") == 0
    told = json.loads(capsys.readouterr().out)["explanation"]
    assert sum(one["influence"] for one in told["influences"]) == pytest.approx(told["answer"] - told["average"])
    assert quarterdeck(monkeypatch, served, "explain", NAME, "nowhere") == 2
    assert "quarterdeck predictions list member --key nowhere" in capsys.readouterr().err


def test_predictions_are_listed_with_their_inputs_by_name(
    served: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quarterdeck(monkeypatch, served, "predictions", "list", NAME, "--limit", "3") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        row.id for row in recent(served, NAME, 3)
    ]
    assert quarterdeck(monkeypatch, served, "predictions", "list", NAME, "--key", "order-4", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["id"] == "m4"
    assert list(row["inputs"]) == ["amount", "age", "visits", "channel", "member"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--id", "m4"], 1),
        (["--revision", "1"], 12),
        (["--revision", "2"], 0),
        (["--from", "2026-01-05", "--to", "2026-01-06"], 12),
        (["--to", "2026-01-05T11:00:00+00:00"], 0),
        (["--from", "2026-01-05 13:00+01:00", "--limit", "5"], 5),
    ],
)
def test_predictions_are_looked_for_by_the_verb(
    served: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    found: int,
) -> None:
    assert quarterdeck(monkeypatch, served, "predictions", "list", NAME, *options, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == found


@pytest.mark.parametrize(
    ("options", "said"),
    [([NAME, "--from", "yesterday"], "--from takes a time as ISO 8601 text"), (["nobody"], "no deployment 'nobody'")],
)
def test_what_cannot_be_listed_is_bad_usage(
    served: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    assert quarterdeck(monkeypatch, served, "predictions", "list", *options) == 2
    assert said in capsys.readouterr().err
