"""The attempts that a runner has under way: started, watched, ended. Fence first, kill second, claim again third."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from enum import Enum, auto
from multiprocessing import connection

from sqlmodel import Session

from quarterdeck import logs, processes
from quarterdeck.logs import append
from quarterdeck.pipelines import ending
from quarterdeck.processes import ProcessIdentity
from quarterdeck.runner import lease, queue
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.narration import say
from quarterdeck.runner.outcome import end_attempt, has_ended
from quarterdeck.runner.processes import DEATH_PATIENCE_SECONDS, ForkServer, RunningJob, end_group, recorded_group
from quarterdeck.runner.worker import MARK, NOT_BEGUN, log_of
from quarterdeck.workspace import Workspace

UNKNOWN_END = 255
"""The status that multiprocessing gives for a process whose fork server is gone."""
STOP_SECONDS = 7.0
"""How long running jobs may take to end on a clean stop: less than the supervisor waits for the runner."""


class _How(Enum):
    """How an attempt came to nothing."""

    DIED = auto()
    NOT_BEGUN = auto()
    """Nothing of the job was done: it costs no attempt."""
    STOPPED = auto()
    """The runner stops cleanly: it costs no attempt either."""
    BROKE_LIMIT = auto()
    """It ran too long or took too much memory: a failure, and not for another try by itself."""


class Attempts:
    """Every write here first checks that the runner still has its lease, and raises FencedError when it has not."""

    def __init__(self, workspace: Workspace, me: ProcessIdentity, fork_server: ForkServer) -> None:
        self.workspace = workspace
        self._me = me
        self._fork_server = fork_server
        self._running: dict[int, RunningJob] = {}
        self._unburied: dict[int, Job] = {}
        """Jobs by id in whose last group something may live."""

    def start(self) -> None:
        """Claim and start what is due, up to the limit."""
        while len(self._running) < self.workspace.settings.runner.concurrency:
            job = queue.claim(self.workspace, self._me)
            if job is None or job.id is None:
                return
            try:
                running = self._fork_server.launch(self.workspace.root, job)
            except (OSError, EOFError) as error:
                self._put_back(job, f"Its process could not be started: {error!r}.")
                return
            self._running[job.id] = running

    def wait(self, seconds: float) -> None:
        """Until a process ends, at most `seconds`."""
        connection.wait([running.process.sentinel for running in self._running.values()], seconds)

    def reap(self) -> bool:
        """Deal with processes that ended, and end those that broke their limits; True when one ended."""
        for running in self._running.values():
            running.hold_to_limits()
            if running.stop_by is not None and time.monotonic() >= running.stop_by:
                running.kill()
        ended = [running for running in self._running.values() if running.process.exitcode is not None]
        killed = any((running.process.exitcode or 0) < 0 for running in ended)
        for running in ended:
            self._settle(running)
            del self._running[running.job_id]
            running.process.close()
        if killed:
            self._fork_server.end_orphans({running.process.pid or 0 for running in self._running.values()})
        return bool(ended)

    def end_floods(self) -> None:
        """Kill the jobs whose processes write more into their logs than rotation can hold back."""
        limit = self.workspace.settings.logs.max_bytes
        for running in self._running.values():
            if logs.is_runaway(self.workspace.logs / log_of(running.job_id, running.attempt), limit):
                running.kill_because(f"It flooded its log, which may hold {limit / 1e6:,.0f} MB: it was killed.")

    def obey_cancellations(self) -> None:
        """Ask the processes of jobs that people cancelled to stop."""
        if not self._running:
            return
        with self.workspace.state.read() as tx:
            jobs = [(running, tx.get_one(Job, job_id)) for job_id, running in self._running.items()]
        for running, job in jobs:
            if job.cancel_requested_by is not None and running.stop_by is None:
                running.ask_to_stop()

    def note_usage(self, tx: Session) -> None:
        """Write down what the running jobs use, as part of a heartbeat."""
        for running in self._running.values():
            job = tx.get_one(Job, running.job_id)
            if running.usage is not None and self._is_under_way(job):
                job.cpu_seconds = running.usage.cpu_seconds
                job.memory_bytes = running.usage.memory_bytes
                job.peak_memory_bytes = running.peak_memory_bytes

    def bury_the_rest(self) -> None:
        """Try again to end groups in which something did not die, without waiting for it."""
        for job in list(self._unburied.values()):
            self._bury(job, patience=0.0)

    def recover(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Another runner was here: fence what it ran and kill the groups that it recorded, before any claim.

        `meanwhile` is called before each group: what does not die is waited for, and that may take long.
        """
        self.fence_strays()
        with self.workspace.state.read() as tx:
            left = queue.with_recorded_group(tx)
        for job in left:
            meanwhile()
            self._bury(job)
        # What left its group, and lost its parents when the last runner was killed, is known by its environment.
        for stray in processes.marked(MARK, f"{self.workspace.folder}:"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(stray.pid, signal.SIGKILL)

    def fence_strays(self) -> None:
        """Give up claimed jobs that no process of this runner works on: nobody else would ever end them."""
        with self.workspace.state.read() as tx:
            if not self._strays(tx):
                return
        with self.workspace.state.write("take over") as tx:
            lease.hold(tx, self._me)
            strays = self._strays(tx)
            for job in strays:
                self._fence(tx, job, "The runner ended while it ran.", _How.DIED)
        self._unburied.update({job.id or 0: job for job in strays})

    def _strays(self, tx: Session) -> list[Job]:
        return [job for job in queue.running(tx) if job.id not in self._running]

    def give_back(self) -> None:
        """A clean stop: running jobs are told to end and go back to the queue, and it costs them no attempt."""
        with self.workspace.state.write("give back") as tx:
            lease.hold(tx, self._me)
            jobs = [tx.get_one(Job, job_id) for job_id in self._running]
            for job in jobs:
                if self._is_under_way(job):
                    self._fence(tx, job, "The runner was stopped.", _How.STOPPED)
        for running in self._running.values():
            running.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for running in self._running.values():
            running.process.join(max(0.0, deadline - time.monotonic()))
        self.end_all()
        # Read again: a job may have noted its group after the first look.
        with self.workspace.state.read() as tx:
            left = queue.with_recorded_group(tx)
        for job in left:
            self._bury(job)

    def end_all(self) -> None:
        """Kill what runs here, whatever becomes of the jobs."""
        for running in self._running.values():
            running.kill()
            running.process.join()
        self._running.clear()

    def _is_under_way(self, job: Job) -> bool:
        running = self._running[job.id or 0]
        return job.state is JobState.RUNNING and job.attempt == running.attempt

    def _settle(self, running: RunningJob) -> None:
        told = None
        with self.workspace.state.write("reap") as tx:
            lease.hold(tx, self._me)
            job = tx.get_one(Job, running.job_id)
            job.peak_memory_bytes = running.peak_memory_bytes or None
            if self._is_under_way(job):
                code = running.process.exitcode
                job.cpu_seconds = running.usage.cpu_seconds if running.usage else None
                how = _How.NOT_BEGUN if code == NOT_BEGUN else _How.DIED
                how = how if running.verdict is None else _How.BROKE_LIMIT
                told = running.verdict or _why_it_ended(code)
                self._fence(tx, job, told, how)
        if told is not None:
            self._tell(running, job, told)
        self._bury(job)

    def _tell(self, running: RunningJob, job: Job, why: str) -> None:
        """Say why an attempt came to nothing, where people look for it: in its own log, and in ours."""
        say("runner", f"job {running.job_id}, attempt {running.attempt}: {why}", level="WARNING")
        with contextlib.suppress(OSError):
            if job.log is not None:
                log, limit = self.workspace.logs / job.log, self.workspace.settings.logs.max_bytes
                append(log, "ERROR", why, at_most=limit if logs.is_runaway(log, limit) else 0)

    def _fence(self, tx: Session, job: Job, error: str, how: _How) -> None:
        """Give up an attempt; one that was killed after its run had ended has come to its end."""
        if has_ended(tx, job):
            end_attempt(tx, self.workspace, job, None)
            return
        run = int(job.payload["run"]) if job.kind is JobKind.RUN else None
        if job.cancel_requested_by is not None:
            queue.end(job, JobState.CANCELLED, self.workspace.now())
            if run is not None:
                ending.mark_cancelled(tx, self.workspace, run, job.cancel_requested_by)
            return
        now = self.workspace.now()
        match how:
            case _How.STOPPED:
                queue.give_back(job, error)
            case _How.BROKE_LIMIT:
                queue.fail(job, now, error)
            case _How.DIED | _How.NOT_BEGUN:
                queue.give_up(job, now, error, spend=how is _How.DIED)
        if run is not None and job.state is JobState.LOST:
            ending.lose(tx, self.workspace, run, error)
        elif run is not None and job.state is not JobState.QUEUED:
            ending.fail(tx, self.workspace, run, error)
        elif run is not None:
            ending.requeue(tx, self.workspace, run)

    def _put_back(self, job: Job, error: str) -> None:
        say("runner", f"job {job.id}: {error}")
        with self.workspace.state.write("put back") as tx:
            lease.hold(tx, self._me)
            self._fence(tx, tx.get_one(Job, job.id), error, _How.NOT_BEGUN)

    def _bury(self, job: Job, patience: float = DEATH_PATIENCE_SECONDS) -> None:
        """Kill what may be left of a job's process group, and note that nothing is."""
        self._unburied[job.id or 0] = job
        group = recorded_group(job)
        if group is not None:
            if not end_group(group, patience):
                return  # Something in it does not die: the job is not claimed before it does.
            with self.workspace.state.write("reap") as tx:
                row = tx.get_one(Job, job.id)
                if recorded_group(row) == group:
                    row.process_group = row.process_started = row.boot_id = None
            self._scrub(row)
        del self._unburied[job.id or 0]

    def _scrub(self, job: Job) -> None:
        # What its subprocesses wrote went straight to the file: nobody could mask it on the way.
        secrets = logs.secrets_of(self.workspace.settings.logs.mask)
        if secrets and job.log is not None:
            try:
                logs.scrub(self.workspace.logs / job.log, secrets)
            except OSError as error:
                say("runner", f"job {job.id}: secrets may be left in its log: {error}", level="ERROR")


def _why_it_ended(exit_code: int | None) -> str:
    if exit_code == NOT_BEGUN:
        return "It could not begin; the reason is in the runner's log."
    if exit_code is not None and exit_code < 0:
        return f"Its process was killed ({signal.Signals(-exit_code).name})."
    if exit_code == UNKNOWN_END:
        return "Its process is gone, and nobody saw how: the fork server was killed, or it ended with status 255."
    return f"Its process ended without a result (exit status {exit_code})."
