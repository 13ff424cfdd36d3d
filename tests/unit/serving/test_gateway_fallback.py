"""A fallback stands in for a version: it proves no revision, and another version must take what requests have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from quarterdeck.deployments import proving, rollout
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.serving import protocol
from quarterdeck.serving.fallback import FallbackError, Fallbacks
from quarterdeck.serving.gateway import Gateway, Reply
from quarterdeck.serving.metrics import Metrics
from quarterdeck.serving.recorder import Recorder
from quarterdeck.serving.routing import RouteTable
from quarterdeck.serving.runtime import Runtime
from quarterdeck.settings.serving import DeploymentSettings
from quarterdeck.workspace import Workspace
from tests.gateways import add_classifier, add_linear, infer_body


@pytest.fixture
async def made(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Gateway]]:
    """Gateways that a test made, closed after it; none of them asks itself."""
    monkeypatch.setattr("quarterdeck.serving.gateway.PROBE_AFTER_SECONDS", 1e6)
    gateways: list[Gateway] = []
    yield gateways
    for gateway in gateways:
        await gateway.close()


def with_fallback(workspace: Workspace, fallback: dict[str, Any]) -> Workspace:
    """The workspace with settings by which `fraud` sends requests without an amount to `fallback`."""
    policies = {"columns": {"amount": {"missing": "fallback"}}, "fallback": fallback}
    deployments = {"fraud": DeploymentSettings.model_validate(policies)}
    return replace(workspace, settings=workspace.settings.model_copy(update={"deployments": deployments}))


def serve(workspace: Workspace, made: list[Gateway], fallback: dict[str, Any]) -> Gateway:
    """A gateway with these settings."""
    workspace = with_fallback(workspace, fallback)
    worker = proving.register_worker(workspace, slot=0, host="127.0.0.1", port=1)
    runtime = Runtime(workspace, capacity=2, queue_limit=10)
    table = RouteTable(workspace, runtime, worker)
    metrics = Metrics(workspace.folder / "metrics", 0)
    recorder = Recorder(workspace, metrics, limit=100, worker="gateway/0")
    gateway = Gateway(workspace, table, runtime, recorder, metrics, worker)
    made.append(gateway)
    table.reconcile(gateway.swapped)
    table.load_next()
    table.reconcile(gateway.swapped)
    return gateway


async def ask(gateway: Gateway, amount: float | None = 0.5) -> Reply:
    body = json.dumps(infer_body(amount=[amount])).encode()
    return await gateway.infer("fraud", lambda inputs, now: protocol.parse(body, inputs, now))


async def test_the_fallback_s_answer_proves_no_revision(workspace: Workspace, made: list[Gateway]) -> None:
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace))
    gateway = serve(workspace, made, {"constant": "no"})
    instead = await ask(gateway, amount=None)
    gateway.delivered(instead)
    assert (instead.served.variant, instead.route.proved) == ("fallback", False)
    plain = await ask(gateway)
    gateway.delivered(plain)
    assert (plain.served.variant, plain.route.proved) == ("champion", True)


async def test_what_stands_in_is_made_ready_once_for_a_route(workspace: Workspace, made: list[Gateway]) -> None:
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace))
    (route,) = serve(workspace, made, {"constant": "no"}).routes()
    runtime = Runtime(workspace, capacity=2, queue_limit=10)
    fallbacks = Fallbacks(with_fallback(workspace, {"constant": "no"}), runtime)
    first = await fallbacks.of(route)
    assert await fallbacks.of(route) is first
    assert await fallbacks.of(replace(route)) is not first
    runtime.close()


async def test_requests_that_come_while_it_is_loaded_wait_for_it(workspace: Workspace, made: list[Gateway]) -> None:
    add_classifier(workspace)
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace, shift=1.0))
    gateway = serve(workspace, made, {"version": 1})
    replies = await asyncio.gather(*(ask(gateway, amount=None) for _ in range(5)))
    assert {reply.served.version for reply in replies} == {1}


async def test_a_version_that_takes_other_columns_or_no_missing_value_either_cannot_stand_in(
    workspace: Workspace, made: list[Gateway]
) -> None:
    add_linear(workspace, Signature((Feature("sum", "number", nullable=False),), "fraud", None), "fraud")
    add_classifier(workspace, agreement={"refuses_missing": ["amount"]})
    rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace))
    with pytest.raises(FallbackError, match="version 1 takes other columns"):
        await ask(serve(workspace, made, {"version": 1}), amount=None)
    with pytest.raises(FallbackError, match="version 2 takes no missing value of 'amount' either"):
        await ask(serve(workspace, made, {"version": 2}), amount=None)
    with pytest.raises(FallbackError, match="no version 7"):
        await ask(serve(workspace, made, {"version": 7}), amount=None)
