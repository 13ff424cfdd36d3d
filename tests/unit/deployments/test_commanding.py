"""Going back elsewhere: the command does it, a prediction or a probe proves it, and what fails says so."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from quarterdeck.deployments import queries
from quarterdeck.deployments.analysis import plan
from quarterdeck.deployments.commanding import roll_back_elsewhere
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.probing import probe
from quarterdeck.deployments.rollout import deploy, roll_back, undo
from quarterdeck.errors import NotFoundError, QuarterdeckError, RefusedError, UsageError
from quarterdeck.registry.version import Format
from quarterdeck.runner.job import Job, JobKind
from quarterdeck.runner.reactions import _command_rollback
from quarterdeck.settings.serving import DeploymentSettings
from quarterdeck.workspace import Workspace
from tests.fakes import FakeFetcher
from tests.unit.deployments.factories import add_version, advance
from tests.unit.deployments.test_witnessing import elsewhere, report, state

SWITCH = "import sys; open('serves.txt', 'w').write(sys.argv[1] + ' ' + sys.argv[2])"


def having(workspace: Workspace, **settings: Any) -> Workspace:
    """The workspace with settings for `pricing`; a known-good revision needs no patience."""
    own = DeploymentSettings.model_validate({"probation": "1ms", "probation_requests": 0, **settings})
    changed = workspace.settings.model_copy(update={"deployments": {"pricing": own}})
    return dataclasses.replace(workspace, settings=changed)


def switching(workspace: Workspace, code: str = SWITCH, **settings: Any) -> Workspace:
    """`pricing` answers by version 2, was seen to, and `code` is what rolls it back."""
    command = [sys.executable, "-c", code, "{version}", "{deployment}"]
    changed = having(workspace, rollback_command=command, **settings)
    elsewhere(changed, versions=1)
    report(changed, 1)
    advance(changed, minutes=30)
    version = add_version(changed, "pricing", format_=Format.EXTERNAL)
    deploy(changed, "pricing", model="pricing", version=version)
    report(changed, 2)
    advance(changed, minutes=30)
    return changed


def serves(workspace: Workspace) -> str | None:
    file = workspace.root / "serves.txt"
    return file.read_text() if file.exists() else None


def test_a_rollback_is_planned_commanded_and_verified_by_what_answers(workspace: Workspace) -> None:
    workspace = switching(workspace)
    found = plan(workspace, "pricing")
    assert (found.cursor, found.candidates[0].can_serve) == (1, True)
    asked = roll_back(workspace, "pricing", reason="worse", expected=2)
    assert (asked.state, asked.version, serves(workspace)) == ("planned", 1, None)
    roll_back_elsewhere(workspace, asked.id)
    assert serves(workspace) == "1 pricing"
    after = queries.operation(workspace, asked.id)
    assert (after.state, after.routed_at is not None) == ("unproven", True)
    assert state(workspace) == ("unproven", (2,))
    report(workspace, 1)
    assert state(workspace)[0] == "verified"
    undone = undo(workspace, "pricing")
    roll_back_elsewhere(workspace, undone.id)
    assert serves(workspace) == "2 pricing"


def test_without_a_command_the_plan_says_what_is_missing_and_nothing_is_changed(workspace: Workspace) -> None:
    workspace = having(workspace)
    elsewhere(workspace)
    found = plan(workspace, "pricing")
    assert "no rollback_command" in found.because
    assert not found.candidates[0].can_serve
    assert "[deployments.pricing] has no rollback_command" in (found.candidates[0].why_not or "")
    with pytest.raises(RefusedError, match="no rollback_command"):
        roll_back(workspace, "pricing", to=1, reason="x")
    with pytest.raises(RefusedError, match="no rollback_command"):
        undo(workspace, "pricing")
    assert queries.deployment_row(workspace, "pricing").desired_revision == 2


@pytest.mark.parametrize(
    ("code", "says"),
    [("import sys; sys.exit(3)", "ended with status 3"), ("import time; time.sleep(60)", "took longer than 0.5 s")],
)
def test_a_command_that_fails_fails_the_operation(workspace: Workspace, code: str, says: str) -> None:
    workspace = switching(workspace, code, command_timeout="500ms")
    asked = roll_back(workspace, "pricing", reason="worse")
    with pytest.raises(QuarterdeckError, match=says):
        roll_back_elsewhere(workspace, asked.id)
    failed = queries.operation(workspace, asked.id)
    assert failed.state == "failed"
    assert says in (failed.error or "")
    report(workspace, 1)  # it answers there all the same
    assert state(workspace)[0] == "verified"


def test_a_program_that_is_not_there_is_named(workspace: Workspace) -> None:
    workspace = switching(workspace)
    workspace = having(workspace, rollback_command=["/nowhere/at-all", "{version}"])
    asked = roll_back(workspace, "pricing", reason="worse")
    with pytest.raises(QuarterdeckError, match="'/nowhere/at-all' cannot be started"):
        roll_back_elsewhere(workspace, asked.id)


def test_a_change_that_was_overtaken_runs_nothing(workspace: Workspace) -> None:
    workspace = switching(workspace)
    first = roll_back(workspace, "pricing", reason="worse")
    second = undo(workspace, "pricing")
    roll_back_elsewhere(workspace, first.id)
    assert serves(workspace) is None
    assert queries.operation(workspace, first.id).state == "superseded"
    roll_back_elsewhere(workspace, second.id)
    assert serves(workspace) == "2 pricing"


def test_the_command_is_a_job_only_for_what_is_served_elsewhere(workspace: Workspace) -> None:
    from quarterdeck.events import after

    workspace = switching(workspace)
    asked = roll_back(workspace, "pricing", reason="worse")
    add_version(workspace)
    add_version(workspace)
    for version in (1, 2):
        deploy(workspace, "here", model="fraud", version=version)
    roll_back(workspace, "here", to=1, reason="worse")
    with workspace.state.write("test") as tx:
        for event in after(tx, 0):
            if event.kind == "deployment.rolled_back":
                _command_rollback(tx, workspace, event)
        (job,) = tx.exec(select(Job)).all()
    assert (job.kind, job.payload, job.subject) == (JobKind.ROLLBACK, {"operation": asked.id}, "deployment/pricing")
    assert (job.max_attempts, job.priority) == (1, 100)


@pytest.mark.parametrize("told", ["1", "v1\n", '{"model_version": "1"}', '{"name": "pricing", "version": 1}'])
def test_a_probe_proves_what_it_tells(workspace: Workspace, told: str) -> None:
    code = f"import sys; assert sys.argv[1] == 'pricing'; print({told!r})"
    workspace = switching(workspace, version_probe=[sys.executable, "-c", code, "{deployment}"])
    asked = roll_back(workspace, "pricing", reason="worse")
    roll_back_elsewhere(workspace, asked.id)
    assert state(workspace) == ("verified", (1,))
    found = probe(workspace, "pricing")
    assert (found.version, found.wanted, found.state) == (1, 1, "verified")


def test_a_probe_may_be_a_url_and_what_it_tells_may_be_another_version(workspace: Workspace) -> None:
    workspace = switching(workspace, version_probe="http://host/{deployment}/version")
    fetcher = workspace.ports.fetcher
    assert isinstance(fetcher, FakeFetcher)
    with pytest.raises(QuarterdeckError, match="did not answer"):
        probe(workspace, "pricing")
    fetcher.answers["http://host/pricing/version"] = "1"
    found = probe(workspace, "pricing")
    assert (found.version, found.wanted, found.state) == (1, 2, "contradicted")


@pytest.mark.parametrize("told", ["", "latest", "{}", "[2]", "true", '{"version": null}', "-1"])
def test_a_probe_that_tells_no_version_proves_nothing(workspace: Workspace, told: str) -> None:
    workspace = switching(workspace, version_probe="http://host/version")
    assert isinstance(workspace.ports.fetcher, FakeFetcher)
    workspace.ports.fetcher.answers["http://host/version"] = told
    with pytest.raises(QuarterdeckError, match="names no version"):
        probe(workspace, "pricing")


def test_a_probe_that_cannot_be_asked_says_why(workspace: Workspace, tmp_path: Path) -> None:
    workspace = switching(workspace)
    with pytest.raises(UsageError, match=r"\[deployments.pricing\].* has no version_probe"):
        probe(workspace, "pricing")
    workspace = having(workspace, version_probe=[sys.executable, "-c", "print(9)"])
    with pytest.raises(NotFoundError, match="no version 9"):
        probe(workspace, "pricing")
    workspace = having(workspace, version_probe=[sys.executable, "-c", "raise SystemExit(2)"])
    with pytest.raises(QuarterdeckError, match="ended with status 2"):
        probe(workspace, "pricing")
    deploy(workspace, "here", model="fraud", version=add_version(workspace), served_by=ServedBy.GATEWAY)
    with pytest.raises(RefusedError, match="served here"):
        probe(workspace, "here")
