"""A revision that gateway workers die of: when it is withheld, and what follows."""

from __future__ import annotations

import pytest

from quarterdeck.deployments import proving, queries
from quarterdeck.deployments.deployment import find_deployment
from quarterdeck.deployments.fitness import why_not
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.proof import GatewayWorker
from quarterdeck.deployments.queries import operation
from quarterdeck.deployments.revision import find_revision
from quarterdeck.deployments.rollout import deploy, roll_back, undo
from quarterdeck.deployments.routes import desired_routes, keep_warm
from quarterdeck.deployments.withholding import withhold_deadly
from quarterdeck.monitoring.alert import AlertKind
from quarterdeck.monitoring.queries import alerts
from quarterdeck.registry.version import Format, find_version
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import add_version, add_worker, advance, kill_worker, prove, serve_for_long


@pytest.fixture
def shipped(workspace: Workspace) -> Workspace:
    """Version 1 is known good; version 2 was just deployed."""
    worker = add_worker(workspace)
    serve_for_long(workspace, worker, deploy(workspace, "payments", model="fraud", version=add_version(workspace)))
    proving.retire_worker(workspace, worker)
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    return workspace


def dies(workspace: Workspace, *, after: float = 1.0, slot: int = 0, served: int | None = None) -> None:
    """A worker comes up, serves revision `served` at once, and dies of something `after` so many seconds."""
    worker = add_worker(workspace, slot)
    if served is not None:
        prove(workspace, worker, "payments", served)
    advance(workspace, seconds=after)
    with workspace.state.write("test") as tx:
        row = tx.get_one(GatewayWorker, worker)
        row.stopped_at = row.died_at = workspace.now()


def test_two_deaths_soon_after_a_change_withhold_it_and_the_known_good_one_answers(shipped: Workspace) -> None:
    dies(shipped)
    assert withhold_deadly(shipped, 0) is None
    dies(shipped)
    assert withhold_deadly(shipped, 0) == "payments"
    assert withhold_deadly(shipped, 0) is None
    (route,) = desired_routes(shipped)
    assert route.fallback is not None
    assert (route.revision, route.fallback.revision) == (2, 1)
    assert route.withheld is not None
    assert [kept.revision for kept in keep_warm(shipped)] == [1]
    (alert,) = alerts(shipped)
    assert (alert.kind, alert.severity, alert.version) == (AlertKind.OUTAGE, "page", 2)
    assert operation(shipped, 2).state is OperationState.FAILED


