"""A deployment with a reference and recorded traffic, for tests of what judges it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sqlmodel import select

from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.rollout import deploy
from quarterdeck.events import Event
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.registry.holdout import Holdout, store_holdout
from quarterdeck.registry.inspection import infer_signature
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.version import Format, Task
from quarterdeck.runner.job import Job
from quarterdeck.runner.telling import form_messages, note_alert
from quarterdeck.settings import Settings
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.settings.notifications import NotificationSettings
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.prediction import CHAMPION
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
CHANNELS = ("app", "web", "shop")


def rows(n: int, *, seed: int, shift: float = 0.0, only: str | None = None) -> pd.DataFrame:
    """`amount` (normal, sigma 10), `age` (uniform), `channel` of three; the shift adds to `amount`, perhaps in one."""
    rng = np.random.default_rng(seed)
    channel = rng.choice(CHANNELS, n)
    amount = rng.normal(100, 10, n)
    amount[(channel == only) if only else np.ones(n, dtype=bool)] += shift
    return pd.DataFrame({"amount": amount, "age": rng.uniform(18, 80, n), "channel": channel})


def watch(workspace: Workspace, **settings: Any) -> Workspace:
    """The workspace with a monitor `m` on deployment `d`: windows of an hour, no grace."""
    defaults: dict[str, Any] = {
        "deployment": "d",
        "window": HOUR,
        "origin": START,
        "grace": timedelta(seconds=1),
        "metric": "roc_auc",
    }
    monitor = MonitorSettings(**{**defaults, **settings})
    changed = workspace.settings.model_copy(update={"monitors": {"m": monitor}})
    assert isinstance(changed, Settings)
    return replace(workspace, settings=changed)


def serve(
    workspace: Workspace,
    reference: pd.DataFrame,
    *,
    importances: Mapping[str, float] | None = None,
    metrics: Mapping[str, float] | None = None,
    holdout: Holdout | None = None,
) -> int:
    """Register a version of model `d` with that reference and deploy it as `d`; returns its number."""
    buffer = reference.assign(fraud=[0, 1] * (len(reference) // 2))
    signature = infer_signature(buffer, target="fraud")
    candidate = Candidate(
        model="d",
        format=Format.EXTERNAL,
        task=Task.CLASSIFICATION,
        artifact=None,
        signature=signature,
        example=[],
        reference=workspace.artifacts.put(buffer.to_parquet(index=False)),
        profile=[],
        metrics=dict(metrics or {}),
        importances=dict(importances or {}),
        environment={},
        holdout=None if holdout is None else store_holdout(workspace, holdout),
    )
    with workspace.state.write("test") as tx:
        number = register(tx, workspace, candidate).number
    deploy(workspace, "d", model="d", version=number, served_by=ServedBy.EXTERNAL)
    return number


def send(
    workspace: Workspace,
    frame: pd.DataFrame,
    window: int,
    *,
    version: int = 1,
    scores: Any = None,
    variant: str = CHAMPION,
    keyed: bool = False,
) -> list[str]:
    """Record the rows of `frame` as predictions in the hour number `window`; returns their ids.

    `keyed`: the index of the frame has their keys.
    """
    step = HOUR / (len(frame) + 1)
    ids = [f"{window}-{version}-{i}" for i in range(len(frame))]
    chances = [0.5] * len(frame) if scores is None else list(scores)
    values = [list(row) for row in frame.itertuples(index=False)]
    record(
        workspace,
        [
            {
                "deployment": "d",
                "id": ids[i],
                "key": str(frame.index[i]) if keyed else None,
                "received_at": workspace.now(),
                "event_time": START + window * HOUR + (i + 1) * step,
                "version": version,
                "variant": variant,
                "inputs": values[i],
                "prediction": int(chances[i] > 0.5),
                "probabilities": [1 - chances[i], chances[i]],
            }
            for i in range(len(frame))
        ],
    )
    return ids


def told(workspace: Workspace, *webhooks: str | dict[str, Any]) -> tuple[Workspace, list[str]]:
    """The workspace with those webhooks, and their keys."""
    notifications = NotificationSettings.model_validate({"webhooks": list(webhooks)})
    changed = workspace.settings.model_copy(update={"notifications": notifications})
    return replace(workspace, settings=changed), [one.key for one in notifications.webhooks]


def queued(workspace: Workspace, alert: int) -> str:
    """The key of the message by which the one webhook is told of an alert."""
    subject = f"alert/{alert}"
    with workspace.state.write("test") as tx:
        opened = tx.exec(select(Event).where(Event.kind == "alert.opened", Event.subject == subject)).one()
        note_alert(tx, workspace, opened)
    assert form_messages(workspace) == 1
    with workspace.state.read() as tx:
        return tx.exec(select(Job.key).where(Job.subject == subject)).one()


def close(workspace: Workspace, window: int) -> None:
    """One row in the hour after `window`, late enough for it to be judged."""
    send(workspace, rows(1, seed=0), window + 1, version=1)


def label(workspace: Workspace, ids: list[str], truth: list[int]) -> None:
    add_labels(workspace, "d", [{"reference": i, "value": t} for i, t in zip(ids, truth, strict=True)])


def judged_rows(workspace: Workspace) -> list[Result]:
    """What `evaluate` says of columns and answers; whether enough came, and what columns show together, aside."""
    return [
        result for result in evaluate(workspace, "m").results if result.aspect not in (Aspect.TRAFFIC, Aspect.ACROSS)
    ]
