"""What `deploy`, `rollback` and `undo` exit with: 0 only for what was verified, or could not be by anybody."""

from __future__ import annotations

import sys

import pytest
import typer

from quarterdeck.deployments.queries import operation
from quarterdeck.deployments.rollout import deploy
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import delivery, proof, verbs
from tests.unit.deployments.factories import add_version, add_worker, prove


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> Workspace:
    """Two versions of `fraud` and no patience."""
    monkeypatch.setattr(proof, "PROOF_SECONDS", 0.2)
    add_version(workspace)
    add_version(workspace)
    return workspace


def quarterdeck(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quarterdeck", "--workspace", str(workspace.root), *arguments])
    return verbs.run()


def test_what_no_gateway_worker_has_served_in_time_is_not_called_done(
    quick: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_worker(quick)
    assert quarterdeck(monkeypatch, quick, "deploy", "fraud") == 1
    said = capsys.readouterr()
    assert "revision 1 (version 2) is planned" in said.out
    assert "fraud: revision 1 is not verified after 0.2 s" in said.err


def test_without_a_gateway_nothing_can_be_waited_for(quick: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert quarterdeck(monkeypatch, quick, "deploy", "fraud") == 0


def test_who_does_not_wait_is_not_told_of_an_end(quick: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    add_worker(quick)
    assert quarterdeck(monkeypatch, quick, "deploy", "fraud", "--detach") == 0


def test_a_change_that_another_one_overtook_is_not_called_done(
    quick: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = add_worker(quick)
    first = deploy(quick, "fraud", model="fraud", version=1, reason="")
    second = deploy(quick, "fraud", model="fraud", version=2, reason="")
    prove(quick, worker, "fraud", 2)
    with pytest.raises(typer.Exit) as ended:
        delivery._end(quick, first, detach=False, as_data=False)
    assert ended.value.exit_code == 1
    assert "revision 1 was superseded" in capsys.readouterr().err
    delivery._end(quick, second, detach=False, as_data=False)
    assert operation(quick, second.id).state == "verified"


def test_version_0_is_a_version_that_is_not_there_and_not_the_newest(
    quick: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quarterdeck(monkeypatch, quick, "deploy", "fraud", "--version", "0") != 0
    assert "no version 0" in capsys.readouterr().err
