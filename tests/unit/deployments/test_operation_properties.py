"""Whatever people, workers and accidents do in whatever order: the rules of revisions and operations hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quarterdeck import bootstrap, events
from quarterdeck.deployments import proving, queries
from quarterdeck.deployments.rollout import deploy, roll_back, undo
from quarterdeck.errors import RefusedError, UsageError
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports
from tests.unit.deployments.factories import add_version, add_worker, kill_worker, prove

SLOTS = st.integers(0, 1)
NUMBERS = st.integers(1, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deploy"), NUMBERS),
        st.tuples(st.just("roll_back"), NUMBERS),
        st.tuples(st.just("undo"), st.just(0)),
        st.tuples(st.just("prove"), SLOTS),
        st.tuples(st.just("prove"), SLOTS),
        st.tuples(st.just("prove_before"), SLOTS),
        st.tuples(st.just("fail"), SLOTS),
        st.tuples(st.just("start"), SLOTS),
        st.tuples(st.just("stop"), SLOTS),
        st.tuples(st.just("die"), SLOTS),
    ),
    min_size=3,
    max_size=14,
)
_names = (f"d{n}" for n in count(1))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """One workspace for all examples, each of which takes a deployment of its own: making one costs most."""
    folder = tmp_path_factory.mktemp("properties") / "workspace"
    workspace = bootstrap.create_workspace(folder, ports=fake_ports(), actor="tester")
    for _ in range(3):
        add_version(workspace)
    yield workspace
    workspace.close()


@dataclass
class Model:
    """What should be true, kept beside the workspace in the simplest way."""

    workspace: Workspace
    name: str
    alive: dict[int, int] = field(default_factory=dict)
    proved: set[tuple[int, int]] = field(default_factory=set)
    verified: set[int] = field(default_factory=set)
    heard: bool = False
    """In the last step a worker that lives proved something, or one that ends said so: a death says nothing."""

    @property
    def desired(self) -> int:
        return queries.revisions(self.workspace, self.name)[0].number

    def everybody_proved(self) -> bool:
        desired = self.desired
        return bool(self.alive) and all((worker, desired) in self.proved for worker in self.alive.values())

    def step(self, action: str, value: int) -> None:
        self.heard = action in ("prove", "stop") and value in self.alive
        try:
            self._change(action, value)
        except (RefusedError, UsageError):
            return  # Refusals are legal; that they change nothing is what the invariants check.
        if action in ("start", "stop", "die", "prove", "prove_before", "fail"):
            self._work(action, value)

    def _change(self, action: str, value: int) -> None:
        if action == "deploy":
            deploy(self.workspace, self.name, model="fraud", version=value)
        elif action == "roll_back":
            roll_back(self.workspace, self.name, to=value, reason="test")
        elif action == "undo":
            undo(self.workspace, self.name)

    def _work(self, action: str, slot: int) -> None:
        if action == "start":
            self.alive[slot] = add_worker(self.workspace, slot)
            return
        worker = self.alive.get(slot)
        if worker is None:
            return
        if action in ("stop", "die"):
            del self.alive[slot]
            (proving.retire_worker if action == "stop" else kill_worker)(self.workspace, worker)
            return
        revision = max(self.desired - (action == "prove_before"), 1)
        if action == "fail":
            proving.report_failure(self.workspace, worker, self.name, revision, "cannot")
        else:
            prove(self.workspace, worker, self.name, revision)
            self.proved.add((worker, revision))

    def check(self) -> None:
        revisions = queries.revisions(self.workspace, self.name)
        numbers = [row.number for row in revisions]
        assert numbers == list(range(len(numbers), 0, -1))
        assert [row.number for row in revisions if row.desired] == [numbers[0]]
        assert [row.number for row in revisions if row.replaced_at is None] == [numbers[0]]
        assert all(row.state != "planned" for row in revisions[1:])
        verified = {row.operation for row in revisions if row.state == "verified"}
        assert verified >= self.verified
        for operation in verified - self.verified:
            assert operation == revisions[0].operation
            assert self.everybody_proved()
        if self.heard and self.everybody_proved():
            assert revisions[0].state == "verified"
        assert all((row.verified_at is not None) == (row.state == "verified") for row in revisions)
        self.verified = verified


@settings(max_examples=30, deadline=None)
@example(workers=2, steps=[("prove", 0), ("prove", 1), ("deploy", 2), ("prove", 1), ("stop", 0)])
@example(workers=2, steps=[("fail", 1), ("prove", 0), ("die", 1), ("start", 1), ("prove", 1), ("undo", 0)])
@example(workers=2, steps=[("prove", 0), ("die", 1), ("prove", 0)])
@given(workers=st.integers(0, 2), steps=STEPS)
def test_revisions_and_operations_keep_their_rules(
    shared: Workspace, workers: int, steps: list[tuple[str, int]]
) -> None:
    for worker in queries.gateway_state(shared).workers:
        proving.retire_worker(shared, worker.id)
    model = Model(shared, next(_names))
    for slot in range(workers):
        model.alive[slot] = add_worker(shared, slot)
    deploy(shared, model.name, model="fraud", version=1)
    model.check()
    for action, value in steps:
        model.step(action, value)
        model.check()
    with shared.state.read() as tx:
        assert events.verify(tx) > 0
