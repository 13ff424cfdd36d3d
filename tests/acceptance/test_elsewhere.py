"""Services of other people, with the middleware in them: watched, told of, rolled back, and never held up by us."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from quarterdeck.deployments.queries import gateway_state
from quarterdeck.traffic.queries import totals
from tests.deck import Deck, new_deck
from tests.environments import environment
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
PATIENCE = 120.0
ROWS = 300
SETTINGS = """\
[workspace]
name = "elsewhere"
[gateway]
port = 0
[deployments.flask]
rollback_command = ["{python}", "-c", "import sys; open('serving.txt', 'w').write(sys.argv[1])", "{{version}}"]
[deployments.asgi]
rollback_command = ["{python}", "-c", "print('told it to serve', '{{version}}')"]
version_probe = ["{python}", "-c", "print(open('probed.txt').read())"]
[monitors.flask]
deployment = "flask"
window = "2s"
grace = "100ms"
every = "1s"
persistence = [1, 1]
"""
FLASK = """
import sys
from pathlib import Path
from flask import Flask, jsonify, request

app = Flask(__name__)


def serving():
    return int(Path(sys.argv[2]).read_text())


@app.post("/predict")
def predict():
    return jsonify(predictions=[int(row["amount"] > 0) for row in request.get_json()["instances"]])


@app.get("/counts")
def counts():
    return jsonify(app.wsgi_app._reporter.counts)


{lines}
if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), threaded=True)
"""
ASGI = """
import json
import sys
import uvicorn
{lines}


async def predict(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    answers = json.dumps([int(row["amount"] > 0) for row in json.loads(body)["instances"]])
    await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]}})
    await send({{"type": "http.response.body", "body": answers.encode()}})


uvicorn.run(AsgiMiddleware(predict, {reporter}), port=int(sys.argv[1]), lifespan="off")
"""


def rows(seed: int, *, shift: float = 0.0, n: int = ROWS) -> pd.DataFrame:
    """The model's input; `shift`, in standard deviations, moves `amount`."""
    random = np.random.default_rng(seed)
    return pd.DataFrame({"amount": random.normal(shift, 1, n), "age": random.normal(40, 9, n)})


def sample(folder: Path) -> str:
    path = folder / "sample.csv"
    frame = rows(2)
    frame.assign(fraud=(frame["amount"] > 0).astype(int)).to_csv(path, index=False)
    return str(path)


@dataclass
class Service:
    """A service of somebody else's, and a client that asks it without end."""

    process: subprocess.Popen[bytes]
    url: str
    shift: float = 0.0
    asked: int = 0
    wrong: list[str] = field(default_factory=list)

    def ask(self, n: int = ROWS) -> httpx.Response:
        body = {"instances": rows(self.asked, shift=self.shift, n=n).to_dict("records")}
        answer = httpx.post(f"{self.url}/predict", json=body, timeout=60, trust_env=False)
        self.asked += 1
        if answer.status_code != 200:
            self.wrong.append(answer.text)
        return answer

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Requests from another thread for the time of the block."""
        over = threading.Event()

        def ask() -> None:
            while not over.wait(0.1):
                self.ask(20)

        thread = threading.Thread(target=ask, name="client")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def serving(python: str, source: str, folder: Path, *arguments: str, server: Sequence[str] = ()) -> Iterator[Service]:
    """The service, ended with the block; `server`: a program that serves it, to be told the address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "service.py").write_text(source)
    with (folder / "service.log").open("wb") as log:
        command = [*server, f"127.0.0.1:{port}", "service:app"] if server else ["service.py", str(port), *arguments]
        process = subprocess.Popen([python, *command], cwd=folder, stdout=log, stderr=log)
    service = Service(process, f"http://127.0.0.1:{port}")
    try:
        wait_for(lambda: answers(service, folder), seconds=PATIENCE, what="the service")
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def answers(service: Service, folder: Path) -> bool:
    assert service.process.poll() is None, (folder / "service.log").read_text()
    try:
        httpx.get(f"{service.url}/", timeout=60, trust_env=False)
    except httpx.TransportError:
        return False
    return True


@pytest.fixture
def deck(tmp_path: Path) -> Iterator[Deck]:
    with new_deck(tmp_path / "deck", SETTINGS.format(python=sys.executable)) as deck:
        deck.start()
        yield deck


def state_of(deck: Deck, name: str) -> str:
    return str(next(row["state"] for row in deck.status()["deployments"] if row["name"] == name))


def becomes(deck: Deck, name: str, state: str) -> None:
    wait_for(lambda: state_of(deck, name) == state, seconds=PATIENCE, what=f"{name}: {state}")


def adopt(deck: Deck, folder: Path, name: str) -> dict[str, Any]:
    """The one command that brings it under watch; the lines that it prints are added to the service as they are."""
    url = "http://127.0.0.1:5000/predict"
    arguments = ("adopt", "--external", url, "--name", name, "--sample", sample(folder), "--target", "fraud")
    lines: dict[str, Any] = deck.json(*arguments)["lines"]
    subprocess.run(shlex.split(lines["install"]), cwd=folder, check=True)
    return lines


