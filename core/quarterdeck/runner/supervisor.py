"""`quarterdeck up`: keeps one runner and the gateway's workers running, and holds the gateway's address for them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from quarterdeck.errors import RefusedError, UsageError
from quarterdeck.processes import ProcessIdentity, here, identity_of, is_alive
from quarterdeck.runner.narration import say
from quarterdeck.settings import Settings
from quarterdeck.workspace import STATE_FOLDER

LOOK_SECONDS = 0.05
STOP_SECONDS = 10.0
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
HEALTHY_SECONDS = 30.0
BACKLOG = 2048
"""Connections that wait while a killed gateway worker is replaced."""


@dataclass(slots=True)
class Child:
    """A process that is kept running."""

    name: str
    command: list[str]
    log: Path
    handles: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    delay: float = FIRST_DELAY_SECONDS
    start_at: float = 0.0
    identity: ProcessIdentity | None = field(default=None)

    def start(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C reaches the supervisor alone, which then stops everything in order.
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.handles,
                start_new_session=True,
            )
        self.started = time.monotonic()
        self.identity = identity_of(self.process.pid)

    def look(self) -> str | None:
        """Start it again when it is due; what to tell when it ended."""
        now = time.monotonic()
        if self.process is None:
            return self._start_if_due(now)
        status = self.process.poll()
        if status is None:
            return None
        if now - self.started >= HEALTHY_SECONDS:
            self.delay = FIRST_DELAY_SECONDS
        self.process, self.identity = None, None
        return (
            f"{self.name} ended ({_reason(status)}); starting it again in {self._later(now):g} s. Its log: {self.log}"
        )

    def _start_if_due(self, now: float) -> str | None:
        if now < self.start_at:
            return None
        try:
            self.start()
        except OSError as error:
            return f"{self.name} could not be started ({error}); trying again in {self._later(now):g} s."
        return None

    def _later(self, now: float) -> float:
        """Put the next start off, longer each time; by how many seconds."""
        delay = self.delay
        self.start_at, self.delay = now + delay, min(delay * 2, LONGEST_DELAY_SECONDS)
        return delay


def up(workspace_root: Path, settings: Settings, *, lifeline: int | None = None) -> None:
    """Run until SIGTERM or SIGINT: starts the runner and the gateway, and restarts what dies.

    Killed itself, it leaves them running; the next `up` ends them first. With a `lifeline`, the reading end of a pipe,
    it also stops when the other end is closed: whoever started it is gone, however that came about.

    Raises:
        RefusedError: another `up` runs on this workspace.
        UsageError: the gateway's address cannot be listened on.
    """
    folder = workspace_root / STATE_FOLDER
    stop = _stop_flag()
    with _only_one(folder / "up.lock") as record:
        _end_orphans(record)
        with _listen(settings) as listener:
            host, port = listener.getsockname()[:2]
            children = _children(workspace_root, settings, listener.fileno())
            say(
                "quarterdeck up",
                f"gateway on http://{f'[{host}]' if ':' in host else host}:{port}, logs in {folder / 'logs'}",
            )
            try:
                while not stop and not _is_cut(lifeline):
                    _look_after(children, record)
                    time.sleep(LOOK_SECONDS)
            finally:
                _stop(children)
                record.write([])
    say("quarterdeck up", "stopped")


class _Record:
    """The lock file: who holds it, and what they started, so that the next holder can end it."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._written: list[ProcessIdentity] | None = None

    def read(self) -> list[ProcessIdentity]:
        try:
            return [ProcessIdentity(**child) for child in json.loads(self.text())["children"]]
        except (ValueError, KeyError, TypeError):
            return []

    def text(self) -> str:
        return os.pread(self._handle, 1 << 16, 0).decode(errors="replace")

    def write(self, children: list[ProcessIdentity]) -> None:
        if children == self._written:
            return
        text = json.dumps({"pid": here().pid, "children": [asdict(child) for child in children]}).encode()
        # The new text first, the old tail after it: a kill in between leaves at worst an unreadable tail.
        os.pwrite(self._handle, text, 0)
        os.ftruncate(self._handle, len(text))
        self._written = children


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[_Record]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    record = _Record(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                pid = json.loads(record.text())["pid"]
            except (ValueError, KeyError, TypeError):
                pid = "unknown"
            raise RefusedError(
                f"`quarterdeck up` runs on this workspace already (process {pid}). "
                f"Stop it first with Ctrl-C where it runs, or with `kill {pid}`."
            ) from None
        yield record
    finally:
        os.close(handle)


def _end_orphans(record: _Record) -> None:
    """End what an `up` that was killed has left running."""
    orphans = [child for child in record.read() if is_alive(child)]
    if orphans:
        say("quarterdeck up", f"ending {len(orphans)} processes that an earlier `quarterdeck up` left running")
    for child in orphans:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(is_alive(child) for child in orphans):
        if time.monotonic() > deadline:
            for child in orphans:
                if is_alive(child):
                    os.kill(child.pid, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.gateway.host, settings.gateway.port
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


def _children(root: Path, settings: Settings, handle: int) -> list[Child]:
    # -P: modules that lie in the current folder must not stand in for installed ones.
    program = [sys.executable, "-P", "-m", "quarterdeck"]
    logs = root / STATE_FOLDER / "logs"
    logs.mkdir(exist_ok=True)
    place = ["--workspace", str(root)]
    children = [Child("runner", [*program, "runner", *place], logs / "runner.log")]
    for slot in range(settings.gateway.workers):
        command = [*program, "gateway", *place, "--slot", str(slot), "--fd", str(handle)]
        children.append(Child(f"gateway-{slot}", command, logs / f"gateway-{slot}.log", (handle,)))
    return children


def _look_after(children: list[Child], record: _Record) -> None:
    for child in children:
        message = child.look()
        if message is not None:
            say("quarterdeck up", message)
        # Noted at once: whoever is killed in the next moment leaves a full record. On a full disk the next look tries.
        with contextlib.suppress(OSError):
            record.write([child.identity for child in children if child.identity is not None])


def _stop(children: list[Child]) -> None:
    living = [child.process for child in children if child.process is not None]
    for process in living:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in living:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _stop_flag() -> list[int]:
    """A list that SIGTERM and SIGINT put their number into."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: told.append(number))
    return told


def _is_cut(lifeline: int | None) -> bool:
    return lifeline is not None and bool(select.select([lifeline], [], [], 0)[0]) and not os.read(lifeline, 1)


def _reason(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
