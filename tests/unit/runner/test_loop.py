"""The runner's loop goes on through trouble that passes, and its heart beats by both clocks."""

from __future__ import annotations

import dataclasses
import sqlite3
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from quarterdeck.errors import DiskError, FencedError
from quarterdeck.monitoring.queries import alerts
from quarterdeck.processes import here
from quarterdeck.runner import lease, loop
from quarterdeck.runner.job import RunnerLease
from quarterdeck.runner.narration import say
from quarterdeck.settings import Settings
from quarterdeck.traffic.recording import record_unanswered
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock

ME_NOT = "Another runner"


@pytest.fixture(autouse=True)
def _has_the_lease(workspace: Workspace) -> None:
    assert lease.acquire(workspace, here(), workspace.settings.runner.lease)


def holds_until(workspace: Workspace) -> timedelta:
    with workspace.state.read() as tx:
        return tx.get_one(RunnerLease, 1).lease_until - workspace.now()


def advance(workspace: Workspace, by: timedelta) -> None:
    assert isinstance(workspace.ports.clock, FakeClock)
    workspace.ports.clock.moment += by


def work(workspace: Workspace, stop: Any) -> None:
    fork_server = SimpleNamespace(check=lambda: None)
    loop.Runner(workspace, cast(Any, fork_server), stop).work()


@pytest.mark.parametrize(
    "trouble",
    [DiskError("state.db cannot be written"), OSError("no space left"), sqlite3.OperationalError("disk I/O error")],
)
def test_what_runs_goes_on_while_the_disk_is_full(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trouble: Exception
) -> None:
    stop = SimpleNamespace(is_set=False)
    rounds: list[int] = []

    def react(_: Workspace) -> int:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise trouble
        stop.is_set = True
        return 0

    monkeypatch.setattr(loop, "react", react)
    monkeypatch.setattr(loop, "TROUBLE_SECONDS", 0.0)
    work(workspace, stop)
    said = capsys.readouterr().err
    assert str(trouble) in said
    assert "runner: stopped" in said
    assert rounds == [0, 1]


def test_the_runner_watches_error_budgets(workspace: Workspace) -> None:
    settings = Settings.model_validate({"deployments": {"d": {"slo": {"availability": 0.999}}}})
    wanting = dataclasses.replace(workspace, settings=settings)
    record_unanswered(wanting, "d", 1, reason="failed", count=50)

    class Opened:
        """To be stopped once there is an alert, or in time to say that there is none."""

        deadline = time.monotonic() + 20

        @property
        def is_set(self) -> bool:
            return bool(alerts(wanting)) or time.monotonic() > self.deadline

    work(wanting, Opened())
    assert [alert.kind for alert in alerts(wanting)] == ["slo"]


def test_a_runner_whose_lease_another_one_has_ends(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def react(_: Workspace) -> int:
        raise FencedError(ME_NOT)

    monkeypatch.setattr(loop, "react", react)
    with pytest.raises(FencedError, match=ME_NOT):
        work(workspace, SimpleNamespace(is_set=False))


def beat_if_due(workspace: Workspace, heart: lease.Heartbeat) -> None:
    if heart.is_due(workspace):
        heart.beat(workspace)


def test_the_heart_beats_once_in_a_heartbeat_and_at_once_after_the_machine_slept(workspace: Workspace) -> None:
    settings = workspace.settings.runner
    heart = lease.Heartbeat(here())
    beat_if_due(workspace, heart)
    advance(workspace, settings.heartbeat / 2)
    beat_if_due(workspace, heart)
    assert holds_until(workspace) < settings.lease - settings.heartbeat / 3
    # Asleep, the monotonic clock stood still, and the clock on the wall went on.
    advance(workspace, timedelta(hours=1))
    assert holds_until(workspace) < timedelta(0)
    beat_if_due(workspace, heart)
    assert holds_until(workspace) > settings.lease - timedelta(seconds=1)


def test_a_runner_that_slept_while_another_took_over_learns_it_at_its_next_beat(workspace: Workspace) -> None:
    heart = lease.Heartbeat(here())
    beat_if_due(workspace, heart)
    advance(workspace, timedelta(hours=1))
    assert lease.acquire(workspace, dataclasses.replace(here(), started=1.0), timedelta(minutes=1))
    with pytest.raises(FencedError, match=ME_NOT):
        beat_if_due(workspace, heart)


def test_what_cannot_be_said_goes_unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", SimpleNamespace(write=lambda text: full.write(text.encode()), flush=full.flush))
        say("runner", "the disk is full")
