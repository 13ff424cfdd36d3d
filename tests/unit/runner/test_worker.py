"""What a job process writes after hours of work is not given up because somebody else writes for a while."""

from __future__ import annotations

import pytest

from quarterdeck.database import Database
from quarterdeck.pipelines.execution import execute
from quarterdeck.pipelines.run import RunState, find_run
from quarterdeck.pipelines.submission import submit
from quarterdeck.workspace import Workspace

PIPELINE = """\
import threading
import time
from pathlib import Path

from quarterdeck.locking import WriteLock
from quarterdeck.pipelines import log_metric, pipeline, step

LOCK = WriteLock(Path(__file__).parent.parent / ".quarterdeck" / "state.lock")


@step
def work(*, metric: bool = False):
    held = threading.Event()

    def hold():
        with LOCK.held("somebody else"):
            held.set()
            time.sleep(2)  # Longer than what lies between the step and the write of its end.

    threading.Thread(target=hold).start()
    held.wait(10)
    if metric:
        log_metric("loss", 0.5)


long = pipeline("long", [work])
"""


@pytest.mark.parametrize("metric", [False, True])
def test_a_run_waits_for_a_lock_that_is_held_when_its_work_is_done(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, metric: bool
) -> None:
    (workspace.root / "pipelines").mkdir()
    (workspace.root / "pipelines" / "long.py").write_text(PIPELINE)
    run_id = submit(workspace, "long", {"work.metric": metric})
    monkeypatch.setattr(Database.write.__wrapped__, "__defaults__", (0.05,))  # type: ignore[attr-defined]
    execute(workspace, run_id, fence=lambda tx: None)
    with workspace.state.read() as tx:
        run = find_run(tx, run_id)
    assert (run.state, run.error) == (RunState.SUCCEEDED, None)
