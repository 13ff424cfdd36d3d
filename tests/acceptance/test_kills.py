"""`kill -9` of every process of a deck while it works: nothing is lost, nothing happens twice, nothing is left over."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from sqlmodel import select

from quarterdeck import events
from quarterdeck.deployments.queries import deployments, gateway_state, operations
from quarterdeck.pipelines.queries import runs
from quarterdeck.pipelines.run import ENDED
from quarterdeck.registry.queries import versions
from quarterdeck.runner.queries import jobs, runner_state
from quarterdeck.serving.recorder import KILLED
from quarterdeck.traffic.prediction import Unrecorded
from tests.deck import QUARTERDECK, Deck, serving_deck
from tests.gateways import infer_body
from tests.steady_load import CONNECTIONS
from tests.terminal import DEAF_SECONDS, ENTER, Terminal
from tests.waiting import wait_for

pytestmark = pytest.mark.timeout(300)
PATIENCE = 120.0
UNRECORDED_SECONDS = 0.2
SLACK_SECONDS = 0.8
"""How late the recorder's thread may come to its turn on a machine that is busy with other tests."""
TRAIN = """\
import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from quarterdeck.pipelines import pipeline, register, step

HERE = Path(__file__).parent.parent


@step
def rows() -> pd.DataFrame:
    amount = np.linspace(0.0, 1.0, 400)
    return pd.DataFrame({"amount": amount, "fraud": (amount > 0.5).astype(int)})


@step
def estimator(rows: pd.DataFrame) -> LogisticRegression:
    with (HERE / "attempts").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    (HERE / "gate").read_text()  # A named pipe: nobody gets on before it is opened for writing.
    return LogisticRegression().fit(rows[["amount"]], rows["fraud"])


train = pipeline(
    "train",
    [rows, estimator],
    registers=register("slow", estimator="estimator", training="rows", holdout="rows", target="fraud"),
)
"""


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deck]:
    with serving_deck(tmp_path_factory.mktemp("kills") / "deck", {"train.py": TRAIN}) as deck:
        yield deck


def test_the_runner_killed_while_it_trains(deck: Deck) -> None:
    os.mkfifo(deck.root / "gate")
    run = deck.json("run", "train", "--detach")
    (first,) = wait_for(lambda: attempts(deck, 1), seconds=PATIENCE, what="the first attempt")
    runner = runner_state(deck.workspace).pid
    assert runner is not None
    os.kill(runner, signal.SIGKILL)

    _, second = wait_for(lambda: attempts(deck, 2), seconds=PATIENCE, what="the second attempt")
    assert is_gone(first)  # It went before the second one began.
    wait_for(lambda: let_through(deck.root / "gate"), seconds=PATIENCE, what="a step that waits")
    wait_for(lambda: runs(deck.workspace)[0].state in ENDED, seconds=PATIENCE, what="the end of the run")
    assert (runs(deck.workspace)[0].state, runs(deck.workspace)[0].error) == ("succeeded", None)

    (version,) = versions(deck.workspace, "slow")
    assert version.run_id == run["id"]
    assert kinds(deck, f"run/{run['id']}").count("run.succeeded") == 1
    assert kinds(deck, "version/slow@1") == ["version.registered"]
    (job,) = [job for job in jobs(deck.workspace) if job.kind == "run"]
    assert (job.state, job.attempt) == ("succeeded", 2)
    assert attempts(deck, 2) == [first, second]
    wait_for(lambda: is_gone(second), what="the end of the job's process")
    assert runner_state(deck.workspace).pid != runner
    deck.run("audit", "verify")


def attempts(deck: Deck, count: int) -> list[int]:
    """The process ids of the attempts at the slow step; empty before there are `count`."""
    with suppress(FileNotFoundError):
        pids = [int(line) for line in (deck.root / "attempts").read_text().split()]
        return pids if len(pids) >= count else []
    return []


def let_through(gate: Path) -> bool:
    """Open the named pipe for writing, if somebody waits there."""
    with suppress(OSError):
        os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK))
        return True
    return False


def kinds(deck: Deck, subject: str) -> list[str]:
    with deck.workspace.state.read() as tx:
        return [event.kind for event in events.after(tx, 0, limit=100_000) if event.subject == subject]


