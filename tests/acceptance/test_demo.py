"""`quarterdeck demo` as a person or a script starts it: the whole story, every way out, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from quarterdeck import events
from quarterdeck.bootstrap import open_workspace
from quarterdeck.monitoring.queries import alerts
from quarterdeck.monitoring.suspects import suspects
from quarterdeck.registry.queries import models
from quarterdeck.runner.queries import jobs
from quarterdeck.workspace import Workspace
from tests.deck import ENVIRONMENT, MARK, QUARTERDECK, marked_processes
from tests.terminal import Terminal
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(400)
PATIENCE = 120.0
OPEN_SECONDS = 5.0
PRESS = "Version 1 is being trained. 8 shows its job"


@contextmanager
def ending() -> Iterator[dict[str, str]]:
    """The environment for a demo; what has it and is left after the block is ended, and is a failure."""
    mark = uuid4().hex
    try:
        yield {**ENVIRONMENT, MARK: mark}
        wait_for(lambda: not marked_processes(mark), seconds=30, what="the end of every process of the demo")
    finally:
        for pid in marked_processes(mark):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def opened(folder: Path) -> Iterator[Workspace]:
    workspace = open_workspace(folder, actor="tester")
    try:
        yield workspace
    finally:
        workspace.close()


def test_without_a_terminal_the_whole_story_happens(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with ending() as environment:
        done = subprocess.run(
            [QUARTERDECK, "demo", str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=380,
            env=environment,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    *story, last = done.stdout.splitlines()
    assert len(story) > 10
    figures = json.loads(last)
    assert set(figures) == {"versions", "predictions", "alerts", "rollback", "events", "chain_ok", "seconds"}
    assert figures["versions"] == 2
    assert figures["predictions"] > 5_000
    assert figures["chain_ok"] is True
    assert figures["rollback"]["failed_requests"] == figures["rollback"]["misrouted"] == 0
    assert figures["rollback"]["verified_ms"] > 0
    told = [alert for alert in figures["alerts"] if alert["severity"] == "page"]
    (cents,) = [alert for alert in told if alert["kind"] == "drift"]
    assert "amount" in cents["columns"]
    assert cents["slice"].startswith("channel=")
    contaminated, changed = (alert for alert in told if alert["kind"] == "quality")
    assert (contaminated["columns"], contaminated["slice"]) == (["roc_auc"], "channel=app")
    assert (changed["columns"], changed["slice"]) == (["roc_auc"], "channel=phone")
    with opened(folder) as workspace:
        with workspace.state.read() as tx:
            assert events.verify(tx) >= figures["events"] > 20  # Its processes tell of their end after the figures.
        the_harmless_shift_is_real_and_tells_nobody(workspace)
        each_event_has_its_columns_and_its_suspects(workspace)
    no, yes, unknown = (line.strip() for line in story if "would a rollback help?" in line)
    assert no.endswith(
        "no, because the earlier version sees the same input: amount in channel=app is as foreign to version 1"
    )
    assert "yes, because version 2 predicts worse than on its holdout" in yes
    assert yes.endswith("and what comes in is familiar to version 1")
    # The contaminated version is no way back from a fraud that has changed.
    assert unknown.endswith("unknown, because amount is foreign to version 2, which the alert does not explain")


def each_event_has_its_columns_and_its_suspects(workspace: Workspace) -> None:
    """The campaign and the cents came from upstream; what version 2 learnt from the cents is the deployment's."""
    segment, cents, worse, changed = sorted(alerts(workspace, all=True), key=lambda alert: alert.id)
    assert (segment.columns, cents.columns, worse.columns) == (("segment",), ("amount",), ("roc_auc",))
    assert (changed.columns, changed.version, changed.onset.date().isoformat()) == (("roc_auc",), 1, "2026-04-01")
    (concept,) = suspects(workspace, changed.id)
    assert (concept.kind, concept.what) == ("concept", "the same inputs mean something else in channel=phone")
    assert concept.why == "no column moved, and version 1 had answered well until 2026-04-01 00:00"
    assert [alert.onset.date().isoformat() for alert in (segment, cents, worse)] == [
        "2026-02-12",
        "2026-02-24",
        "2026-03-12",
    ]
    for alert, moved in ((segment, "segment moved by 0.22"), (cents, "amount moved in channel=app by 48 sigma")):
        (only,) = suspects(workspace, alert.id)
        assert (only.kind, only.columns, only.when) == ("inputs", alert.columns, alert.onset)
        assert only.what.startswith(moved)
        assert only.why == "version 1 had served quiet windows before: the change came from upstream"
    revision, data = suspects(workspace, worse.id)
    assert (revision.kind, revision.reference) == ("revision", "revision/fraud@2")
    assert revision.what == "version 2 was deployed, in place of version 1: revision 2, by policy (gate passed)"
    assert (data.kind, data.reference) == ("data", "data/payments@2")
    assert data.what == "version 2 learnt from it, version 1 from payments@1"
    for one in (revision, data):
        assert one.columns == ("amount",)
        assert one.why == "amount is strange to version 2 and familiar to version 1"
        # By the clock both are of today; in event time they were the fourth of March, in the small hours.
        assert one.when.date().isoformat() == "2026-03-04"
        assert one.at is not None
        assert one.at > one.when


