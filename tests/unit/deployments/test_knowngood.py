"""The last known-good revision: each condition on its own."""

from __future__ import annotations

import pytest

from quarterdeck.deployments.knowngood import last_known_good
from quarterdeck.deployments.rollout import deploy, roll_back, undo
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Judgement, Severity
from quarterdeck.registry.version import find_version
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import add_alert, add_version, add_worker, prove, serve_for_long


def good(workspace: Workspace) -> int | None:
    with workspace.state.read() as tx:
        return last_known_good(tx, workspace, "payments")


def ship(workspace: Workspace) -> None:
    """Deploy the next version; nobody has proved it yet."""
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))


@pytest.fixture
def served(workspace: Workspace) -> Workspace:
    """Version 1 has served well; version 2 is desired."""
    worker = add_worker(workspace)
    serve_for_long(workspace, worker, deploy(workspace, "payments", model="fraud", version=add_version(workspace)))
    ship(workspace)
    return workspace


def test_what_served_well_before_is_good(served: Workspace) -> None:
    assert good(served) == 1


def test_what_serves_now_is_not_what_to_go_back_to(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    serve_for_long(workspace, worker, deploy(workspace, "payments", model="fraud", version=add_version(workspace)))
    assert good(workspace) is None


def test_what_was_never_verified_is_not_good(served: Workspace) -> None:
    ship(served)
    assert good(served) == 1


@pytest.mark.parametrize(("requests", "minutes"), [(99, 10.0), (100, 4.0)])
def test_too_few_requests_or_too_short_a_time_is_not_enough(
    workspace: Workspace, requests: int, minutes: float
) -> None:
    worker = add_worker(workspace)
    row = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    serve_for_long(workspace, worker, row, requests=requests, minutes=minutes)
    ship(workspace)
    assert good(workspace) is None


def test_what_was_rolled_away_from_is_not_good_and_the_one_before_still_is(served: Workspace) -> None:
    worker = add_worker(served)
    prove(served, worker, "payments", 2)
    serve_for_long(served, worker, deploy(served, "payments", model="fraud", version=2))
    roll_back(served, "payments", to=1, reason="worse")
    assert good(served) is None
    undo(served, "payments")
    assert good(served) == 1


def test_a_page_on_its_predictions_is_remembered(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    serve_for_long(workspace, worker, deploy(workspace, "payments", model="fraud", version=add_version(workspace)))
    alert = add_alert(workspace, 1, AlertKind.QUALITY, state=AlertState.RESOLVED)
    ship(workspace)
    assert good(workspace) is None
    with workspace.state.write("test") as tx:
        tx.get_one(Alert, alert).judgement = Judgement.NOISE
    assert good(workspace) == 1


@pytest.mark.parametrize(
    ("severity", "state", "expected"),
    [
        (Severity.PAGE, AlertState.OPEN, None),
        (Severity.PAGE, AlertState.RESOLVED, 1),
        (Severity.WARNING, AlertState.OPEN, 1),
    ],
)
def test_a_page_on_what_came_in_counts_while_it_lasts(
    workspace: Workspace, severity: Severity, state: AlertState, expected: int | None
) -> None:
    worker = add_worker(workspace)
    serve_for_long(workspace, worker, deploy(workspace, "payments", model="fraud", version=add_version(workspace)))
    add_alert(workspace, 1, AlertKind.DRIFT, severity=severity, state=state)
    ship(workspace)
    assert good(workspace) == expected


def test_what_cannot_serve_is_not_good(served: Workspace) -> None:
    with served.state.read() as tx:
        artifact = find_version(tx, "fraud", 1).artifact
    assert artifact is not None
    served.artifacts.path(artifact).unlink()
    assert good(served) is None
