"""The runner: one loop that reads the news, claims jobs, watches their processes, and keeps its lease."""

from __future__ import annotations

import dataclasses
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

import psutil
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from quarterdeck import processes
from quarterdeck.database import ChangeWatch
from quarterdeck.errors import FencedError, QuarterdeckError
from quarterdeck.location import keep_in_force
from quarterdeck.monitoring.silence import end_silences
from quarterdeck.pipelines import scheduling
from quarterdeck.runner import lease, policies
from quarterdeck.runner.attempts import Attempts
from quarterdeck.runner.job import RunnerLease
from quarterdeck.runner.metering import usage_of
from quarterdeck.runner.narration import say
from quarterdeck.runner.processes import ForkServer
from quarterdeck.runner.reactions import react
from quarterdeck.runner.scheduler import Scheduler
from quarterdeck.runner.telling import form_messages
from quarterdeck.runner.watchman import BudgetWatch, DiskWatch, SignOfLife
from quarterdeck.runner.worker import OpenWorkspace
from quarterdeck.settings import load_settings
from quarterdeck.workspace import Workspace

LOOK_SECONDS = 0.05
STANDBY_SECONDS = 0.5
TROUBLE_SECONDS = 1.0
TROUBLE = (QuarterdeckError, OSError, OperationalError, sqlite3.OperationalError)
"""What passes when somebody lets go of a lock or makes room on the disk."""
SCHEDULE_EVENTS = ("schedule.changed", "schedule.paused", "schedule.resumed")
CHECKPOINT_SECONDS = 30.0
# A smaller log is not worth holding the write lock for.
CHECKPOINT_BYTES = 1 << 20


class StopFlag:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, *_: object) -> None:
        self.is_set = True


def run_runner(workspace_root: Path, open_workspace: OpenWorkspace) -> None:
    """Work until SIGTERM or SIGINT; stand by while another runner has the lease.

    `open_workspace` also runs in job processes, so it must be importable by name (a partial of such a function is).

    Raises:
        QuarterdeckError: the fork server cannot be warmed.
    """
    stop = StopFlag()
    fork_server = ForkServer(open_workspace)
    fork_server.start()
    while not stop.is_set:
        workspace = open_workspace(workspace_root)
        with suppress(QuarterdeckError):
            load_settings(workspace.settings_file)
            keep_in_force(workspace.settings_file, workspace.folder)
        try:
            if _has_lease(workspace, stop):
                Runner(workspace, fork_server, stop).work()
        except FencedError as error:
            say("runner", f"{error} Standing by.")
        finally:
            workspace.close()


def _has_lease(workspace: Workspace, stop: StopFlag) -> bool:
    """Wait for the lease; False when told to stop."""
    told = False
    while not stop.is_set:
        try:
            if lease.acquire(workspace, processes.here(), workspace.settings.runner.lease):
                return True
        except QuarterdeckError as error:
            say("runner", str(error))
        if not told:
            say("runner", "another runner works here: standing by")
            told = True
        time.sleep(STANDBY_SECONDS)
    return False


