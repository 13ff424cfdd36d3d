"""Webhooks by a real runner, to a receiver that fails in every way; and what people see of one that is dead."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlmodel import col, select

from quarterdeck.doctor import State, examine
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Severity
from quarterdeck.monitoring.alerting import facts
from quarterdeck.monitoring.notice import Notice
from quarterdeck.runner import queue
from quarterdeck.runner.job import Job, JobState
from quarterdeck.runner.telling import form_messages, note_event
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import verbs
from tests.integration.runner_harness import jobs, make_workspace, running
from tests.waiting import wait_for

SECRET = "T0/B1/hush"
TROUBLES = ("500", "429", "hang up", "garbage")


class Receiver(ThreadingHTTPServer):
    """Keeps what comes by its idempotency key, and has its next troubles in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.troubles: list[str] = []
        self.tries: list[tuple[str, list[int]]] = []
        """Of each try the key, and the alerts that it told of."""
        self.taken: list[tuple[str, list[int]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{SECRET}?token={SECRET}"


class _Take(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        alerts = [row["alert"] for row in body.get("alerts", [body]) if "alert" in row]
        told = (self.headers["Idempotency-Key"], alerts)
        self.server.tries.append(told)
        match self.server.troubles.pop(0) if self.server.troubles else "":
            case "hang up":
                self.close_connection = True
            case "garbage":
                self.wfile.write(b"\xff\x00 no HTTP at all\r\n\r\n")
                self.close_connection = True
            case "":
                self.server.taken.append(told)
                self.send_response(200)
                self.end_headers()
            case status:
                self.send_response(int(status))
                self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def deck(folder: Path, receiver: Receiver, *settings: str) -> Workspace:
    lines = ["[[notifications.webhooks]]", f'url = "{receiver.url}"', *settings]
    return make_workspace(folder, settings="\n".join(lines) + "\n")


def open_alerts(workspace: Workspace, *numbers: int) -> None:
    now = workspace.now()
    with workspace.state.write("test") as tx:
        for number in numbers:
            alert = Alert(
                id=number,
                monitor="m",
                deployment="fraud",
                version=1,
                kind=AlertKind.OUTAGE,
                columns=[],
                severity=Severity.WARNING,
                score=1.0,
                state=AlertState.OPEN,
                summary=f"alert {number}",
                evidence={},
                onset=now,
                last_window_end=now,
                opened_at=now,
            )
            tx.add(alert)
            tx.flush()
            workspace.record(tx, "alert.opened", alert.reference, facts(alert))


def run_verb(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], workspace: Workspace, *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["quarterdeck", "--workspace", str(workspace.root), *words])
    code = verbs.run()
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.timeout(300)
def test_every_alert_is_told_in_one_message_whatever_the_receiver_and_the_runner_suffer(
    tmp_path: Path, receiver: Receiver
) -> None:
    workspace = deck(tmp_path / "deck", receiver, 'group_wait = "1s"', 'rate = "4 per 10s"')
    receiver.troubles = list(TROUBLES)
    try:
        with running(workspace, "runner") as process:
            process.wait_until_ready()
            open_alerts(workspace, *range(1, 11))
            wait_for(lambda: len(receiver.tries) >= 2, seconds=60, what="a second try")
            process.kill()
        open_alerts(workspace, *range(11, 21))
        with running(workspace, "runner") as process:
            process.wait_until_ready()
            for number in range(21, 31):
                open_alerts(workspace, number)
            wait_for(lambda: told(receiver) == set(range(1, 31)), seconds=120, what="every alert")
            wait_for(lambda: all(job.state is JobState.SUCCEEDED for job in notifying(workspace)), what="their ends")
    finally:
        workspace.close()
    assert receiver.troubles == []
    by_key: dict[str, list[int]] = {}
    for key, alerts in receiver.tries:
        assert by_key.setdefault(key, alerts) == alerts, "a try tells of the same alerts as the one before"
    numbers = [number for alerts in by_key.values() for number in alerts]
    assert sorted(numbers) == list(range(1, 31)), "no alert is in two messages"
    assert len(by_key) < 10


def told(receiver: Receiver) -> set[int]:
    return {number for _, alerts in receiver.taken for number in alerts}


def notifying(workspace: Workspace) -> list[Job]:
    return [job for job in jobs(workspace) if job.kind == "notify"]


def give_up(workspace: Workspace) -> int:
    """A message that was refused until it died; its job."""
    with workspace.state.write("test") as tx:
        note_event(tx, workspace, workspace.record(tx, "disk.low", "disk", {"level": "no jobs"}))
    assert form_messages(workspace) == 1
    with workspace.state.write("test") as tx:
        job = tx.exec(select(Job).where(Job.state == JobState.QUEUED)).one()
        job.attempt, job.started_at = 8, workspace.now()
        for _ in range(8):
            queue.fail(job, workspace.now(), "Webhook http://127.0.0.1 answered 500.")
        assert job.state is JobState.DEAD
        return job.id or 0


def test_a_dead_webhook_is_seen_everywhere_with_its_host_and_the_next_step_and_without_its_secret(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = deck(tmp_path / "deck", receiver)
    host = f"127.0.0.1:{receiver.server_port}"
    try:
        job = give_up(workspace)
        code, out, err = run_verb(monkeypatch, capsys, workspace, "status")
        assert (code, f"webhook    {host} is dead since" in out) == (0, True)
        assert "0 waiting, 1 given up" in out
        assert "answered 500" in err
        assert f"quarterdeck retry job/{job}" in err
        _, as_data, _ = run_verb(monkeypatch, capsys, workspace, "status", "--json")
        (row,) = json.loads(as_data)["webhooks"]
        assert (row["name"], row["state"], row["given_up"], row["jobs"]) == (host, "dead", 1, [job])
        assert row["since"] is not None
        (finding,) = [finding for finding in examine(workspace.root) if finding.name == "webhooks"]
        assert finding.state is State.PROBLEM
        assert host in finding.found
        code, listed, _ = run_verb(monkeypatch, capsys, workspace, "webhooks")
        assert (code, host in listed) == (0, True)
        assert SECRET not in out + err + as_data + listed + str(finding)

        receiver.troubles = ["503"]
        code, out, err = run_verb(monkeypatch, capsys, workspace, "webhooks", "--test")
        assert (code, f"{host}: Webhook http://{host} answered 503" in out) == (1, True)
        assert SECRET not in out + err
        code, out, _ = run_verb(monkeypatch, capsys, workspace, "webhooks", "--test", "--json")
        found = json.loads(out)
        assert (code, found["answers"][0]["status"], found["webhooks"][0]["state"]) == (0, 200, "healthy")
        (finding,) = [finding for finding in examine(workspace.root) if finding.name == "webhooks"]
        assert finding.state is State.WARNING
        with workspace.state.read() as tx:
            assert tx.exec(select(Notice).where(col(Notice.message).is_(None))).all() == []
    finally:
        workspace.close()


def test_a_webhook_that_cannot_be_tested_here_says_why(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = deck(tmp_path / "deck", receiver, 'secret = "HOOK_SECRET"', 'name = "the channel"')
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    workspace.close()
    code, out, _ = run_verb(monkeypatch, capsys, workspace, "webhooks", "--test")
    assert (code, "the channel: The environment variable HOOK_SECRET" in out) == (1, True)
    assert receiver.tries == []


def test_without_webhooks_the_verb_says_where_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make_workspace(tmp_path / "deck")
    workspace.close()
    code, out, _ = run_verb(monkeypatch, capsys, workspace, "webhooks", "--test")
    assert (code, "[notifications] in quarterdeck.toml" in out) == (0, True)
