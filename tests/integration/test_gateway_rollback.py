"""Rollbacks while requests arrive: none fails, none is answered by another version than it says or should."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import pytest

from quarterdeck import bootstrap
from quarterdeck.deployments import queries, rollout
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.rows import OperationRow
from quarterdeck.workspace import Workspace
from tests.gateways import add_classifier, free_socket, infer_body, running_gateway
from tests.loads import Load, Sent


@pytest.mark.parametrize("workers", [1, 2])
async def test_rollbacks_under_load_are_verified_and_fail_and_misroute_nothing(tmp_path: Path, workers: int) -> None:
    workspace = bootstrap.create_workspace(tmp_path / "workspace", actor="tester")
    versions = [add_classifier(workspace), add_classifier(workspace, shift=1.5)]
    rollout.deploy(workspace, "fraud", model="fraud", version=versions[0])
    listening = free_socket()
    with ExitStack() as stack:
        gateways = [
            stack.enter_context(running_gateway(workspace.root, slot=slot, listening=listening))
            for slot in range(workers)
        ]
        operations = [await settled(workspace, queries.operations(workspace)[0].id)]
        body = json.dumps(infer_body()).encode()
        async with Load(gateways[0].port, "/v2/models/fraud/infer", body, rate=100) as load:
            for _ in range(3):
                operations.append(await change(workspace, versions[1]))
                operations.append(await change(workspace, versions[0]))
    listening.close()
    workspace.close()
    assert [operation.state for operation in operations] == [OperationState.VERIFIED] * 7
    assert len(load.sent) > 20
    assert [sent for sent in load.sent if sent.status != 200] == []
    assert {sent.version for sent in load.sent} == {"1", "2"}
    assert_wholly_one_version(load.sent)
    assert misrouted(load.sent, operations) == []


async def change(workspace: Workspace, version: int) -> OperationRow:
    """Deploy or go back, and wait for the proof."""
    revisions = queries.revisions(workspace, "fraud")
    known = [revision.number for revision in revisions if revision.version == version]
    if known:
        operation = await asyncio.to_thread(
            rollout.roll_back, workspace, "fraud", to=max(known), reason="test", actor="tester"
        )
    else:
        operation = await asyncio.to_thread(rollout.deploy, workspace, "fraud", model="fraud", version=version)
    return await settled(workspace, operation.id)


async def settled(workspace: Workspace, operation: int) -> OperationRow:
    async with asyncio.timeout(120):
        while True:
            row = await asyncio.to_thread(queries.operation, workspace, operation)
            if row.state is not OperationState.PLANNED:
                return row
            await asyncio.sleep(0.02)


def assert_wholly_one_version(sent: list[Sent]) -> None:
    """Header, body and output agree: each version answers this request in its own way, and always so."""
    answers: dict[str, set[str]] = {}
    for answer in sent:
        assert answer.content["model_version"] == answer.version
        answers.setdefault(answer.version, set()).add(json.dumps(answer.content["outputs"]))
    assert all(len(outputs) == 1 for outputs in answers.values())
    assert answers["1"] != answers["2"]


def misrouted(sent: list[Sent], operations: list[OperationRow]) -> list[Sent]:
    """Requests sent after an operation was verified, and before the next was asked for, that others answered."""
    ends = [*(operation.planned_at for operation in operations[1:]), datetime.max.replace(tzinfo=sent[0].at.tzinfo)]
    return [
        answer
        for operation, end in zip(operations, ends, strict=True)
        for answer in sent
        if operation.verified_at is not None
        and operation.verified_at < answer.at < end
        and answer.at.timestamp() + answer.seconds < end.timestamp()
        and answer.version != str(operation.version)
    ]
