"""Versions, workers and traffic for tests of deployments, written straight into a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import select

from quarterdeck.deployments import proving
from quarterdeck.deployments.proof import GatewayWorker
from quarterdeck.deployments.queries import OperationRow
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Severity
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.registry.model import Model
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import Format, GateVerdict, ModelVersion, Task, next_number
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock

AMOUNT = Feature("amount", "number", nullable=False)
CHANNEL = Feature("channel", "text", nullable=True, categories=("app", "web"))


def add_version(
    workspace: Workspace,
    model: str = "fraud",
    *,
    features: Sequence[Feature] = (AMOUNT, CHANNEL),
    gate: GateVerdict = GateVerdict.PASSED,
    format_: Format = Format.SKOPS,
    run_id: int | None = None,
    metrics: dict[str, float] | None = None,
) -> int:
    """Register a version with an artifact that is only bytes; return its number."""
    with workspace.state.write("test") as tx:
        found = tx.exec(select(Model).where(Model.name == model)).first()
        if found is None:
            found = Model(name=model, created_at=workspace.now())
            tx.add(found)
            tx.flush()
        assert found.id is not None
        number = next_number(tx, found)
        stored = format_ is not Format.EXTERNAL
        version = ModelVersion(
            model_id=found.id,
            number=number,
            format=format_,
            task=Task.CLASSIFICATION,
            artifact=workspace.artifacts.put(f"{model}@{number}".encode()) if stored else None,
            signature=Signature(tuple(features), target="is_fraud", classes=(0, 1)).as_dict(),
            example=[{"amount": 1.0, "channel": "app"}],
            profile=[],
            metrics=metrics or {"roc_auc": 0.9},
            importances={},
            gate=gate,
            gate_checks=[{"metric": "roc_auc", "passed": gate is not GateVerdict.FAILED}],
            run_id=run_id,
            environment={"scikit-learn": f"1.{number}"},
            unknown=[],
            created_by="tester",
            created_at=workspace.now(),
        )
        tx.add(version)
    return number


def add_worker(workspace: Workspace, slot: int = 0) -> int:
    """A gateway worker that is alive: this process."""
    return proving.register_worker(workspace, slot=slot, host="127.0.0.1", port=8480)


def kill_worker(workspace: Workspace, worker: int) -> None:
    """Let a worker have died without a word: its pid now belongs to a process of another start."""
    with workspace.state.write("test") as tx:
        tx.get_one(GatewayWorker, worker).process_started = -1.0


def prove(workspace: Workspace, worker: int, deployment: str, revision: int) -> None:
    now = workspace.now()
    proving.prove(workspace, worker, deployment, revision, routed_at=now, served_at=now, request_id="r1", probe=False)


def serve_for_long(
    workspace: Workspace, worker: int, operation: OperationRow, *, requests: int = 100, minutes: float = 10
) -> None:
    """Prove a revision, let it answer requests, and let time pass: afterwards it can be called known good."""
    prove(workspace, worker, operation.deployment, operation.to_revision)
    add_traffic(workspace, operation.deployment, operation.to_revision, operation.version, requests)
    advance(workspace, minutes=minutes)


def add_traffic(workspace: Workspace, deployment: str, revision: int | None, version: int, count: int) -> list[str]:
    """Recorded predictions; return their ids."""
    now = workspace.now()
    rows = [
        {
            "deployment": deployment,
            "id": f"{revision}-{now.timestamp()}-{i}",
            "received_at": now,
            "revision": revision,
            "version": version,
            "inputs": [float(i), "app"],
            "prediction": i % 2,
            "probabilities": [0.4, 0.6],
            "latency_us": 1000 + i,
        }
        for i in range(count)
    ]
    record(workspace, rows)
    return [str(row["id"]) for row in rows]


def advance(workspace: Workspace, **by: float) -> None:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(**by)


def add_result(
    workspace: Workspace,
    version: int,
    end: datetime,
    *,
    drifted: dict[str, float] | None = None,
    served: bool = True,
    aspect: Aspect = Aspect.INPUTS,
    verdict: Verdict | None = None,
) -> None:
    """A judged window: `drifted` gives the severity of each column that moved."""
    drifted = drifted or {}
    scores: list[dict[str, Any]] = [
        {
            "column": name,
            "verdict": "drifted" if name in drifted else "quiet",
            "missing_verdict": "quiet",
            "severity": drifted.get(name, 0.0),
            "missing_severity": 0.0,
        }
        for name in ("amount", "channel")
    ]
    with workspace.state.write("test") as tx:
        tx.add(
            Result(
                monitor="watch",
                deployment="payments",
                aspect=aspect,
                version=version,
                served=served,
                window_start=end - timedelta(days=1),
                window_end=end,
                n_reference=1000,
                n_current=500,
                verdict=verdict or (Verdict.FOUND if drifted else Verdict.QUIET),
                scores=scores,
                evaluated_at=workspace.now(),
            )
        )


def add_alert(
    workspace: Workspace,
    version: int,
    kind: AlertKind,
    *,
    columns: Sequence[str] = ("amount",),
    severity: Severity = Severity.PAGE,
    state: AlertState = AlertState.OPEN,
    slice_: str | None = None,
) -> int:
    now = workspace.now()
    with workspace.state.write("test") as tx:
        alert = Alert(
            monitor="watch",
            deployment="payments",
            version=version,
            kind=kind,
            columns=list(columns),
            slice=slice_,
            severity=severity,
            score=0.5,
            state=state,
            summary=f"{kind} of {', '.join(columns)}",
            evidence={},
            onset=now,
            last_window_end=now,
            opened_at=now,
        )
        tx.add(alert)
        tx.flush()
        assert alert.id is not None
        return alert.id
