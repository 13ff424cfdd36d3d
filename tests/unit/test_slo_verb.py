"""`quarterdeck slo`: what a person and a script are told of objectives."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest

from quarterdeck import bootstrap
from quarterdeck.monitoring.burning import watch_budgets
from quarterdeck.traffic.recording import record_answered, record_unanswered
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import verbs

SLO = '[deployments.d.slo]\navailability = 0.999\nlatency = { target = 0.9, within = "50ms" }\n'
Verb = Callable[..., int]


@pytest.fixture
def quarterdeck(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> Verb:
    def run(*arguments: str, settings: str = SLO) -> int:
        workspace.settings_file.write_text(settings, encoding="utf-8")
        monkeypatch.setattr(sys, "argv", ["quarterdeck", "--workspace", str(workspace.root), *arguments])
        return verbs.run()

    return run


@pytest.fixture
def burning(workspace: Workspace) -> Workspace:
    """Now, by the clock of the machine: 1,000 requests of which 40 failed and 60 were answered late."""
    workspace.settings_file.write_text(SLO, encoding="utf-8")
    opened = bootstrap.open_workspace(workspace.root, actor="tester")
    record_answered(opened, {("d", 1000): 900, ("d", 90_000): 60})
    record_unanswered(opened, "d", 1, reason="failed", count=40)
    watch_budgets(opened)
    opened.close()
    return workspace


def test_a_script_gets_every_figure(quarterdeck: Verb, burning: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert quarterdeck("slo", "--json") == 0
    availability, latency = json.loads(capsys.readouterr().out)
    assert {
        name: availability[name]
        for name in (
            "deployment",
            "objective",
            "target",
            "within",
            "period",
            "unit",
            "total",
            "bad",
            "standing",
            "alert",
        )
    } == {
        "deployment": "d",
        "objective": "availability",
        "target": 0.999,
        "within": None,
        "period": "30d",
        "unit": "requests",
        "total": 1_000,
        "bad": 40,
        "standing": "page",
        "alert": 1,
    }
    assert availability["measured"] == pytest.approx(0.96)
    assert availability["left"] == pytest.approx(-39)
    assert availability["left_share"] == pytest.approx(-39)
    assert availability["exhausted_in_seconds"] == 0
    assert [(one["long"], one["short"], one["severity"], one["burning"]) for one in availability["burns"]] == [
        ("1h", "5m", "page", True),
        ("6h", "30m", "page", True),
        ("3d", "6h", "warning", True),
    ]
    assert availability["burns"][0]["long_burn"] == pytest.approx(40)
    assert (latency["within"], latency["total"], latency["bad"], latency["standing"]) == ("50ms", 960, 60, "holds")


def test_a_person_gets_a_line_for_each_objective_and_of_one_deployment_each_burn_rate(
    quarterdeck: Verb, burning: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quarterdeck("slo") == 0
    _, availability, latency = capsys.readouterr().out.splitlines()
    assert " ".join(availability.split()) == (
        "d availability 99.9% 96.00% 30d, 1,000 requests overspent by 39 requests 1h 40x, 6h 40x, 3d 40x page, alert/1"
    )
    assert " ".join(latency.split()) == (
        "d latency 90% within 50ms 93.7% 30d, 960 answers 37%, 36 answers 1h 0.63x, 6h 0.63x, 3d 0.63x holds"
    )
    assert quarterdeck("slo", "d") == 0
    told = capsys.readouterr().out.splitlines()
    assert " ".join(told[5].split()) == "availability 1h and 5m 40x 40x 14.4x 40 10 page"


def test_without_traffic_nothing_holds(quarterdeck: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert quarterdeck("slo") == 0
    _, availability, _ = capsys.readouterr().out.splitlines()
    assert " ".join(availability.split()) == "d availability 99.9% - 30d, 0 requests no data"


def test_without_objectives_it_says_how_to_set_some(quarterdeck: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert quarterdeck("slo", settings="") == 0
    assert "[deployments.NAME.slo]" in capsys.readouterr().out
    assert quarterdeck("slo", "--json", settings="") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_deployment_without_objectives_is_a_mistake(quarterdeck: Verb, capsys: pytest.CaptureFixture[str]) -> None:
    assert quarterdeck("slo", "x") == 2
    assert "Deployment 'x' has no objectives. Those that have: d." in capsys.readouterr().err


def test_an_objective_that_cannot_be_is_named_with_its_place(
    quarterdeck: Verb, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quarterdeck("slo", settings="[deployments.d.slo]\navailability = 1.0\n") == 2
    said = capsys.readouterr().err
    assert "deployments.d.slo.availability" in said
    assert "leaves no errors to spend" in said
