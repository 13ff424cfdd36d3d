"""Real runners on a real workspace, and pipelines that tests can watch. Every process started here is ended here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlmodel import col, select

from quarterdeck import bootstrap
from quarterdeck.pipelines.run import Run, find_run
from quarterdeck.processes import kill_group
from quarterdeck.runner.job import Job
from quarterdeck.workspace import Workspace
from tests.waiting import wait_for

START_SECONDS = 100.0
"""A cold start imports pandas and scikit-learn on a machine that may be busy."""

SETTINGS = """\
[workspace]
name = "test"
[gateway]
port = 0
[runner]
concurrency = {concurrency}
lease = "{lease}"
heartbeat = "1s"
"""

PIPELINES = '''\
"""Pipelines for tests: what happens in them can be seen from outside, in files."""

import os
import subprocess
import sys
import time
from pathlib import Path

from quarterdeck.pipelines import pipeline, step

HERE = Path(__file__).parent.parent


def note(name):
    with (HERE / name).open("a") as file:
        file.write(f"{os.getpid()} {time.time():.6f}\\n")


@step
def touch():
    note("touched")
    print("user code runs")
    return 1


@step
def hold(*, seconds: float = 60.0, name: str = "held"):
    """Waits until the file NAME.go is there; starts a child that does the same."""
    note(name)
    print(f"holding {name}", flush=True)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (HERE / f"{name}.child").write_text(str(child.pid))
    print("the last line before the wait")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (HERE / f"{name}.go").exists():
        time.sleep(0.02)
    note(f"{name}.done")
    return 1


@step
def fail():
    raise ValueError("this is the step's own mistake")


@step
def pool():
    """A joblib pool keeps its workers for minutes after its last task."""
    from joblib import Parallel, delayed

    return sum(Parallel(n_jobs=2)(delayed(abs)(-n) for n in range(4)))


quick = pipeline("quick", [touch])
slow = pipeline("slow", [hold])
failing = pipeline("failing", [fail])
pooled = pipeline("pooled", [pool])
'''


def make_workspace(folder: Path, *, concurrency: int = 2, lease: str = "30s", settings: str = "") -> Workspace:
    """A workspace with the pipelines above."""
    folder.mkdir(parents=True)
    text = SETTINGS.format(concurrency=concurrency, lease=lease) + settings
    (folder / "quarterdeck.toml").write_text(text)
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "watched.py").write_text(PIPELINES)
    return bootstrap.create_workspace(folder, actor="tester")


class Process:
    """`python -m quarterdeck ...` as a child of the test."""

    def __init__(self, workspace: Workspace, *arguments: str) -> None:
        self.output = workspace.root / f"{arguments[0]}-{os.urandom(3).hex()}.err"
        with self.output.open("wb") as output:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "quarterdeck", *arguments, "--workspace", str(workspace.root)],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_until_ready(self) -> Process:
        wait_for(lambda: "ready" in self.said or self.popen.poll() is not None, seconds=START_SECONDS, what="ready")
        assert self.popen.poll() is None, self.said
        return self

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self, seconds: float = 15.0) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(seconds)


@contextmanager
def running(workspace: Workspace, *arguments: str) -> Iterator[Process]:
    """A process for the time of the block, whatever happens in it; job groups that it leaves behind end too."""
    process = Process(workspace, *arguments)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.kill()
        for job in jobs(workspace):
            if job.process_group and job.process_started is not None and job.boot_id:
                kill_group(job.process_group, job.process_started, job.boot_id)


def jobs(workspace: Workspace) -> list[Job]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Job).order_by(col(Job.id))))


def run_of(workspace: Workspace, run_id: int) -> Run:
    with workspace.state.read() as tx:
        return find_run(tx, run_id)


def notes(workspace: Workspace, name: str) -> list[int]:
    """The process ids that noted `name`."""
    file = workspace.root / name
    return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []


def is_gone(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return text.rpartition(")")[2].split()[0] in "ZX"