def test_a_worker_that_died_is_known_by_its_process_being_gone(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    kill_worker(workspace, worker)
    follower = add_worker(workspace)
    with workspace.state.read() as tx:
        died, lives = tx.get_one(GatewayWorker, worker), tx.get_one(GatewayWorker, follower)
        assert died.died_at is not None
        assert lives.died_at is None
        assert died.died_at < workspace.now()


def test_what_any_worker_has_served_for_longer_is_not_what_others_die_of(shipped: Workspace) -> None:
    survivor = add_worker(shipped, 1)
    prove(shipped, survivor, "payments", 2)
    advance(shipped, seconds=61)
    for _ in range(2):
        dies(shipped, served=2)
    assert withhold_deadly(shipped, 0) is None
    proving.retire_worker(shipped, survivor)
    for _ in range(2):
        dies(shipped, served=2)
    assert withhold_deadly(shipped, 0) is None, "nor later, when it serves no more"


def test_deploying_what_is_withheld_is_a_new_try(shipped: Workspace) -> None:
    for _ in range(2):
        dies(shipped)
    assert withhold_deadly(shipped, 0) == "payments"
    assert queries.deployment_row(shipped, "payments").state == "withheld"
    (alert,) = alerts(shipped)
    assert "`quarterdeck deploy payments --version 2` tries it once more" in alert.summary
    again = deploy(shipped, "payments", model="fraud", version=2)
    assert (again.to_revision, again.state) == (3, OperationState.PLANNED)
    (route,) = desired_routes(shipped)
    assert (route.revision, route.withheld) == (3, None)
    assert deploy(shipped, "payments", model="fraud", version=2).to_revision == 3, "once is enough"


def test_deaths_long_after_the_change_are_not_its(shipped: Workspace) -> None:
    for _ in range(2):
        dies(shipped, after=61)
    assert withhold_deadly(shipped, 0) is None


def test_deaths_soon_after_each_worker_began_to_serve_it_are_its(shipped: Workspace) -> None:
    advance(shipped, minutes=10)
    for _ in range(2):
        dies(shipped, after=59, served=2)
    assert withhold_deadly(shipped, 0) == "payments"


def test_deaths_of_other_workers_and_earlier_deaths_do_not_count(shipped: Workspace) -> None:
    dies(shipped)
    dies(shipped, slot=1)
    assert withhold_deadly(shipped, 0) is None
    dies(shipped, slot=2)
    deploy(shipped, "payments", model="fraud", version=add_version(shipped))
    dies(shipped, slot=2)
    assert withhold_deadly(shipped, 2) is None


def test_a_stop_between_two_deaths_is_no_second_death(shipped: Workspace) -> None:
    dies(shipped)
    proving.retire_worker(shipped, add_worker(shipped))
    dies(shipped)
    assert withhold_deadly(shipped, 0) is None


def test_of_several_changes_the_newest_is_withheld_and_if_that_does_not_help_the_next(shipped: Workspace) -> None:
    deploy(shipped, "other", model="other", version=add_version(shipped, "other"))
    for _ in range(2):
        dies(shipped)
    assert withhold_deadly(shipped, 0) == "other"
    proving.retire_worker(shipped, add_worker(shipped))
    assert withhold_deadly(shipped, 0) is None
    for _ in range(2):
        dies(shipped)
    assert withhold_deadly(shipped, 0) == "payments"


def test_going_back_ends_the_outage_and_the_withheld_one_is_never_good_again(shipped: Workspace) -> None:
    for _ in range(2):
        dies(shipped, served=2)
    assert withhold_deadly(shipped, 0) == "payments"
    back = roll_back(shipped, "payments", reason="it kills the gateway")
    assert back.version == 1
    worker = add_worker(shipped)
    prove(shipped, worker, "payments", back.to_revision)
    assert alerts(shipped) == []
    advance(shipped, minutes=10)
    with shipped.state.read() as tx:
        assert find_revision(tx, 1, 2).withheld is not None
    again = undo(shipped, "payments", reason="once more")
    (route,) = desired_routes(shipped)
    assert (route.revision, route.withheld) == (again.to_revision, None)


def test_proofs_of_workers_that_live_do_not_verify_what_is_withheld(shipped: Workspace) -> None:
    for _ in range(2):
        dies(shipped)
    assert withhold_deadly(shipped, 0) == "payments"
    prove(shipped, add_worker(shipped), "payments", 2)
    assert operation(shipped, 2).state is OperationState.FAILED


def test_a_version_whose_environment_is_gone_cannot_serve(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    serve_for_long(workspace, worker, deploy(workspace, "payments", model="fraud", version=add_version(workspace)))
    number = add_version(workspace, format_=Format.ENTRY)
    with workspace.state.write("test") as tx:
        find_version(tx, "fraud", number).python = "/nowhere/bin/python"
    with workspace.state.read() as tx:
        reason = why_not(tx, workspace, find_deployment(tx, "payments"), number, serving=1)
    assert reason == "its Python environment is gone: there is no /nowhere/bin/python"


def test_who_serves_follows_the_version(workspace: Workspace) -> None:
    def served_by() -> str:
        with workspace.state.read() as tx:
            return str(find_deployment(tx, "payments").served_by)

    first = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    assert served_by() == "gateway"
    deploy(workspace, "payments", model="fraud", version=add_version(workspace, format_=Format.ENTRY))
    assert served_by() == "process"
    roll_back(workspace, "payments", to=first.to_revision, reason="back")
    assert served_by() == "gateway"