class Runner:
    """The runner that has the lease."""

    def __init__(self, workspace: Workspace, fork_server: ForkServer, stop: StopFlag) -> None:
        self._workspace = workspace
        self._me = processes.here()
        self._fork_server = fork_server
        self._stop = stop
        self._attempts = Attempts(workspace, self._me, fork_server)
        self._scheduler = Scheduler(workspace)
        self._watch = ChangeWatch(workspace.state.path)
        self._settings_mark = self._mark_of_settings()
        self._schedules_are_stale = False
        self._heart = lease.Heartbeat(self._me)
        self._disk = DiskWatch()
        self._budgets = BudgetWatch()
        self._sign_of_life = SignOfLife()
        self._checkpoint_at = 0.0

    def work(self) -> None:
        """Run until told to stop.

        Raises:
            FencedError: another runner has taken over; what ran here is ended.
            QuarterdeckError: the fork server cannot be warmed.
        """
        try:
            self._attempts.recover(self._beat_if_due)
            self._wait_until_warm()
            scheduling.synchronise(self._workspace)
            self._scheduler.start()
            say("runner", "ready")
            self._go_round()
            self._attempts.give_back()
            lease.release(self._workspace, self._me)
            say("runner", "stopped")
        finally:
            self._attempts.end_all()
            self._scheduler.stop()
            self._watch.close()

    def _wait_until_warm(self) -> None:
        # The imports may take longer than the lease on a busy machine, so the heart beats meanwhile.
        with ThreadPoolExecutor(1, "warm-up") as pool:
            checked = pool.submit(self._fork_server.check)
            while not wait([checked], timeout=LOOK_SECONDS).done:
                self._beat_if_due()
            checked.result()

    def _go_round(self) -> None:
        next_second, unfinished = 0.0, True
        while not self._stop.is_set:
            try:
                news = self._watch.changed() or unfinished
                unfinished = True
                if news:
                    self._read_events()
                news = self._attempts.reap() or news
                if time.monotonic() >= next_second:
                    next_second = time.monotonic() + 1.0
                    self._each_second()
                    news = True  # A job's time may have come without any news.
                if news:
                    self._attempts.obey_cancellations()
                    self._attempts.start()
                unfinished = False
            except FencedError:
                raise
            except TROUBLE as error:
                # The write lock is held for long, or the disk is full: what runs goes on, all of the above is repeated.
                say("runner", str(error))
                time.sleep(TROUBLE_SECONDS)
            self._attempts.wait(LOOK_SECONDS)

    def _read_events(self) -> None:
        while batch := react(self._workspace):
            self._schedules_are_stale |= any(event.kind.startswith(SCHEDULE_EVENTS) for event in batch)
        if self._schedules_are_stale:
            self._scheduler.reconcile()
            self._schedules_are_stale = False
        form_messages(self._workspace)

    def _each_second(self) -> None:
        self._beat_if_due()
        self._sign_of_life.send_if_due(self._workspace)
        mark = self._mark_of_settings()
        if mark != self._settings_mark:
            self._reload_settings()
            self._settings_mark = mark
        self._scheduler.look()
        self._disk.look(self._workspace)
        self._budgets.look(self._workspace)
        end_silences(self._workspace)
        policies.look_again(self._workspace)
        form_messages(self._workspace)
        self._attempts.fence_strays()
        self._attempts.bury_the_rest()
        self._attempts.end_floods()
        if time.monotonic() >= self._checkpoint_at:
            self._checkpoint_at = time.monotonic() + CHECKPOINT_SECONDS
            for database in (self._workspace.state, self._workspace.traffic):
                database.checkpoint(from_bytes=CHECKPOINT_BYTES)

    def _beat_if_due(self) -> None:
        if not self._heart.is_due(self._workspace):
            return
        # The fork server and its helper are children; the jobs are the fork server's.
        usage = usage_of([self._me.pid, *(child.pid for child in psutil.Process().children())])

        def note(tx: Session, row: RunnerLease) -> None:
            row.cpu_seconds, row.memory_bytes = usage.cpu_seconds, usage.memory_bytes
            self._attempts.note_usage(tx)

        self._heart.beat(self._workspace, note)

    def _mark_of_settings(self) -> tuple[int, int] | None:
        try:
            stat = self._workspace.settings_file.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_ino

    def _reload_settings(self) -> None:
        try:
            settings = load_settings(self._workspace.settings_file)
        except QuarterdeckError as error:
            say("runner", f"{error} The settings before that stay in force.", level="WARNING")
            return
        keep_in_force(self._workspace.settings_file, self._workspace.folder)
        self._workspace = dataclasses.replace(self._workspace, settings=settings)
        self._attempts.workspace = self._scheduler.workspace = self._workspace
        scheduling.synchronise(self._workspace)
        say("runner", "settings reloaded")
