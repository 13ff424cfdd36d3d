"""A workspace full of the things that the console shows, made by the real verbs and entities."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from quarterdeck import lineage, processes
from quarterdeck.database import Entity
from quarterdeck.deployments.proving import prove, register_worker
from quarterdeck.deployments.rollout import deploy
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Severity
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.pipelines.run import Metric, Run, RunState, RunStep, StepState
from quarterdeck.pipelines.schedule import Schedule, Target
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.signature import Feature, Signature
from quarterdeck.registry.version import Format, Task
from quarterdeck.runner.job import Job, JobKind, JobState, RunnerLease
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock

SIGNATURE = Signature(
    features=(
        Feature("amount", "number", nullable=False),
        Feature("age", "integer", nullable=True),
        Feature("channel", "text", nullable=False, categories=("app", "shop", "web")),
    ),
    target="fraud",
    classes=(0, 1),
)
PIPELINE = """\
from quarterdeck.pipelines import pipeline, register, step


@step
def train(payments, *, depth=4):
    return payments


@step
def holdout(payments):
    return payments


made = register("fraud", estimator="train", training="holdout", holdout="holdout")
nightly = pipeline("nightly", [train, holdout], registers=made)
"""


def clock_of(workspace: Workspace) -> FakeClock:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    return clock


def write(workspace: Workspace, *entities: Entity) -> None:
    with workspace.state.write("seed") as tx:
        tx.add_all(entities)


def add_version(workspace: Workspace, model: str, auc: float, run: int | None = None) -> int:
    """Register a version that passes for one that can serve; its number."""
    candidate = Candidate(
        model=model,
        format=Format.SKOPS,
        task=Task.CLASSIFICATION,
        artifact=workspace.artifacts.put(f"{model} {auc}".encode()),
        signature=SIGNATURE,
        example=[],
        reference=None,
        profile=[],
        metrics={"roc_auc": auc, "average_precision": auc - 0.2},
        importances={"amount": 0.62, "channel": 0.27, "age": 0.11},
        environment={},
    )
    with workspace.state.write("seed") as tx:
        number = register(tx, workspace, candidate, run_id=run).number
        if run is not None:
            lineage.connect(tx, f"run/{run}", f"version/{model}@{number}")
    return number


def add_gateway(workspace: Workspace) -> int:
    """This process stands for a gateway worker; its id."""
    return register_worker(workspace, slot=0, host="127.0.0.1", port=8480)


def add_runner(workspace: Workspace) -> None:
    me = processes.here()
    now = workspace.now()
    write(
        workspace,
        RunnerLease(
            pid=me.pid,
            process_started=me.started,
            boot_id=me.boot_id,
            started_at=now,
            lease_until=now + timedelta(hours=9),
        ),
    )


def verify(workspace: Workspace, worker: int, deployment: str, revision: int, *, probe: bool = False) -> None:
    """The worker serves its first response of a revision."""
    now = workspace.now()
    prove(
        workspace,
        worker,
        deployment,
        revision,
        routed_at=now + timedelta(milliseconds=12),
        served_at=now + timedelta(milliseconds=31),
        request_id=f"request-{revision}",
        probe=probe,
    )


def predict(workspace: Workspace, deployment: str, version: int, revision: int, count: int) -> None:
    now = workspace.now()
    rows: list[dict[str, Any]] = [
        {
            "deployment": deployment,
            "id": f"{deployment}-{revision}-{index}",
            "key": f"card-{index}",
            "received_at": now + timedelta(milliseconds=10 * index),
            "version": version,
            "revision": revision,
            "inputs": [12.5 + index, 41, "app"],
            "prediction": index % 2,
            "probabilities": [0.3, 0.7],
            "latency_us": 900 + 7 * index,
        }
        for index in range(count)
    ]
    record(workspace, rows)
    add_labels(workspace, deployment, [{"reference": f"card-{index}", "value": 1} for index in range(0, count, 3)])


def seed(workspace: Workspace) -> int:
    """Two models, two deployments, runs, jobs, alerts; `fraud` serves version 2 after 1. Returns the worker's id."""
    folder = workspace.root / "pipelines"
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(PIPELINE, encoding="utf-8")
    clock = clock_of(workspace)
    worker = add_gateway(workspace)
    add_runner(workspace)
    seed_runs(workspace)
    add_version(workspace, "fraud", 0.941, run=1)
    deploy(workspace, "fraud", model="fraud", version=1, reason="first", actor="alice")
    verify(workspace, worker, "fraud", 1)
    add_version(workspace, "churn", 0.811)
    deploy(workspace, "churn", model="churn", version=1, reason="first", actor="bob")
    verify(workspace, worker, "churn", 1, probe=True)
    predict(workspace, "fraud", 1, 1, 240)
    clock.advance(hours=1)
    add_version(workspace, "fraud", 0.902, run=2)
    deploy(workspace, "fraud", model="fraud", version=2, reason="gate passed", actor="policy")
    verify(workspace, worker, "fraud", 2)
    clock.advance(minutes=10)
    predict(workspace, "fraud", 2, 2, 180)
    seed_alerts(workspace)
    clock.advance(seconds=20)
    return worker


