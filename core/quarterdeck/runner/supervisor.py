"""`quarterdeck up`: keeps one runner and the gateway's workers running, and holds the gateway's address for them.

This process lives as long as the machine does, so it stays small: it imports the standard library and little else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quarterdeck.errors import UsageError
from quarterdeck.processes import here, is_alive, kill_group
from quarterdeck.runner.children import Child
from quarterdeck.runner.health import GatewayHealth, Patience, RanTime, RunnerHealth
from quarterdeck.runner.narration import say
from quarterdeck.runner.notifying import Notifying
from quarterdeck.runner.supervision import Health, Supervision, only_one, read_supervision, write_supervision
from quarterdeck.runner.waking import Alarm

LOOK_SECONDS = 1.0
SHORT_LOOK_SECONDS = 0.05
STOP_SECONDS = 10.0
BACKLOG = 2048
"""Connections that wait while a killed gateway worker is replaced."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be kept running, as the settings said it when `up` was started."""

    root: str
    """The workspace."""
    folder: str
    """Its state."""
    scheme: str
    host: str
    port: int
    workers: int
    lease_seconds: float
    max_log_bytes: int
    gateway_patience: float


def up(plan: Plan, *, lifeline: int | None = None) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP: starts the runner and the gateway, and restarts what dies or hangs.

    Killed itself, it leaves them running; the next `up` ends them first. With a `lifeline`, the reading end of a pipe,
    it also stops when the other end is closed: whoever started it is gone, however that came about.

    Raises:
        RefusedError: another `up` runs on this workspace.
        UsageError: the gateway's address cannot be listened on.
    """
    folder = Path(plan.folder)
    with Alarm(lifeline) as alarm, only_one(folder):
        end_orphans(folder)
        with _listen(plan.host, plan.port) as listener:
            host, port = listener.getsockname()[:2]
            url = f"{plan.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
            (folder / "logs").mkdir(exist_ok=True)
            tell(f"gateway on {url}, logs in {folder / 'logs'}")
            supervisor = Supervisor(plan, url, _children(plan, listener.fileno()))
            try:
                while not alarm.stop:
                    alarm.wait(supervisor.look())
            finally:
                supervisor.stop()
    tell("stopped")


class Supervisor:
    """The children, what is written down of them, and what a service manager hears."""

    def __init__(self, plan: Plan, url: str, children: list[Child]) -> None:
        patience = Patience(plan.gateway_patience)
        self._folder = Path(plan.folder)
        self._children = children
        runner, *workers = children
        self._judges: list[RunnerHealth | GatewayHealth] = [
            RunnerHealth(runner, self._folder, plan.lease_seconds, patience),
            *(GatewayHealth(worker, patience) for worker in workers),
        ]
        self._ran = RanTime()
        self._next_judgement = 0.0
        self._supervision = Supervision(here(), datetime.now(UTC), url)
        self._notifying = Notifying()
        self._notifying.ready()

    def look(self) -> float:
        """Do whatever is due; in how many seconds to look again at the latest."""
        for child in self._children:
            message = child.look()
            if message is not None:
                tell(message)
            if child.health is Health.STARTING:
                self._write()
                child.let_go()
        now = time.monotonic()
        if now >= self._next_judgement:
            self._next_judgement = now + LOOK_SECONDS
            self._judge()
        self._write()
        due = [child.start_at for child in self._children if child.process is None]
        return min([self._next_judgement, *due]) - time.monotonic()

    def _judge(self) -> None:
        ran = self._ran.now()
        for child, judge in zip(self._children, self._judges, strict=True):
            if child.health is Health.HUNG:
                continue  # It is being killed; one that waits for a broken disk may take its time to die.
            why = judge.judge(ran)
            if why is not None:
                child.kill(why)
        self._notifying.alive()

    def _write(self) -> None:
        rows = tuple(child.row() for child in self._children)
        if rows == self._supervision.processes:
            return
        now = Supervision(self._supervision.supervisor, self._supervision.since, self._supervision.url, rows)
        # On a full disk the next look tries again: that the children run matters more.
        with contextlib.suppress(OSError):
            write_supervision(self._folder, now)
            self._supervision = now
        self._notifying.status(", ".join(f"{row.name}: {row.health}" for row in rows))

    def stop(self) -> None:
        """End the children in order: SIGTERM, ten seconds, SIGKILL."""
        self._notifying.stopping()
        living = [child for child in self._children if child.process is not None]
        for child in living:
            assert child.process is not None
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while any(child.process is not None and child.process.poll() is None for child in living):
            if time.monotonic() > deadline:
                for child in living:
                    child.kill("it did not stop")
            time.sleep(SHORT_LOOK_SECONDS)
        for child in self._children:
            child.forget()
        self._write()


def tell(message: str) -> None:
    """One line of narration."""
    say("quarterdeck up", message)


def end_orphans(folder: Path) -> int:
    """End what an `up` that was killed has left running; how many processes. Call it as the holder of `up.lock`."""
    left = read_supervision(folder)
    orphans = [row.identity for row in (left.processes if left else ()) if row.identity and is_alive(row.identity)]
    if orphans:
        tell(f"ending {len(orphans)} processes that an earlier `quarterdeck up` left running")
    for orphan in orphans:
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(is_alive(orphan) for orphan in orphans) and time.monotonic() < deadline:
        time.sleep(SHORT_LOOK_SECONDS)
    # The whole group: what a runner that did not stop had started for itself goes with it.
    while sum(kill_group(one.pid, one.started, one.boot_id) for one in orphans):
        if time.monotonic() > deadline + STOP_SECONDS:
            tell("some of them do not die: the kernel waits for a disk or a device")
            break
        time.sleep(SHORT_LOOK_SECONDS)
    return len(orphans)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(
            f"gateway.host = '{host}' in quarterdeck.toml is not an address of this machine: {error.strerror}."
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"The gateway cannot listen on {host}:{port}: {error.strerror}. End the program that uses it, or set "
            "another `port` under [gateway] in quarterdeck.toml (0 takes a free one)."
        ) from error
    return listener


def _children(plan: Plan, handle: int) -> list[Child]:
    # -P: modules that lie in the current folder must not stand in for installed ones.
    program = [sys.executable, "-P", "-m", "quarterdeck"]
    logs, place = Path(plan.folder) / "logs", ["--workspace", plan.root]
    log = logs / "runner.log"
    children = [Child("runner", [*program, "runner", *place, "--log", str(log)], log)]
    for slot in range(plan.workers):
        log = logs / f"gateway-{slot}.log"
        command = [*program, "gateway", *place, "--log", str(log), "--slot", str(slot), "--fd", str(handle)]
        children.append(Child(f"gateway-{slot}", command, log, (handle,)))
    return children
