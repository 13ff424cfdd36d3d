"""A child that cannot be started, or that dies again and again, is told of and tried again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quarterdeck.runner.children import Child
from tests.waiting import wait_for


def test_a_child_that_cannot_be_started_is_told_of_and_tried_again_later(tmp_path: Path) -> None:
    child = Child("gateway-0", [sys.executable, "-c", ""], tmp_path / "logs" / "gateway-0.log")
    message = child.look()
    assert message is not None
    assert "gateway-0 could not be started" in message
    assert "No such file or directory" in message
    assert "again in 0.1 s" in message
    assert child.look() is None  # Not at once.
    assert "again in 0.2 s" in wait_for(child.look)  # type: ignore[operator]
    child.log.parent.mkdir()
    ended = wait_for(child.look, seconds=30)
    assert ended is not None
    assert "ended (exit status 0); starting it again in 0.4 s" in ended


def test_one_that_dies_a_thousand_times_is_not_told_of_a_thousand_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.runner.children.LONGEST_DELAY_SECONDS", 0.02)
    script = "import os, sys; print('broken', os.getpid()); sys.exit(3)"
    child = Child("runner", [sys.executable, "-S", "-E", "-c", script], tmp_path / "runner.log", delay=0.005)
    told: list[str] = []

    def dies_again() -> bool:
        message = child.look()
        told.extend([] if message is None else [message])
        return child.row().restarts >= 19 and child.process is None

    wait_for(dies_again, seconds=60)
    # Once with its last lines, once more while the delay grows, and at the tenth time.
    assert [message.count("broken") for message in told] == [1, 0, 0], told
    assert "runner ended (exit status 3); starting it again in 0.005 s" in told[0]
    assert "10 times in a row" in told[-1]
    assert child.row().last_end == "ended (exit status 3)"