def seed_runs(workspace: Workspace) -> None:
    now = workspace.now()
    states = ((RunState.SUCCEEDED, "fraud@1"), (RunState.SUCCEEDED, "fraud@2"), (RunState.FAILED, None))
    for index, (state, version) in enumerate(states):
        start = now + timedelta(minutes=20 * index)
        failed = state is RunState.FAILED
        run = Run(
            pipeline="nightly",
            state=state,
            parameters={"train.depth": 4 + index},
            trigger="schedule/nightly",
            requested_by="runner",
            queued_at=start,
            started_at=start,
            finished_at=start + timedelta(seconds=4.2),
            error="step train: ValueError: Input contains NaN" if failed else None,
            inputs={"payments": f"payments@{index + 1}"},
            graph={"train": ["payments"], "holdout": ["payments"]},
            git={"commit": "4f2c9ab", "branch": "main", "dirty": False},
            environment={"python": "3.11.7", "host": "ops-1"},
            version=version,
        )
        write(workspace, run)
        assert run.id is not None
        step = RunStep(
            run_id=run.id,
            name="train",
            position=0,
            state=StepState.FAILED if failed else StepState.SUCCEEDED,
            parameters={"depth": 4 + index},
            started_at=start,
            finished_at=start + timedelta(seconds=3.1),
            wall_seconds=3.1,
            cpu_seconds=2.9,
            peak_memory_bytes=184_000_000,
        )
        skipped = StepState.SKIPPED if failed else StepState.SUCCEEDED
        other = RunStep(run_id=run.id, name="holdout", position=1, state=skipped, wall_seconds=0.2)
        write(workspace, step, other, Metric(run_id=run.id, name="roc_auc", value=0.94 - 0.02 * index, at=start))
        log = workspace.logs / f"run-{run.id}.log"
        log.write_text(f"step train started\nfitting run {run.id} [/bold]\nstep train finished in 3.1 s\n")
        write(workspace, _job(run.id, start, log.name, failed=failed))
    schedule = Schedule(
        name="nightly",
        target_kind=Target.PIPELINE,
        target="nightly",
        cron="0 2 * * *",
        parameters={},
        anchor=now,
        next_tick=now + timedelta(hours=14),
    )
    write(workspace, schedule)


def _job(run: int, start: datetime, log: str, *, failed: bool) -> Job:
    return Job(
        kind=JobKind.RUN,
        key=f"run/{run}",
        subject=f"run/{run}",
        payload={"run": run},
        state=JobState.FAILED if failed else JobState.SUCCEEDED,
        attempt=1,
        not_before=start,
        created_at=start,
        started_at=start,
        finished_at=start + timedelta(seconds=4.4),
        log=log,
        error="step train: ValueError: Input contains NaN" if failed else None,
    )


def seed_alerts(workspace: Workspace) -> None:
    now = workspace.now().replace(hour=0, minute=0, second=0, microsecond=0)
    for index in range(8):
        start = now - timedelta(days=8 - index)
        effect = 0.03 if index < 5 else 1.9
        write(workspace, _result(start, Aspect.INPUTS, 2, effect, found=index >= 5))
        write(workspace, _result(start, Aspect.INPUTS, 1, effect, found=index >= 5, served=False))
    write(
        workspace,
        make_alert(1, ["amount"], Severity.PAGE, 1.18, now, slice="channel=app", kind=AlertKind.DRIFT),
        make_alert(2, ["roc_auc"], Severity.WARNING, 0.08, now, kind=AlertKind.QUALITY),
        make_alert(3, ["age"], Severity.INFORMATIONAL, 0.01, now, kind=AlertKind.DRIFT),
    )


def make_alert(
    number: int,
    columns: list[str],
    severity: Severity,
    score: float,
    now: datetime,
    *,
    kind: AlertKind,
    slice: str | None = None,
    deployment: str = "fraud",
) -> Alert:
    where = f" in {slice}" if slice else ""
    return Alert(
        id=number,
        monitor="fraud",
        deployment=deployment,
        version=2,
        kind=kind,
        columns=columns,
        slice=slice,
        severity=severity,
        score=score,
        state=AlertState.OPEN,
        summary=f"{', '.join(columns)} moved{where}",
        evidence={columns[0]: {"column": columns[0], "effect": score, "q_value": 0.0004, "n_current": 412}},
        onset=now - timedelta(days=3),
        last_window_end=now,
        opened_at=now,
    )


def _result(
    start: datetime, aspect: Aspect, version: int, effect: float, *, found: bool, served: bool = True
) -> Result:
    return Result(
        monitor="fraud",
        deployment="fraud",
        aspect=aspect,
        version=version,
        served=served,
        window_start=start,
        window_end=start + timedelta(days=1),
        n_reference=20_000,
        n_current=412,
        verdict=Verdict.FOUND if found else Verdict.QUIET,
        scores=[
            {
                "column": "amount",
                "kind": "numeric",
                "measure": "wasserstein_normed",
                "effect": effect,
                "q_value": 0.0004 if found else 0.7,
                "missing_current": 0.0,
                "unseen": 0.0,
                "slice": None,
                "preset": {"method": "wasserstein", "score": effect, "drifted": found},
                "severity": effect * 0.62,
                "missing_severity": 0.0,
                "verdict": "drifted" if found else "quiet",
                "missing_verdict": "quiet",
            }
        ],
        evaluated_at=start + timedelta(days=1),
    )
