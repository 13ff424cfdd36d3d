"""A hundred monitors on one core: from the tick to the last judged window, by a real runner and its job processes."""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlmodel import col, func, select

from bench.engine import make_workspace, running_runner
from bench.processes import family, wait_for
from bench.rows import Budget, Row
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.rollout import deploy
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.holdout import Holdout, store_holdout
from quarterdeck.registry.inspection import infer_signature
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.version import Format, Task
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace

MONITORS, REFERENCE_ROWS, WINDOW_ROWS = 100, 2_000, 1_000
NUMBERS, NAMES = 14, 6
"""Columns: twenty in all."""
LONGEST_SECONDS = 400.0
PER_MINUTE = 100.0
START = datetime(2026, 1, 5, tzinfo=UTC)
SETTINGS = """\
[workspace]
name = "bench"
"""
MONITOR = """\
[monitors.m{number:03}]
deployment = "d{number:03}"
window = "1d"
origin = "2026-01-05T00:00:00Z"
every = "10s"
metric = "roc_auc"
slices = ["c0"]
"""


def measure() -> list[Row]:
    """Each monitor has a deployment of its own, a window of labelled traffic, and all that it can be judged by."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as name:
        settings = SETTINGS + "".join(MONITOR.format(number=number) for number in range(MONITORS))
        workspace = make_workspace(Path(name) / "ours", settings)
        try:
            for number in range(MONITORS):
                _serve(workspace, f"d{number:03}", number)
            core = min(os.sched_getaffinity(0))
            with running_runner(workspace, at_rest=False) as runner:
                for pid in family(runner.pid):
                    for thread in Path(f"/proc/{pid}/task").iterdir():
                        os.sched_setaffinity(int(thread.name), {core})
                wait_for(lambda: _judged(workspace) >= MONITORS, LONGEST_SECONDS, "every window to be judged")
            return _report(workspace)
        finally:
            workspace.close()


def _serve(workspace: Workspace, name: str, seed: int) -> None:
    """A version with its reference and holdout, and one window of its answers, labelled."""
    rng = np.random.default_rng(seed)
    frame, scores, truth = _drawn(rng, REFERENCE_ROWS)
    buffer = frame.assign(y=truth)
    answers = Predictions((scores > 0.5).astype(np.int64), np.column_stack([1 - scores, scores]))
    candidate = Candidate(
        model=name,
        format=Format.EXTERNAL,
        task=Task.CLASSIFICATION,
        artifact=None,
        signature=infer_signature(buffer, target="y"),
        example=[],
        reference=workspace.artifacts.put(buffer.to_parquet(index=False)),
        profile=[],
        metrics={"roc_auc": 0.85},
        importances={},
        environment={},
        holdout=store_holdout(workspace, Holdout(frame, truth.astype(np.float64), answers)),
    )
    with workspace.state.write("bench") as tx:
        version = register(tx, workspace, candidate).number
    deploy(workspace, name, model=name, version=version, served_by=ServedBy.EXTERNAL)
    frame, scores, truth = _drawn(rng, WINDOW_ROWS)
    # One row behind the window's end closes it.
    times = [START + timedelta(days=1) * i / WINDOW_ROWS for i in range(WINDOW_ROWS)] + [START + timedelta(days=2)]
    rows = [*frame.itertuples(index=False), frame.iloc[0]]
    chances = [*scores.tolist(), 0.5]
    record(workspace, [_prediction(workspace, name, version, i, times, rows, chances) for i in range(len(times))])
    labels = [{"reference": f"{name}-{i}", "value": int(truth[i])} for i in range(WINDOW_ROWS)]
    add_labels(workspace, name, labels)


def _prediction(
    workspace: Workspace, name: str, version: int, i: int, times: list[datetime], rows: list[Any], chances: list[float]
) -> dict[str, Any]:
    return {
        "deployment": name,
        "id": f"{name}-{i}",
        "received_at": workspace.now(),
        "event_time": times[i],
        "version": version,
        "inputs": [value.item() if hasattr(value, "item") else value for value in rows[i]],
        "prediction": int(chances[i] > 0.5),
        "probabilities": [1 - chances[i], chances[i]],
    }


def _drawn(rng: np.random.Generator, rows: int) -> tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.int64]]:
    """Inputs, what a model makes of them, and what turned out true."""
    columns: dict[str, Any] = {f"n{i}": rng.lognormal(3, 1, rows).round(2) for i in range(NUMBERS)}
    columns |= {f"c{i}": rng.choice([f"level {j}" for j in range(4 + i)], rows) for i in range(NAMES)}
    scores = rng.beta(1, 3, rows)
    return pd.DataFrame(columns), scores, (rng.random(rows) < scores).astype(np.int64)


def _judged(workspace: Workspace) -> int:
    with workspace.state.read() as tx:
        return tx.exec(select(func.count()).select_from(Result).where(Result.aspect == Aspect.QUALITY)).one()


def _report(workspace: Workspace) -> list[Row]:
    with workspace.state.read() as tx:
        judged = {row.monitor: row.evaluated_at for row in tx.exec(select(Result)) if row.aspect == Aspect.QUALITY}
        aspects = len(tx.exec(select(Result.aspect).distinct()).all())
        done = select(Job).where(Job.kind == JobKind.MONITOR, Job.state == JobState.SUCCEEDED)
        first = tx.exec(done.order_by(col(Job.started_at)).limit(1)).one().started_at
    assert first is not None
    seconds = (max(judged.values()) - first).total_seconds()
    case = f"{MONITORS} monitors on one core, {WINDOW_ROWS:,} labelled rows of {NUMBERS + NAMES} columns each"
    note = f"{seconds:.1f} s from the first job to the last window; {aspects} judgements of each window"
    return [Row("monitors", case, 60 * MONITORS / seconds, "a minute", Budget("at least", PER_MINUTE), note=note)]