def test_a_flask_service_is_watched_told_of_and_rolled_back(deck: Deck, tmp_path: Path) -> None:
    folder, answering = tmp_path, deck.root / "serving.txt"
    answering.write_text("1")
    lines = adopt(deck, folder, "flask")["wsgi"].replace("version=1", "version=serving")
    python = str(environment("flask"))
    with serving(python, FLASK.replace("{lines}", lines), folder, str(answering)) as service:
        service.ask()
        becomes(deck, "flask", "verified")
        service.shift = 3.0

        def alerts() -> list[dict[str, Any]]:
            service.ask()
            found: list[dict[str, Any]] = deck.json("alerts", "--deployment", "flask")
            # Of windows of two seconds a busy machine may find fewer rows in one than is usual.
            return [one for one in found if one["kind"] != "traffic"]

        (alert,) = wait_for(alerts, seconds=PATIENCE, what="the alert")
        assert (alert["columns"], alert["kind"]) == (["amount"], "drift")

        adopt(deck, folder, "flask")
        answering.write_text("2")
        service.ask(20)
        becomes(deck, "flask", "verified")
        with service.asking():
            operation = deck.json("rollback", "flask", "--to", "1", "--reason", f"alert {alert['id']}")
        assert (operation["state"], operation["version"], answering.read_text()) == ("verified", 1, "1")
        seen = [row for row in deck.json("history", "flask") if row["kind"] == "observed"]
        assert {row["version"] for row in seen} == {1, 2}
        (job,) = [job for job in deck.json("jobs")["ended"] if job["kind"] == "rollback"]
        assert job["state"] == "succeeded"
        never_held_up(deck, service)
        assert service.wrong == []


def never_held_up(deck: Deck, service: Service) -> None:
    """A gateway that is stopped, and then killed: the service answers, and what waited arrives."""
    (worker,) = [row.pid for row in gateway_state(deck.workspace).workers if row.alive]
    os.kill(worker, signal.SIGSTOP)
    try:
        for _ in range(20):
            service.ask(5)
        assert counts(service)["waiting"] > 0
    finally:
        os.kill(worker, signal.SIGCONT)
    wait_for(lambda: counts(service)["waiting"] == 0, seconds=PATIENCE, what="the reports that waited")
    os.kill(worker, signal.SIGKILL)
    for _ in range(20):
        service.ask(5)
    lost = {name: counts(service)[name] for name in ("dropped", "refused", "unread")}
    assert lost == {"dropped": 0, "refused": 0, "unread": 0}


def counts(service: Service) -> dict[str, int]:
    found: dict[str, int] = httpx.get(f"{service.url}/counts", timeout=60, trust_env=False).json()
    return found


def test_workers_that_a_server_forks_report_each_for_itself_and_to_the_last_prediction(
    deck: Deck, tmp_path: Path
) -> None:
    lines = adopt(deck, tmp_path, "flask")["wsgi"]
    # Something is reported before the fork: its sender's thread is not in the children.
    early = "app.wsgi_app._reporter.report({'amount': 1.0, 'age': 40.0}, 1, id='before the fork')\n"
    source = FLASK.replace("{lines}", lines + "\n" + early)
    options = ("-m", "gunicorn", "--preload", "--workers", "3", "--log-level", "warning", "--bind")
    with serving(str(environment("flask")), source, tmp_path, server=options) as service:
        wait_for(lambda: len(workers_of(service.process.pid)) == 3, seconds=PATIENCE, what="three workers")
        pids = workers_of(service.process.pid)
        while not all(has_sender(pid) for pid in pids):
            service.ask(5)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    assert service.wrong == []
    expected = 5 * service.asked + 1
    wait_for(lambda: totals(deck.workspace).predictions == expected, seconds=PATIENCE, what=f"{expected} predictions")


def workers_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def has_sender(pid: int) -> bool:
    """Whether a worker, which has one thread of its own, has another one."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1


def test_an_asgi_service_that_nobody_can_look_into_is_unproven_and_said_so(deck: Deck, tmp_path: Path) -> None:
    lines = adopt(deck, tmp_path, "asgi")
    head, _, call = lines["asgi"].partition("\n")
    reporter = call.partition("reporter=")[2].removesuffix(")")
    with serving(sys.executable, ASGI.format(lines=head, reporter=reporter), tmp_path) as service:
        service.ask(20)
        becomes(deck, "asgi", "verified")
        adopt(deck, tmp_path, "asgi")
        assert state_of(deck, "asgi") == "unproven"
        (deck.root / "probed.txt").write_text("2")
        assert deck.json("probe", "asgi")["state"] == "verified"
        deck.json("rollback", "asgi", "--to", "1", "--reason", "worse", "--detach")
        becomes(deck, "asgi", "unproven")
        assert deck.json("probe", "asgi", expect=1)["version"] == 2
        assert "version 2" in deck.run("history", "asgi").stdout or "2 " in deck.run("history", "asgi").stdout
        service.ask(20)
        becomes(deck, "asgi", "verified")
        assert service.wrong == []
