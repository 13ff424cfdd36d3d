"""Job processes as the runner sees them: forked warm, signalled by group, and gone before a job is claimed again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from quarterdeck.errors import QuarterdeckError
from quarterdeck.processes import children_of, group_members, identity_of, kill_group
from quarterdeck.runner import worker
from quarterdeck.runner.job import Job
from quarterdeck.runner.metering import Usage, usage_of_group

STOP_GRACE_SECONDS = 10.0
DEATH_PATIENCE_SECONDS = 5.0
KILL_PATIENCE_SECONDS = 1.0
"""How long the runner's loop waits for what it kills; it looks again."""
PRELOAD_PATIENCE_SECONDS = 120.0
METER_SECONDS = 2.0
LIMITED_METER_SECONDS = 0.2
"""How often the memory of a job with a limit is looked at."""


@dataclass(slots=True)
class RunningJob:
    """One attempt and its process."""

    job_id: int
    attempt: int
    subject: str
    process: ForkServerProcess
    timeout_seconds: float | None = None
    memory_limit_bytes: int | None = None
    started: float = field(default_factory=time.monotonic)
    """On the monotonic clock, as all moments here."""
    stop_by: float | None = None
    """When a process that was asked to stop is killed."""
    verdict: str | None = None
    """Why the runner ended it: the error of its attempt."""
    usage: Usage | None = None
    peak_memory_bytes: int = 0
    metered: float = 0.0

    def kill(self) -> None:
        """End the job's process and everything below it."""
        group = self._group()
        if group is not None:
            end_group(group, KILL_PATIENCE_SECONDS)

    def ask_to_stop(self) -> None:
        """SIGTERM now, to everything below too; SIGKILL is due in ten seconds."""
        self.stop_by = time.monotonic() + STOP_GRACE_SECONDS
        group = self._group()
        if group is not None:
            kill_group(*group, by=signal.SIGTERM, below=True)

    def _group(self) -> tuple[int, float, str] | None:
        """The job's process group; None once its process has ended, and in its first moments, before it has one."""
        identity = identity_of(self.process.pid or 0) if self.process.exitcode is None else None
        if identity is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(identity.pid) == identity.pid:
                return identity.pid, identity.started, identity.boot_id
            self.process.kill()  # It has done nothing yet.
        return None

    def hold_to_limits(self) -> None:
        """End it when it takes longer or needs more memory than it may."""
        now = time.monotonic()
        limit = self.timeout_seconds
        if self.verdict is None and limit is not None and now - self.started > limit:
            self.verdict = f"It ran longer than its timeout of {limit:g} s and was ended."
            self.ask_to_stop()
        if now - self.metered >= (METER_SECONDS if self.memory_limit_bytes is None else LIMITED_METER_SECONDS):
            self.metered = now
            self._meter()

    def kill_because(self, verdict: str) -> None:
        """End it at once: what asks politely would give it time to take the rest of the memory or of the disk."""
        if self.verdict is None:
            self.verdict = verdict
            self.kill()

    def _meter(self) -> None:
        identity = identity_of(self.process.pid or 0)
        if identity is None:
            return
        self.usage = usage_of_group((identity.pid, identity.started, identity.boot_id))
        self.peak_memory_bytes = max(self.peak_memory_bytes, self.usage.memory_bytes)
        limit = self.memory_limit_bytes
        if limit is not None and self.usage.memory_bytes > limit:
            used, allowed = (f"{size / 1e6:,.0f} MB" for size in (self.usage.memory_bytes, limit))
            self.kill_because(f"Its processes used {used} of memory, and its limit is {allowed}: they were killed.")


class ForkServer:
    """The standard library's fork server with everything that jobs need already imported."""

    def __init__(self, open_workspace: worker.OpenWorkspace) -> None:
        self._open_workspace = open_workspace
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        # Who opens workspaces is above the runner in the layers, so it is known here by name only.
        opener = getattr(open_workspace, "func", open_workspace)
        self._context.set_forkserver_preload([worker.PRELOAD, opener.__module__])

    def start(self) -> None:
        """Start the server; it imports while the caller goes on."""
        forkserver.ensure_running()

    def check(self) -> None:
        """Wait until the server is warm.

        Raises:
            QuarterdeckError: it did not import what it should; the reason is on stderr.
        """
        try:
            probe = self._context.Process(target=worker.check_preload)
            probe.start()
        except (OSError, EOFError) as error:
            raise self._failed() from error
        probe.join(PRELOAD_PATIENCE_SECONDS)
        if probe.exitcode != 0:
            probe.kill()
            raise self._failed()

    @staticmethod
    def _failed() -> QuarterdeckError:
        return QuarterdeckError(
            "The fork server for jobs could not import what jobs need (the reason is above). "
            f"`python -c 'import {worker.PRELOAD}'` shows it too; a broken installation is the usual cause."
        )

    def launch(self, root: Path, job: Job) -> RunningJob:
        """Start a process for a claimed job."""
        assert job.id is not None
        process = self._context.Process(
            target=worker.work, args=(root, self._open_workspace, job.id, job.attempt), name=f"job-{job.id}"
        )
        process.start()
        return RunningJob(job.id, job.attempt, job.subject, process, job.timeout_seconds, job.memory_limit_bytes)

    def end_orphans(self, leaders: Collection[int]) -> None:
        """Kill what jobs have left behind whose process was killed from outside: it fell to the fork server.

        `leaders`: the processes of the jobs that run.
        """
        server = multiprocessing.forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]  # not published
        for pid in set(children_of(server)) - set(leaders) if server is not None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def recorded_group(job: Job) -> tuple[int, float, str] | None:
    """The process group that a job row names."""
    if job.process_group is None or job.process_started is None or job.boot_id is None:
        return None
    return job.process_group, job.process_started, job.boot_id


def end_group(group: tuple[int, float, str], patience: float = DEATH_PATIENCE_SECONDS) -> bool:
    """Kill a recorded group and all below it, and wait until it is gone; False when something in it does not die."""
    deadline = time.monotonic() + patience
    while kill_group(*group, below=True):
        if time.monotonic() > deadline:
            return not group_members(*group, below=True)
        time.sleep(0.005)
    return True
