"""What breaks things: kills, stops, a held lock, a full disk, a clock that is set. Everything by one seed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil

from quarterdeck.runner.job import JobState
from quarterdeck.workspace import Workspace
from tests.chaos import clock
from tests.integration.runner_harness import jobs

MARK = "QUARTERDECK_TEST_CHAOS"
"""An environment variable that every process of one chaos inherits: so the last of them can be found."""
REPOSITORY = Path(__file__).parent.parent.parent


class Runners:
    """The active runner and its standby; whichever dies is started again."""

    def __init__(self, workspace: Workspace, mark: str) -> None:
        self._workspace = workspace
        self._mark = mark
        self._started = 0
        self.processes: list[subprocess.Popen[bytes]] = []

    def keep(self, count: int = 2) -> None:
        """Start as many as are missing."""
        self.processes = [process for process in self.processes if process.poll() is None]
        while len(self.processes) < count:
            self._started += 1
            with (self._workspace.root.parent / f"runner-{self._started}.err").open("wb") as said:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tests.chaos.runner", str(self._workspace.root)],
                    cwd=REPOSITORY,
                    env={**os.environ, MARK: self._mark},
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            self.processes.append(process)

    def stop(self, seconds: float = 30.0) -> list[int]:
        """End them cleanly; their exit statuses."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        return [process.wait(seconds) for process in self.processes]

    def kill(self) -> None:
        """End everything that carries the mark, whatever state it is in."""
        for left in marked(self._mark):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        for process in self.processes:
            process.wait(10)


def marked(mark: str) -> Iterator[psutil.Process]:
    """The living processes that carry the mark."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                yield process


class Monkey:
    """Does one bad thing after another."""

    def __init__(self, workspace: Workspace, runners: Runners, seed: int, *, disk: bool) -> None:
        self._workspace = workspace
        self._runners = runners
        self._draw = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._deeds = [
            self.kill_a_runner,
            self.kill_a_fork_server,
            self.kill_a_job,
            self.kill_a_job,
            self.stop_something_for_a_while,
            self.hold_the_lock,
            self.set_the_clock,
            *([self.fill_the_disk] if disk else []),
        ]

    def act(self) -> None:
        """One deed, chosen at random; each is done once before any is done twice."""
        fresh = [deed for deed in self._deeds if not self.done[deed.__name__]]
        deed = self._draw.choice(fresh or self._deeds)
        # What was to be broken may end by itself in that moment.
        with contextlib.suppress(psutil.NoSuchProcess):
            self.done[deed.__name__] += deed()

    def kill_a_runner(self) -> bool:
        self._draw.choice(self._runners.processes).kill()
        return True

    def kill_a_fork_server(self) -> bool:
        servers = [
            child
            for runner in self._runners.processes
            for child in self._children(runner.pid)
            if "forkserver" in " ".join(child.cmdline())
        ]
        return self._kill(servers)

    def kill_a_job(self) -> bool:
        running = [job for job in jobs(self._workspace) if job.state is JobState.RUNNING and job.process_group]
        if not running:
            return False
        pids = [job.process_group for job in running if psutil.pid_exists(job.process_group or 0)]
        return self._kill([psutil.Process(pid) for pid in pids])

    def stop_something_for_a_while(self) -> bool:
        """SIGSTOP, for less or more than a lease."""
        running = [job.process_group or 0 for job in jobs(self._workspace) if job.process_group]
        pid = self._draw.choice([*(process.pid for process in self._runners.processes), *running])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(self._draw.choice([0.5, 2.0, 6.0]))
            os.kill(pid, signal.SIGCONT)
        return True

    def hold_the_lock(self) -> bool:
        """Longer than a writer waits."""
        with self._workspace.state.lock.held("chaos", patience=30.0):
            time.sleep(self._draw.choice([1.0, 6.0]))
        return True

    def set_the_clock(self) -> bool:
        clock.step(self._workspace.root, self._draw.choice([-45.0, -5.0, 7.0, 61.0, 130.0]))
        return True

    def fill_the_disk(self) -> bool:
        """To the last byte, for a moment."""
        filler = self._workspace.root / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"\0" * (1 << 16)):
                pass
        time.sleep(self._draw.choice([1.0, 3.0]))
        filler.unlink()
        return True

    def _kill(self, processes: list[psutil.Process]) -> bool:
        if not processes:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            self._draw.choice(processes).kill()
        return True

    @staticmethod
    def _children(pid: int) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(pid).children()
        return []
