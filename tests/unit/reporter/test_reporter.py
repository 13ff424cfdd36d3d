"""The sender of a service elsewhere: nothing is lost while there is room, and nothing comes back to the service."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quarterdeck_reporter
from quarterdeck_reporter import Reporter
from tests.unit.reporter.receiving import Gateway, receiving
from tests.waiting import wait_for

PACKAGE = Path(quarterdeck_reporter.__file__).parent


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with receiving() as gateway:
        yield gateway


def reporter(gateway: Gateway, **settings: Any) -> Reporter:
    return Reporter(gateway.url, "pricing", **{"every": 0.01, **settings})


def test_a_prediction_arrives_with_all_that_was_said_of_it(gateway: Gateway) -> None:
    sender = reporter(gateway, version=lambda: 3, token="secret")
    inputs = {"rooms": np.int64(3), "area": np.float64(71.5), "age": float("nan")}
    identifier = sender.report(inputs, np.float32(412.5), key="flat-7", probabilities=np.array([0.25, 0.75]))
    inputs["rooms"] = np.int64(9)  # what the service does with it afterwards is its own affair
    wait_for(lambda: gateway.rows, what="the report")
    (row,) = gateway.rows
    assert row.pop("event_time").endswith("+00:00")
    assert row == {
        "id": identifier,
        "inputs": {"rooms": 3, "area": 71.5, "age": None},
        "prediction": 412.5,
        "version": 3,
        "key": "flat-7",
        "probabilities": [0.25, 0.75],
    }
    assert gateway.headers[0]["authorization"] == "Bearer secret"
    assert sender.flush(5)
    assert sender.counts == {"sent": 1, "dropped": 0, "refused": 0, "unread": 0, "waiting": 0}


def test_many_predictions_go_in_few_batches(gateway: Gateway) -> None:
    sender = reporter(gateway, batch=100, every=0.2)
    for number in range(1_000):
        sender.report([number], number)
    assert sender.flush(20)
    assert [row["inputs"] for row in gateway.rows] == [[number] for number in range(1_000)]
    assert len(gateway.batches) <= 12


def test_rows_that_do_not_fit_are_found_and_counted_and_the_others_taken(gateway: Gateway) -> None:
    gateway.bad = {"r3", "r17"}
    sender = reporter(gateway, every=0.2)
    for number in range(40):
        sender.report([number], 1, id=f"r{number}")
    assert sender.flush(20)
    assert len(gateway.rows) == 38
    assert (sender.counts["sent"], sender.counts["refused"]) == (38, 2)
    assert "status 400" in (sender.last_error or "") or sender.last_error is None


def test_a_gateway_that_refuses_everything_is_not_asked_without_end(gateway: Gateway) -> None:
    gateway.status = 400
    sender = reporter(gateway, every=0.2)
    for number in range(500):
        sender.report([number], 1)
    assert sender.flush(20)
    assert sender.counts["refused"] == 500
    assert len(gateway.batches) < 60


@pytest.mark.parametrize("status", [404, 409, 503, 500])
def test_what_a_later_try_may_change_is_tried_again(gateway: Gateway, status: int) -> None:
    gateway.status = status
    sender = reporter(gateway)
    sender.report([1], 1)
    wait_for(lambda: sender.last_error, what="the first try")
    gateway.status = 200
    assert sender.flush(20)
    assert len(gateway.rows) == 1
    assert sender.last_error is None


def test_what_there_is_no_room_for_is_dropped_and_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        sender = Reporter(f"http://127.0.0.1:{silent.getsockname()[1]}", "pricing", capacity=10, batch=1, timeout=60)
        told = [sender.report([number], 1) for number in range(100)]
        assert sender.counts["dropped"] >= 89
        assert told.count(None) == sender.counts["dropped"]
        assert not sender.flush(0.05)


def test_what_cannot_be_reported_is_counted_and_raises_nothing(gateway: Gateway) -> None:
    def broken() -> int:
        raise RuntimeError("no model is loaded")

    sender = reporter(gateway)
    assert sender.report(None, 1) is None
    sender.report({"a": object()}, 1)
    assert reporter(gateway, version=broken).report([1], 1) is None
    assert sender.report([2], 1) is not None
    assert sender.flush(20)
    assert (sender.counts["unread"], sender.counts["sent"]) == (2, 1)


@pytest.mark.parametrize("url", ["", "nonsense", "http://127.0.0.1:99999", "http://[::1", "ftp://127.0.0.1"])
def test_a_url_that_is_none_fails_nobody(url: str) -> None:
    sender = Reporter(url, "pricing", every=0.01)
    assert sender.report([1], 1) is not None
    wait_for(lambda: sender.last_error, what="the problem")
    assert sender.counts["waiting"] == 1


PREFORK = """
import os, sys
from quarterdeck_reporter import Reporter
sender = Reporter(sys.argv[1], "pricing", every=0.01, version=1)
sender.report(["parent"], 0, id="parent")
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        for row in range(50):
            sender.report([number], row, id=f"{number}-{row}")
        sys.exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


def run(code: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program that has the package beside it, and nothing but the standard library."""
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "service.py").write_text(code)
    return subprocess.run(
        [sys.executable, "-S", "-E", str(folder / "service.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )


def test_forked_workers_report_their_own_and_the_end_of_each_sends_what_waits(gateway: Gateway, tmp_path: Path) -> None:
    run(PREFORK, gateway.url, folder=tmp_path)
    ids = sorted(row["id"] for row in gateway.rows)
    assert ids == sorted(["parent", *(f"{number}-{row}" for number in range(3) for row in range(50))])


def test_the_end_of_the_service_does_not_wait_for_a_gateway_that_does_not_answer(tmp_path: Path) -> None:
    code = """
import sys
from quarterdeck_reporter import Reporter
Reporter(sys.argv[1], "pricing", flush_seconds=0.2, timeout=3600).report([1], 1)
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = run(code, f"http://127.0.0.1:{silent.getsockname()[1]}", folder=tmp_path)
    assert done.returncode == 0


def test_it_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    code = """
import sys, quarterdeck_reporter
print(sorted(name for name, module in sys.modules.items() if "site-packages" in str(module)))
"""
    assert run(code, folder=tmp_path).stdout.strip() == "[]"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_it_is_written_in_python_3_8(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    annotated = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
        for node in tree.body
    )
    assert annotated or path.name == "__init__.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert not any(keyword.arg == "strict" for keyword in node.keywords)
