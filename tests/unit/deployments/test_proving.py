"""Proofs of gateway workers, and when an operation is verified, failed, or neither."""

from __future__ import annotations

from quarterdeck.deployments import proving, queries, routes
from quarterdeck.deployments.rollout import deploy, roll_back
from quarterdeck.events import Event, after
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import (
    add_version,
    add_worker,
    advance,
    kill_worker,
    prove,
    serve_for_long,
)


def events_of(workspace: Workspace, kind: str) -> list[Event]:
    with workspace.state.read() as tx:
        return [event for event in after(tx, 0) if event.kind == kind]


def test_an_operation_is_verified_by_the_last_workers_proof(workspace: Workspace) -> None:
    first, second = add_worker(workspace, 0), add_worker(workspace, 1)
    row = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    advance(workspace, seconds=0.1)
    prove(workspace, first, "payments", 1)
    waiting = queries.operation(workspace, row.id)
    assert (waiting.state, waiting.workers) == ("planned", 2)
    assert [proof.served_at is not None for proof in waiting.proofs] == [True, False]
    prove(workspace, second, "payments", 1)
    done = queries.operation(workspace, row.id)
    assert done.state == "verified"
    assert done.milliseconds is not None
    assert done.milliseconds >= 100
    (event,) = events_of(workspace, "deployment.verified")
    assert {name: event.data[name] for name in ("operation", "revision", "version", "workers")} == {
        "operation": row.id,
        "revision": 1,
        "version": 1,
        "workers": 2,
    }
    assert event.data["milliseconds"] >= 100


def test_the_same_proof_twice_is_one_proof(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    for _ in range(2):
        prove(workspace, worker, "payments", 1)
    assert len(events_of(workspace, "deployment.verified")) == 1


def test_a_dead_worker_is_not_waited_for(workspace: Workspace) -> None:
    first, second = add_worker(workspace, 0), add_worker(workspace, 1)
    row = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    kill_worker(workspace, second)
    prove(workspace, first, "payments", 1)
    assert queries.operation(workspace, row.id).state == "verified"


def test_a_worker_that_stops_settles_what_waited_only_for_it(workspace: Workspace) -> None:
    first, second = add_worker(workspace, 0), add_worker(workspace, 1)
    row = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    prove(workspace, first, "payments", 1)
    proving.retire_worker(workspace, second)
    assert queries.operation(workspace, row.id).state == "verified"


def test_nobody_alive_verifies_nothing(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    row = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    proving.retire_worker(workspace, worker)
    assert queries.operation(workspace, row.id).state == "planned"


def test_a_worker_that_takes_a_slot_ends_the_one_before(workspace: Workspace) -> None:
    add_worker(workspace, 0)
    second = add_worker(workspace, 0)
    state = queries.gateway_state(workspace)
    assert ([worker.id for worker in state.workers], state.alive, state.port) == ([second], 1, 8480)


def test_a_proof_of_a_revision_that_is_no_longer_desired_verifies_nothing(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    first = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    second = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    prove(workspace, worker, "payments", 1)
    assert queries.operation(workspace, first.id).state == "superseded"
    assert queries.operation(workspace, second.id).state == "planned"


def test_a_failure_says_why_and_a_later_proof_by_everybody_mends_it(workspace: Workspace) -> None:
    first, second = add_worker(workspace, 0), add_worker(workspace, 1)
    row = deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    proving.report_failure(workspace, second, "payments", 1, "its artifact is damaged")
    failed = queries.operation(workspace, row.id)
    assert (failed.state, failed.error) == ("failed", "its artifact is damaged")
    assert queries.deployments(workspace)[0].state == "failed"
    assert len(events_of(workspace, "deployment.failed")) == 1
    prove(workspace, first, "payments", 1)
    assert queries.operation(workspace, row.id).state == "failed"
    replacement = add_worker(workspace, 1)
    prove(workspace, replacement, "payments", 1)
    assert queries.operation(workspace, row.id).state == "verified"


def test_routes_follow_what_is_desired_and_the_known_good_is_kept_warm(workspace: Workspace) -> None:
    worker = add_worker(workspace)
    serve_for_long(workspace, worker, deploy(workspace, "payments", model="fraud", version=add_version(workspace)))
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    (route,) = routes.desired_routes(workspace)
    assert (route.name, route.revision, route.model, route.number) == ("payments", 2, "fraud", 2)
    assert [(route.name, route.number) for route in routes.keep_warm(workspace)] == [
        ("payments", 2),
        ("payments", 1),
    ]
    roll_back(workspace, "payments", to=1, reason="worse")
    assert [route.number for route in routes.desired_routes(workspace)] == [1]