def the_harmless_shift_is_real_and_tells_nobody(workspace: Workspace) -> None:
    informational = [alert for alert in alerts(workspace, all=True) if alert.severity == "informational"]
    assert informational
    for alert in informational:
        settings = workspace.settings.monitors[alert.monitor]
        assert alert.kind == "drift"
        assert alert.score < settings.warning
        assert min(row["effect"] for row in alert.evidence.values()) >= settings.threshold >= 0.1
        assert not [job for job in jobs(workspace) if job.subject == f"alert/{alert.id}"]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: signal.Signals(number).name
)
def test_stopped_in_the_middle_it_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "demo"
    with ending() as environment:
        demo = subprocess.Popen(
            [QUARTERDECK, "demo", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                if "training is queued" in line:
                    break
            wait_for(lambda: trains(folder), seconds=PATIENCE, what="the first training")
            demo.send_signal(number)
            _, said = demo.communicate(timeout=60)
        finally:
            demo.kill()
            demo.wait()
        assert demo.returncode == (-number if number is signal.SIGKILL else 128 + number)
        assert "Traceback" not in said


def trains(folder: Path) -> bool:
    with opened(folder) as workspace:
        return any(job.kind == "run" and job.state == "running" for job in jobs(workspace))


def test_on_a_terminal_the_console_opens_while_the_first_training_runs(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    command = [QUARTERDECK, "demo", str(folder)]
    with ending() as environment:
        started = time.monotonic()
        with Terminal(command, size=(110, 30), folder=tmp_path, environment=environment) as console:
            console.until("PIPELINE", seconds=PATIENCE)
            assert time.monotonic() - started < OPEN_SECONDS * crowd()
            console.until(PRESS, seconds=PATIENCE)
            with opened(folder) as workspace:
                assert models(workspace) == []
            console.press("8")
            console.until("run", seconds=PATIENCE)
            console.press("q")
            status, words = console.until_ended(seconds=PATIENCE)
    assert status == 0
    for line in (f"The workspace is left in {folder.name}", "adopt model.skops", "rm -r"):
        assert line in " ".join(words.split())


def test_when_the_terminal_goes_away_no_process_is_left(tmp_path: Path) -> None:
    command = [QUARTERDECK, "demo", str(tmp_path / "demo")]
    with (
        ending() as environment,
        Terminal(command, size=(80, 24), folder=tmp_path, environment=environment) as console,
    ):
        console.until(PRESS, seconds=PATIENCE)
        console.hang_up()


def crowd() -> float:
    """How many share a processor now, at least 1: the five seconds are those of a machine of one's own."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
