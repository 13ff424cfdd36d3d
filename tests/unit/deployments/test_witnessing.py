"""What predictions from elsewhere show: who answers there since when, and whether that is who should."""

from __future__ import annotations

from datetime import timedelta

import pytest

from quarterdeck import events
from quarterdeck.deployments import intake, queries
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.intake import take_predictions
from quarterdeck.deployments.rollout import deploy
from quarterdeck.errors import BusyError, DataError
from quarterdeck.registry.version import Format
from quarterdeck.traffic.queries import requests_by_revision
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import add_version, advance

_ids = iter(range(1_000_000))


def elsewhere(workspace: Workspace, versions: int = 2) -> None:
    """`pricing`, served elsewhere; each version was deployed in turn."""
    for _ in range(versions):
        version = add_version(workspace, "pricing", format_=Format.EXTERNAL)
        deploy(workspace, "pricing", model="pricing", version=version, served_by=ServedBy.EXTERNAL)
        advance(workspace, minutes=1)


def report(workspace: Workspace, version: int, *, minutes_ago: float = 0, count: int = 1) -> None:
    at = workspace.now() - timedelta(minutes=minutes_ago)
    rows = [
        {"id": f"p{next(_ids)}", "inputs": [1.0, "app"], "prediction": 1, "version": version, "event_time": at}
        for _ in range(count)
    ]
    take_predictions(workspace, "pricing", rows)


def state(workspace: Workspace) -> tuple[str, tuple[int, ...]]:
    row = queries.deployment_row(workspace, "pricing")
    return row.state, row.seen


def contradictions(workspace: Workspace) -> list[list[int]]:
    with workspace.state.read() as tx:
        return [e.data["seen"] for e in events.after(tx, 0) if e.kind == "deployment.contradicted"]


def test_a_version_that_nobody_asked_for_is_seen_and_told_of(workspace: Workspace) -> None:
    elsewhere(workspace)
    report(workspace, 2)
    assert state(workspace) == ("verified", (2,))
    advance(workspace, minutes=30)
    report(workspace, 1)
    report(workspace, 1)
    assert state(workspace) == ("contradicted", (1,))
    assert contradictions(workspace) == [[1]]
    last = queries.intervals(workspace, "pricing")[-1]
    assert (last.version, last.revision, last.end) == (1, None, None)
    advance(workspace, minutes=10)
    report(workspace, 2)
    assert state(workspace) == ("verified", (2,))
    assert [span.version for span in queries.intervals(workspace, "pricing")] == [2, 1, 2]


def test_two_versions_side_by_side_are_no_proof_that_one_answers(workspace: Workspace) -> None:
    elsewhere(workspace)
    report(workspace, 2)
    advance(workspace, minutes=1)
    report(workspace, 1)
    report(workspace, 2)
    assert state(workspace) == ("contradicted", (1, 2))


def test_a_registered_version_that_was_never_deployed_is_seen_too(workspace: Workspace) -> None:
    elsewhere(workspace, versions=1)
    report(workspace, 1)
    advance(workspace, minutes=30)
    add_version(workspace, "pricing", format_=Format.EXTERNAL)
    report(workspace, 2)
    assert state(workspace) == ("contradicted", (2,))
    with pytest.raises(DataError, match="there is no such version"):
        report(workspace, 3)


def test_a_late_prediction_of_the_time_before_is_no_proof_of_now(workspace: Workspace) -> None:
    elsewhere(workspace)
    report(workspace, 1)
    advance(workspace, minutes=10)
    deploy(workspace, "pricing", model="pricing", version=1)
    report(workspace, 1, minutes_ago=5)
    assert state(workspace)[0] == "unproven"
    report(workspace, 1)
    assert state(workspace)[0] == "verified"


def test_a_prediction_counts_for_the_newest_revision_of_the_version_that_it_names(workspace: Workspace) -> None:
    elsewhere(workspace)
    report(workspace, 1, count=3)
    deploy(workspace, "pricing", model="pricing", version=1)
    report(workspace, 1, count=2)
    report(workspace, 2)
    assert requests_by_revision(workspace, "pricing") == {1: 3, 2: 1, 3: 2}


def test_a_report_that_is_repeated_since_it_was_cut_short_proves_what_it_said(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(workspace, versions=1)
    add_version(workspace, "pricing", format_=Format.EXTERNAL)
    row = {"id": "once", "inputs": [1.0, "app"], "prediction": 1}

    def busy(*arguments: object) -> None:
        raise BusyError

    with monkeypatch.context() as held:
        held.setattr(intake, "witness", busy)
        with pytest.raises(BusyError):
            take_predictions(workspace, "pricing", [{**row, "version": 1}])
    take_predictions(workspace, "pricing", [{**row, "version": 2}])  # it says something else than what is on record
    assert state(workspace) == ("unproven", ())
    assert take_predictions(workspace, "pricing", [{**row, "version": 1}]).duplicates == 1
    assert state(workspace) == ("verified", (1,))


def test_what_was_seen_stands_beside_each_revision(workspace: Workspace) -> None:
    elsewhere(workspace)
    report(workspace, 2)
    advance(workspace, minutes=2)
    report(workspace, 2)
    newest, first = queries.revisions(workspace, "pricing")
    assert newest.seen_from is not None
    assert newest.seen_until is not None
    assert timedelta(minutes=2) <= newest.seen_until - newest.seen_from < timedelta(minutes=3)
    assert first.seen_from is None
