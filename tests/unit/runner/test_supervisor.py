"""One child that cannot be started does not stop the others."""

from __future__ import annotations

import sys
from pathlib import Path

from quarterdeck.runner.supervisor import Child
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