def is_gone(pid: int) -> bool:
    """Whether the process ended; one that nobody has reaped yet did."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


class Answer(NamedTuple):
    """What the load saw of one request."""

    status: int
    at: float


@contextmanager
def steady_load(port: int, path: Path) -> Iterator[None]:
    """Load from another process; the file gets a line for each answer."""
    with path.open("wb") as output:
        client = subprocess.Popen(
            [sys.executable, "-m", "tests.steady_load", str(port)], stdin=subprocess.PIPE, stdout=output
        )
        try:
            yield
            client.communicate(timeout=PATIENCE)
            assert client.returncode == 0
        finally:
            client.kill()
            client.communicate()


def answers(path: Path) -> dict[str, Answer]:
    parts = [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {name: Answer(int(status), float(at)) for name, status, at in parts}


def answered(path: Path, since: float = 0.0) -> list[str]:
    return [name for name, answer in answers(path).items() if answer.status == 200 and answer.at >= since]


def recorded(deck: Deck) -> list[str]:
    connection = sqlite3.connect(f"file:{deck.workspace.traffic.path}?mode=ro", uri=True)
    try:
        return [name for (name,) in connection.execute("SELECT id FROM prediction WHERE id LIKE 'load-%'")]
    finally:
        connection.close()


def unrecorded(deck: Deck, reason: str) -> int:
    """How many predictions the gateway counted as answered and not recorded, for this reason."""
    with deck.workspace.traffic.read() as tx:
        return sum(row.count for row in tx.exec(select(Unrecorded).where(Unrecorded.reason == reason)).all())


def test_the_gateway_killed_under_load(deck: Deck) -> None:
    (worker,) = [row for row in gateway_state(deck.workspace).workers if row.alive]
    address = address_of(deck)
    path = deck.root / "load.txt"
    with steady_load(address[1], path):
        wait_for(lambda: len(answered(path)) >= 100, seconds=PATIENCE, what="a hundred answers")
        killed_at = time.time()
        os.kill(worker.pid, signal.SIGKILL)
        wait_for(lambda: is_gone(worker.pid), what="the end of the worker")
        assert not gateway_state(deck.workspace).alive
        assert ask(address, "while-down") == 200
        wait_for(lambda: len(answered(path, since=time.time() - 1)) >= 20, seconds=PATIENCE, what="answers again")
    (replaced,) = [row for row in gateway_state(deck.workspace).workers if row.alive]
    assert replaced.pid != worker.pid

    seen = answers(path)
    broken = [name for name, answer in seen.items() if answer.status != 200]
    assert len(broken) <= CONNECTIONS  # At most what was in flight; who connected later waited.
    # The client may read what the old worker wrote well after its end, but not after the new one's start.
    uncertain_from, uncertain_to = killed_at - UNRECORDED_SECONDS - SLACK_SECONDS, replaced.started_at.timestamp()
    must_be_there = {
        name for name, answer in seen.items() if answer.status == 200 and not uncertain_from < answer.at < uncertain_to
    }
    wait_for(lambda: must_be_there <= set(recorded(deck)), what="the record of what was answered")
    assert len(recorded(deck)) == len(set(recorded(deck)))
    assert set(recorded(deck)) <= set(seen)
    lost = {name for name, answer in seen.items() if answer.status == 200} - set(recorded(deck))
    # The counter names them, and what was in flight.
    wait_for(lambda: len(lost) <= unrecorded(deck, KILLED) <= len(lost) + CONNECTIONS, what="the count of the lost")


def ask(address: tuple[str, int], name: str) -> int:
    """One request over a connection of its own; the status."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    try:
        connection.request("POST", "/v2/models/fraud/infer", json.dumps(infer_body(id=name)))
        return connection.getresponse().status
    finally:
        connection.close()


def address_of(deck: Deck) -> tuple[str, int]:
    gateway = gateway_state(deck.workspace)
    assert gateway.host is not None
    assert gateway.port is not None
    return gateway.host, gateway.port


def test_the_console_killed_during_a_rollback(deck: Deck) -> None:
    (worker,) = [row for row in gateway_state(deck.workspace).workers if row.alive]
    command = [QUARTERDECK, "-w", str(deck.root)]
    with Terminal(command, size=(100, 30), folder=deck.root, environment=deck.environment) as console:
        console.until("fraud", seconds=PATIENCE)
        console.press("5")
        console.until("deployments")
        console.press("R")
        console.until("Would it help?")
        os.kill(worker.pid, signal.SIGSTOP)  # So that the rollback is still under way when the console dies.
        try:
            console.press(ENTER)
            console.until("Cancel")
            console.listen(DEAF_SECONDS)
            console.press("y")
            wait_for(lambda: operations(deck.workspace, open_only=True), seconds=PATIENCE, what="the operation")
            os.kill(console.pid, signal.SIGKILL)
        finally:
            os.kill(worker.pid, signal.SIGCONT)
    wait_for(lambda: not operations(deck.workspace, open_only=True), seconds=PATIENCE, what="the end of the rollback")
    (rollback,) = [row for row in operations(deck.workspace) if row.kind == "rollback"]
    assert (rollback.state, rollback.version) == ("verified", 1)
    (row,) = deployments(deck.workspace)
    assert (row.version, row.state) == (1, "verified")

    later = [QUARTERDECK, "-w", str(deck.root), "open", "deployment/fraud"]
    with Terminal(later, size=(140, 40), folder=deck.root, environment=deck.environment) as console:
        console.until(lambda words: "fraud" in words and "verified" in words, seconds=PATIENCE)
        console.press(ENTER)
        console.until("rollback")
    deck.run("audit", "verify")


def test_up_killed_leaves_the_deck_running_and_the_next_one_replaces_it(deck: Deck) -> None:
    runner = runner_state(deck.workspace).pid
    (worker,) = [row.pid for row in gateway_state(deck.workspace).workers if row.alive]
    assert runner is not None
    deck.kill()
    assert not is_gone(runner)
    assert ask(address_of(deck), "orphaned") == 200

    deck.start()
    assert is_gone(runner)
    assert is_gone(worker)
    assert ask(address_of(deck), "replaced") == 200
    deck.stop_supervisor()
    wait_for(lambda: not deck.processes(), what="the end of every process")
