"""Room on the disk and signs of life: told once, kept filled, never in the way."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import timedelta

import pytest

from quarterdeck import events
from quarterdeck.disk import Reserve
from quarterdeck.errors import DamagedError
from quarterdeck.monitoring.queries import alerts
from quarterdeck.runner import watchman
from quarterdeck.runner.watchman import BudgetWatch, DiskWatch, SignOfLife
from quarterdeck.settings import Settings
from quarterdeck.settings.host import DiskSettings, RunnerSettings
from quarterdeck.traffic.recording import record_unanswered
from quarterdeck.workspace import Workspace
from tests.fakes import FakeNotifier
from tests.waiting import wait_for

HUGE = 2**60


def with_disk(workspace: Workspace, **disk: int) -> Workspace:
    return dataclasses.replace(workspace, settings=Settings(disk=DiskSettings(**{"reserve": 0, **disk})))


def told(workspace: Workspace) -> list[tuple[str, str]]:
    with workspace.state.read() as tx:
        return [(event.kind, event.data["level"]) for event in reversed(events.newest(tx, 100, "disk"))]


def test_each_level_of_a_filling_disk_is_told_once_by_whichever_runner(workspace: Workspace) -> None:
    ample = with_disk(workspace, stop_recording=0, stop_jobs=0)
    low = with_disk(workspace, stop_recording=HUGE, stop_jobs=0)
    lower = with_disk(workspace, stop_recording=HUGE, stop_jobs=HUGE)
    watch = DiskWatch()
    for now in (ample, low, low, lower):
        watch.look(now)
    DiskWatch().look(lower)
    DiskWatch().look(ample)
    DiskWatch().look(ample)
    assert told(workspace) == [("disk.low", "no recording"), ("disk.low", "no jobs"), ("disk.recovered", "enough")]


def test_the_reserve_is_filled_where_there_is_room_and_follows_its_setting(workspace: Workspace) -> None:
    reserve = Reserve(workspace.folder)
    for size in (1_000_000, 300_000):
        DiskWatch().look(with_disk(workspace, stop_recording=0, stop_jobs=0, reserve=size))
        assert reserve.path.stat().st_size == size
        assert reserve.path.stat().st_blocks * 512 >= size
    reserve.path.unlink()
    DiskWatch().look(with_disk(workspace, stop_recording=0, stop_jobs=0, reserve=HUGE))
    assert not reserve.path.exists()


def test_the_reserve_is_given_up_only_on_a_full_disk(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = Reserve(workspace.folder)
    reserve.fill(100_000, leave=0)
    reserve.release_if_needed()
    assert reserve.path.exists()
    monkeypatch.setattr("quarterdeck.disk.LAST_BYTES", shutil.disk_usage(workspace.folder).free + HUGE)
    with workspace.state.write("rollback") as tx:
        workspace.record(tx, "test.written", "test")
    assert not reserve.path.exists()


def test_a_sign_of_life_is_sent_when_it_is_due_and_trouble_is_told_once(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = RunnerSettings(heartbeat_url="http://watch/box", heartbeat_every=timedelta(milliseconds=1))
    alive = dataclasses.replace(workspace, settings=Settings(runner=runner))
    notifier = workspace.ports.notifier
    assert isinstance(notifier, FakeNotifier)
    sign, said = SignOfLife(), list[str]()

    def send() -> str:
        sign.send_if_due(alive)
        said.append(capsys.readouterr().err)
        return "".join(said)

    notifier.fails = True
    wait_for(lambda: "did not answer" in send(), what="the trouble to be told")
    notifier.fails = False
    wait_for(lambda: send().count("answers again") == 1 and len(notifier.sent) >= 3, what="signs of life")
    assert send().count("did not answer") == 1
    url, payload, _ = notifier.sent[0]
    assert (url, payload["runner"]) == ("http://watch/box", "alive")


def test_without_a_url_nothing_is_sent(workspace: Workspace) -> None:
    SignOfLife().send_if_due(workspace)
    notifier = workspace.ports.notifier
    assert isinstance(notifier, FakeNotifier)
    assert notifier.sent == []


def test_budgets_are_looked_at_once_a_minute_and_trouble_with_them_stops_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Settings.model_validate({"deployments": {"d": {"slo": {"availability": 0.999}}}})
    wanting = dataclasses.replace(workspace, settings=settings)
    seconds = [1000.0]
    monkeypatch.setattr("quarterdeck.runner.watchman.time.monotonic", lambda: seconds[0])
    watch = BudgetWatch()
    watch.look(wanting)
    record_unanswered(wanting, "d", 1, reason="failed", count=50)
    seconds[0] += 59
    watch.look(wanting)
    assert alerts(wanting) == []
    seconds[0] += 1
    watch.look(wanting)
    assert [alert.kind for alert in alerts(wanting)] == ["slo"]

    def broken(workspace: Workspace) -> None:
        raise DamagedError("traffic.db is damaged")

    monkeypatch.setattr(watchman, "watch_budgets", broken)
    seconds[0] += 60
    watch.look(wanting)
    assert "error budgets: traffic.db is damaged" in capsys.readouterr().err
