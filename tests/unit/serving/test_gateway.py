"""The gateway goes on trying to write what it has proved, and says of every probe how it ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest

from quarterdeck.deployments import proving, queries, rollout
from quarterdeck.errors import BusyError, NotFoundError
from quarterdeck.serving import protocol
from quarterdeck.serving.columns import BadInput
from quarterdeck.serving.gateway import Gateway, NotReadyError
from quarterdeck.serving.inputs import Inputs
from quarterdeck.serving.metrics import Metrics
from quarterdeck.serving.protocol import ParsedRequest
from quarterdeck.serving.recorder import Recorder
from quarterdeck.serving.routing import RouteTable
from quarterdeck.serving.runtime import Runtime
from quarterdeck.workspace import Workspace
from tests.gateways import add_classifier, infer_body


class Served:
    """A gateway with one route, once it is loaded."""

    def __init__(self, workspace: Workspace) -> None:
        self.operation = rollout.deploy(workspace, "fraud", model="fraud", version=add_classifier(workspace)).id
        worker = proving.register_worker(workspace, slot=0, host="127.0.0.1", port=1)
        runtime = Runtime(workspace, capacity=1, queue_limit=10)
        self.table = RouteTable(workspace, runtime, worker)
        metrics = Metrics(workspace.folder / "metrics", 0)
        recorder = Recorder(workspace, metrics, limit=100, worker="gateway/0")
        self.gateway = Gateway(workspace, self.table, runtime, recorder, metrics, worker)
        self.table.reconcile(self.gateway.swapped)

    def load(self) -> None:
        self.table.load_next()
        self.table.reconcile(self.gateway.swapped)


@pytest.fixture
async def served(workspace: Workspace) -> AsyncIterator[Served]:
    served = Served(workspace)
    served.load()
    yield served
    await served.gateway.close()


def failing(times: int, real: Callable[..., None], error: Exception) -> Callable[..., None]:
    left = iter(range(times))

    def verb(*arguments: Any, **more: Any) -> None:
        if next(left, None) is not None:
            raise error
        real(*arguments, **more)

    return verb


async def becomes(workspace: Workspace, operation: int, state: str) -> str | None:
    """Wait until the operation is in that state; return its error."""
    async with asyncio.timeout(60):
        while True:
            row = await asyncio.to_thread(queries.operation, workspace, operation)
            if row.state == state:
                return row.error
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("error", [BusyError("no"), OSError("no")])
async def test_a_proof_is_written_however_often_that_failed(
    workspace: Workspace, served: Served, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("quarterdeck.serving.gateway.FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(proving, "prove", failing(7, proving.prove, error))
    await becomes(workspace, served.operation, "verified")


async def test_a_probe_that_fails_as_nobody_foresaw_fails_the_operation(
    workspace: Workspace, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*arguments: Any, **more: Any) -> bytes:
        raise TypeError("cannot be told")

    monkeypatch.setattr("quarterdeck.serving.gateway.FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(protocol, "answer", odd)
    monkeypatch.setattr(proving, "report_failure", failing(3, proving.report_failure, BusyError("no")))
    assert await becomes(workspace, served.operation, "failed") == "TypeError: cannot be told"


def parsed(inputs: Inputs, now: datetime) -> ParsedRequest:
    """A request of two rows that the route takes."""
    return protocol.parse(json.dumps(infer_body(2)).encode(), inputs, now, None)


def counted(workspace: Workspace) -> tuple[int, dict[str, int]]:
    """How many requests were answered, and how many were not, by reason."""
    with workspace.traffic.read() as tx:
        connection = tx.connection()
        answered = connection.exec_driver_sql("SELECT coalesce(sum(count), 0) FROM answered").scalar_one()
        errors = connection.exec_driver_sql("SELECT reason, sum(count) AS n FROM unanswered GROUP BY reason")
        return int(answered), {str(row.reason): int(row.n) for row in errors}


async def test_each_request_is_counted_once_by_what_became_of_it(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(workspace)

    def odd(*arguments: Any, **more: Any) -> bytes:
        raise TypeError("cannot be told")

    def wrong(inputs: Inputs, now: datetime) -> ParsedRequest:
        raise BadInput("it does not fit")

    try:
        with pytest.raises(NotReadyError):
            await served.gateway.infer("fraud", parsed)
        served.load()
        served.gateway.delivered(await served.gateway.infer("fraud", parsed))
        with pytest.raises(BadInput):
            await served.gateway.infer("fraud", wrong)
        with pytest.raises(NotFoundError):
            await served.gateway.infer("nowhere", parsed)
        with monkeypatch.context() as broken:
            broken.setattr(protocol, "answer", odd)
            with pytest.raises(TypeError):
                await served.gateway.infer("fraud", parsed)
        await becomes(workspace, served.operation, "verified")
    finally:
        await served.gateway.close()
    # The probe by which the gateway may have asked itself is no request.
    assert counted(workspace) == (1, {"unready": 1, "rejected": 1, "failed": 1})
