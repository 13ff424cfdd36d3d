"""The route table follows what people want, and never gives up what it serves for what it cannot load."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlmodel import select

from quarterdeck.deployments import proving, rollout
from quarterdeck.deployments.operation import Operation, OperationState
from quarterdeck.registry.trial import find_trial
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.serving import loading
from quarterdeck.serving.access import Access
from quarterdeck.serving.routing import ActiveRoute, RouteTable, RouteWatch
from quarterdeck.serving.runtime import LoadedModel, Runtime
from quarterdeck.workspace import Workspace
from tests.gateways import add_classifier, add_regressor
from tests.waiting import wait_for


class Followed:
    """A route table and what it swapped."""

    def __init__(self, workspace: Workspace, capacity: int) -> None:
        self.runtime = Runtime(workspace, capacity=capacity, queue_limit=10)
        worker = proving.register_worker(workspace, slot=0, host="127.0.0.1", port=1)
        self.table = RouteTable(workspace, self.runtime, worker)
        self.swapped: list[tuple[str, int]] = []

    def follow(self) -> None:
        """What the watch does with two threads, one after the other."""
        self.look()
        while self.table.load_next():
            self.look()
        self.look()

    def look(self) -> None:
        self.table.reconcile(self._swap)

    def _swap(self, route: ActiveRoute) -> None:
        self.swapped.append((route.deployment, route.revision))


@pytest.fixture
def followed(workspace: Workspace) -> Iterator[Followed]:
    followed = Followed(workspace, capacity=1)
    yield followed
    followed.runtime.close()


def spoil(workspace: Workspace, digest: str) -> bytes:
    """Damage an artifact; return what it was."""
    place = workspace.artifacts.path(digest)
    whole = place.read_bytes()
    place.chmod(0o600)
    place.write_bytes(b"spoilt")
    return whole


def artifact_of(workspace: Workspace, number: int) -> str:
    with workspace.state.read() as tx:
        return find_version(tx, "fraud", number).artifact or ""


def state_of(workspace: Workspace, operation: int) -> OperationState:
    with workspace.state.read() as tx:
        return tx.get_one(Operation, operation).state


def test_the_table_follows_each_change_and_does_nothing_when_nothing_changed(
    workspace: Workspace, followed: Followed
) -> None:
    first, second = add_classifier(workspace), add_classifier(workspace, shift=1)
    rollout.deploy(workspace, "fraud", model="fraud", version=first)
    followed.follow()
    followed.follow()
    rollout.deploy(workspace, "fraud", model="fraud", version=second)
    followed.follow()
    rollout.roll_back(workspace, "fraud", to=1, reason="worse")
    followed.follow()
    assert followed.swapped == [("fraud", 1), ("fraud", 2), ("fraud", 3)]
    assert followed.table.active["fraud"].model.version == first


def test_a_version_that_was_never_loaded_here_is_tried_first_and_its_memory_is_kept(
    workspace: Workspace, followed: Followed
) -> None:
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace, tried=False))
    followed.follow()
    assert followed.swapped == [("fraud", 1)]
    with workspace.state.read() as tx:
        trial = find_trial(tx, find_version(tx, "fraud", 1))
    assert trial is not None
    assert 0 < trial.memory_bytes < 100_000_000


def test_a_version_that_cannot_be_loaded_leaves_the_route_as_it_was_and_fails_the_operation(
    workspace: Workspace, followed: Followed
) -> None:
    first, second = add_classifier(workspace), add_classifier(workspace, shift=1)
    rollout.deploy(workspace, "fraud", model="fraud", version=first)
    followed.follow()
    operation = rollout.deploy(workspace, "fraud", model="fraud", version=second)
    with workspace.state.read() as tx:
        spoil(workspace, find_version(tx, "fraud", second).artifact or "")
    followed.follow()
    assert followed.table.active["fraud"].revision == 1
    with workspace.state.read() as tx:
        row = tx.exec(select(Operation).where(Operation.id == operation.id)).one()
    assert row.state is OperationState.FAILED
    assert "damaged" in (row.error or "")


def test_a_first_version_that_cannot_be_loaded_is_not_ready_and_says_why(
    workspace: Workspace, followed: Followed
) -> None:
    number = add_classifier(workspace)
    rollout.deploy(workspace, "fraud", model="fraud", version=number)
    with workspace.state.read() as tx:
        spoil(workspace, find_version(tx, "fraud", number).artifact or "")
    followed.follow()
    assert "damaged" in followed.table.not_ready["fraud"]
    assert followed.table.reconciled


def test_models_beyond_the_capacity_are_forgotten_but_never_one_that_serves(
    workspace: Workspace, followed: Followed
) -> None:
    rollout.deploy(workspace, "cost", model="cost", version=add_regressor(workspace))
    followed.follow()
    for shift in range(3):
        rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace, shift=shift))
        followed.follow()
    with workspace.state.read() as tx:
        held = [number for number in (1, 2, 3) if followed.runtime.holds(find_version(tx, "fraud", number))]
        assert held == [3]
        assert followed.runtime.holds(find_version(tx, "cost", 1)), "loaded first, and it serves"


def test_a_version_that_becomes_wanted_while_it_is_loaded_to_be_kept_warm_is_swapped_to(
    workspace: Workspace, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = add_classifier(workspace), add_classifier(workspace, shift=1.0)
    rollout.deploy(workspace, "fraud", model="fraud", version=first)
    followed.look()
    assert followed.table.load_next()
    followed.look()
    load = followed.runtime.load

    def load_while_the_other_thread_looks(model: str, version: ModelVersion) -> Any:
        followed.look()
        return load(model, version)

    monkeypatch.setattr(followed.runtime, "load", load_while_the_other_thread_looks)
    rollout.deploy(workspace, "fraud", model="fraud", version=second)
    assert followed.table.load_next()
    followed.look()
    assert followed.swapped[-1] == ("fraud", 2)


def test_a_restarted_worker_serves_the_version_before_where_the_desired_one_cannot_be_loaded(
    workspace: Workspace, followed: Followed
) -> None:
    first, second = add_classifier(workspace), add_classifier(workspace, shift=1)
    rollout.deploy(workspace, "fraud", model="fraud", version=first)
    now = workspace.now()
    proving.prove(workspace, 1, "fraud", 1, routed_at=now, served_at=now, request_id="r", probe=False)
    operation = rollout.deploy(workspace, "fraud", model="fraud", version=second)
    spoil(workspace, artifact_of(workspace, second))
    followed.follow()
    assert followed.swapped == [("fraud", 1)]
    assert followed.table.active["fraud"].model.version == first
    assert not followed.table.not_ready
    assert followed.table.reconciled
    assert state_of(workspace, operation.id) is OperationState.FAILED


def test_a_version_that_could_not_be_loaded_is_tried_again_after_longer_and_longer_pauses(
    workspace: Workspace, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "FIRST_PAUSE_SECONDS", 0.2)
    number = add_classifier(workspace)
    rollout.deploy(workspace, "fraud", model="fraud", version=number)
    whole = spoil(workspace, artifact_of(workspace, number))
    followed.follow()
    assert 0 < followed.table.retry_at - time.monotonic() <= 0.2
    wait_for(lambda: time.monotonic() >= followed.table.retry_at)
    followed.follow()
    assert 0.2 < followed.table.retry_at - time.monotonic() <= 0.4
    workspace.artifacts.path(artifact_of(workspace, number)).write_bytes(whole)
    wait_for(lambda: time.monotonic() >= followed.table.retry_at)
    followed.follow()
    assert followed.swapped == [("fraud", 1)]
    assert not followed.table.not_ready


class SlowRuntime(Runtime):
    """Loads one version only once it is let."""

    def __init__(self, workspace: Workspace, slow: int) -> None:
        super().__init__(workspace, capacity=4, queue_limit=10)
        self.slow = slow
        self.begun, self.let = threading.Event(), threading.Event()

    def load(self, model: str, version: ModelVersion) -> LoadedModel:
        if version.number == self.slow:
            self.begun.set()
            assert self.let.wait(60)
        return super().load(model, version)


async def test_a_rollback_to_what_is_in_memory_does_not_wait_for_a_load(workspace: Workspace) -> None:
    first, second, third = (add_classifier(workspace, shift=shift) for shift in range(3))
    rollout.deploy(workspace, "fraud", model="fraud", version=first)
    runtime = SlowRuntime(workspace, slow=third)
    worker = proving.register_worker(workspace, slot=0, host="127.0.0.1", port=1)
    table = RouteTable(workspace, runtime, worker)
    swapped: asyncio.Queue[ActiveRoute] = asyncio.Queue()
    watch = RouteWatch(workspace, table, Access(workspace), swapped.put_nowait)
    watch.start()

    async def change(verb: Any, *arguments: Any, **more: Any) -> None:
        await asyncio.to_thread(verb, workspace, "fraud", *arguments, **more)

    try:
        async with asyncio.timeout(60):
            assert (await swapped.get()).model.version == first
            await change(rollout.deploy, model="fraud", version=second)
            assert (await swapped.get()).model.version == second
            await change(rollout.deploy, model="fraud", version=third)
            await asyncio.to_thread(runtime.begun.wait)
            await change(rollout.roll_back, to=1, reason="worse")
            assert (await swapped.get()).model.version == first
            assert not runtime.let.is_set()
            runtime.let.set()
            await change(rollout.deploy, model="fraud", version=third)
            assert (await swapped.get()).model.version == third
    finally:
        runtime.let.set()
        await watch.close()
        runtime.close()


async def test_what_could_not_be_loaded_is_tried_again_though_nothing_happens(
    workspace: Workspace, followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "FIRST_PAUSE_SECONDS", 0.2)
    operation = rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace)).id
    whole = spoil(workspace, artifact_of(workspace, 1))
    swapped: asyncio.Queue[ActiveRoute] = asyncio.Queue()
    watch = RouteWatch(workspace, followed.table, Access(workspace), swapped.put_nowait)
    watch.start()
    try:
        async with asyncio.timeout(60):
            await watch.followed.wait()
            assert state_of(workspace, operation) is OperationState.FAILED
            workspace.artifacts.path(artifact_of(workspace, 1)).write_bytes(whole)
            assert (await swapped.get()).revision == 1
    finally:
        await watch.close()
