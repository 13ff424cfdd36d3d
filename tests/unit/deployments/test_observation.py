"""What each living gateway worker is seen to serve."""

from __future__ import annotations

from quarterdeck.deployments.observation import observed_revisions
from quarterdeck.deployments.proving import report_failure
from quarterdeck.deployments.rollout import deploy
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import add_version, add_worker, advance, kill_worker, prove


def test_a_worker_serves_what_it_proved_last_and_a_dead_one_nothing(workspace: Workspace) -> None:
    add_version(workspace)
    add_version(workspace)
    first, second, dead = (add_worker(workspace, slot) for slot in range(3))
    deploy(workspace, "fraud", model="fraud", version=1, reason="")
    for worker in (first, second, dead):
        prove(workspace, worker, "fraud", 1)
    kill_worker(workspace, dead)
    advance(workspace, minutes=1)
    deploy(workspace, "fraud", model="fraud", version=2, reason="")
    prove(workspace, first, "fraud", 2)
    report_failure(workspace, second, "fraud", 2, "the artifact is damaged")

    found = observed_revisions(workspace, "fraud")

    assert [(row.slot, row.revision, row.error) for row in found] == [
        (0, 2, None),
        (1, 1, "the artifact is damaged"),
    ]
    assert found[0].since is not None
    assert found[1].since is not None
    assert found[0].since > found[1].since


def test_a_worker_that_has_served_nothing_is_there_all_the_same(workspace: Workspace) -> None:
    add_version(workspace)
    deploy(workspace, "fraud", model="fraud", version=1, reason="")
    add_worker(workspace)
    (row,) = observed_revisions(workspace, "fraud")
    assert (row.revision, row.since, row.error) == (None, None, None)
