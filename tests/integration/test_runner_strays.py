"""What a job starts ends with it, also what has left its process group, its session and its environment."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from quarterdeck.pipelines import submission
from quarterdeck.pipelines.run import RunState
from quarterdeck.runner import control
from quarterdeck.workspace import Workspace
from tests.integration.runner_harness import Process, is_gone, jobs, make_workspace, run_of, running
from tests.waiting import wait_for

STRAYING = '''\
"""Steps that start what does not want to end."""

import os
import subprocess
import time
from pathlib import Path

from quarterdeck.pipelines import pipeline, step

HERE = Path(__file__).parent.parent
SLEEP = ["sleep", "3600"]


def ready(name, pid):
    """Say so by a file that is whole as soon as it is there."""
    (HERE / f"{name}.new").write_text(str(pid))
    (HERE / f"{name}.new").rename(HERE / f"{name}.ready")


def stray(folder):
    """Four ways out of the group; each writes its number down."""
    note = f'echo $$ > "{folder}/$0"; exec sleep 3600'
    subprocess.Popen(["sh", "-c", note, "session"], start_new_session=True)
    subprocess.Popen(["sh", "-c", note, "bare"], start_new_session=True, env={})
    subprocess.Popen(["bash", "-c", f"set -m; sh -c '{note}' group & disown"])
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sh", ["sh", "-c", note, "daemon"])
        os._exit(0)
    while len(list(folder.iterdir())) < 4 or not all(file.read_text() for file in folder.iterdir()):
        time.sleep(0.01)


@step
def leave(*, name: str = "", hold: bool = False):
    folder = HERE / name
    folder.mkdir()
    stray(folder)
    ready(name, os.getpid())
    while hold:
        time.sleep(0.05)
    return 1


@step
def hoard(*, name: str = ""):
    code = "block = bytearray(__import__('os').urandom(1 << 20) * 500); __import__('time').sleep(600)"
    child = subprocess.Popen(["python3", "-c", code], start_new_session=True)
    ready(name, child.pid)
    child.wait()
    return 1


leaving = pipeline("leaving", [leave])
hoarding = pipeline("hoarding", [hoard])
'''


@pytest.fixture
def straying(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path / "workspace", settings='[pipelines.hoarding]\nmemory = "250MB"\n')
    (workspace.root / "pipelines" / "straying.py").write_text(STRAYING)
    return workspace


def submit(workspace: Workspace, name: str, *, hold: bool) -> int:
    return submission.submit(workspace, "leaving", {"leave.name": name, "leave.hold": hold})


def strays(workspace: Workspace, name: str) -> list[int]:
    wait_for(lambda: (workspace.root / f"{name}.ready").exists(), seconds=60, what="the strays")
    pids = [int(file.read_text()) for file in (workspace.root / name).iterdir()]
    assert len(pids) == 4
    return pids


def leader(workspace: Workspace, name: str) -> int:
    return int((workspace.root / f"{name}.ready").read_text())


def all_gone(pids: list[int]) -> bool:
    return all(is_gone(pid) for pid in pids)


def ended(workspace: Workspace, run_id: int) -> RunState:
    wait_for(lambda: run_of(workspace, run_id).finished_at, seconds=60, what=f"the end of run {run_id}")
    return run_of(workspace, run_id).state


def test_strays_end_with_their_job_however_it_ends(straying: Workspace) -> None:
    with running(straying, "runner") as runner:
        runner.wait_until_ready()
        run_id = submit(straying, "by itself", hold=False)
        pids = strays(straying, "by itself")
        assert ended(straying, run_id) is RunState.SUCCEEDED
        wait_for(lambda: all_gone(pids), what="the end of what it left")

        run_id = submit(straying, "cancelled", hold=True)
        pids = strays(straying, "cancelled")
        control.cancel(straying, jobs(straying)[-1].id or 0)
        assert ended(straying, run_id) is RunState.CANCELLED
        wait_for(lambda: all_gone(pids), what="the end of what it left")

        run_id = submit(straying, "killed", hold=True)
        pids = strays(straying, "killed")
        os.kill(leader(straying, "killed"), signal.SIGKILL)
        wait_for(lambda: all_gone(pids), what="the end of what it left")
        control.cancel(straying, jobs(straying)[-1].id or 0)

        run_id = submission.submit(straying, "hoarding", {"hoard.name": "hoard"})
        assert ended(straying, run_id) is RunState.FAILED
        assert "its limit is 250 MB" in (run_of(straying, run_id).error or "")
        wait_for(lambda: is_gone(leader(straying, "hoard")), what="the end of what took the memory")


def test_strays_of_a_runner_that_was_killed_end_before_the_next_one_works(straying: Workspace) -> None:
    with running(straying, "runner") as first:
        first.wait_until_ready()
        submit(straying, "orphaned", hold=True)
        pids = strays(straying, "orphaned")
        (bare,) = [int(file.read_text()) for file in (straying.root / "orphaned").iterdir() if file.name == "bare"]
        os.kill(leader(straying, "orphaned"), signal.SIGSTOP)
        _kill_all(first)
        os.kill(leader(straying, "orphaned"), signal.SIGKILL)
        assert not any(is_gone(pid) for pid in pids)
        try:
            with running(straying, "runner"):
                wait_for(lambda: all_gone([pid for pid in pids if pid != bare]), seconds=60, what="the end of strays")
        finally:
            # Without its environment, its parents and its group nobody can tell whose it was.
            os.kill(bare, signal.SIGKILL)


def _kill_all(runner: Process) -> None:
    """The runner and its fork server, as the kernel would when memory is out."""
    children = Path(f"/proc/{runner.popen.pid}/task/{runner.popen.pid}/children").read_text().split()
    runner.popen.kill()
    runner.popen.wait()
    for child in children:
        try:
            os.kill(int(child), signal.SIGKILL)
        except ProcessLookupError:
            continue
