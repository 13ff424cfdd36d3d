"""Twenty processes write to one workspace at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quarterdeck import events
from quarterdeck.database import Database
from quarterdeck.errors import BusyError
from quarterdeck.workspace import Workspace
from tests.waiting import wait_for

WRITERS, WRITES = 20, 15
WRITERS_SCRIPT = """
import os, sys, time
from pathlib import Path
from quarterdeck.bootstrap import open_workspace

def write(number):
    workspace = open_workspace(Path(sys.argv[1]), actor=f"writer-{number}")
    for count in range(int(sys.argv[3])):
        # A transaction of about ten milliseconds, as a busy verb has.
        with workspace.state.write("count") as tx:
            workspace.record(tx, "test.counted", "counter", {"number": count})
            time.sleep(0.01)

# Forked before anything is opened: they share the imports and nothing else.
children = []
for number in range(int(sys.argv[2])):
    pid = os.fork()
    if pid == 0:
        try:
            write(number)
            os._exit(0)
        except BaseException as error:
            print(error, file=sys.stderr, flush=True)
            os._exit(1)
    children.append(pid)
print(*[os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children])
"""
HOLDER = """
import sys, time
from pathlib import Path
from quarterdeck.locking import WriteLock
with WriteLock(Path(sys.argv[1])).held("retrain"):
    print("held", flush=True)
    time.sleep(600)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def ended_after(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def test_twenty_writers_lose_nothing_and_none_is_turned_away(workspace: Workspace) -> None:
    with workspace.state.read() as tx:
        before = events.last_id(tx)
    writers = start(WRITERS_SCRIPT, str(workspace.root), str(WRITERS), str(WRITES))
    with ended_after(writers):
        said, errors = writers.communicate(timeout=120)
    assert (said.split(), errors) == (["0"] * WRITERS, "")
    with workspace.state.read() as tx:
        written = [event for event in events.after(tx, before, 10_000) if event.kind == "test.counted"]
        events.verify(tx)
    assert len(written) == WRITERS * WRITES
    for number in range(WRITERS):
        own = [event.data["number"] for event in written if event.actor == f"writer-{number}"]
        assert own == list(range(WRITES))


def test_a_holder_that_is_stopped_is_named_in_the_error_of_the_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Database.write.__wrapped__, "__defaults__", (0.5,))  # type: ignore[attr-defined]
    holder = start(HOLDER, str(workspace.state.lock.path))
    with ended_after(holder):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGSTOP)
        stopped = Path(f"/proc/{holder.pid}/stat")
        wait_for(lambda: stopped.read_text().rpartition(")")[2].split()[0] == "T", what="the holder to stop")
        said = rf"state\.lock is held by process {holder.pid} \(retrain\).*continue or end it"
        with pytest.raises(BusyError, match=said), workspace.state.write("rollback"):
            pass
        os.kill(holder.pid, signal.SIGCONT)
    with workspace.state.write("rollback") as tx:
        workspace.record(tx, "test.counted", "counter")
