"""What `up` keeps running, written down for everybody: who supervises, and how each process fares.

`up.lock` is held by the one supervisor as long as it lives, whatever becomes of the file's text. `processes.json` is
replaced whole at each change, so it can be read at any moment and outlives a kill. Processes are named by pid, start
and boot: after a reboot nothing in it is mistaken for something that lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from quarterdeck.errors import RefusedError
from quarterdeck.processes import ProcessIdentity, here, is_alive

LOCK = "up.lock"
RECORD = "processes.json"


class Health(StrEnum):
    """How a supervised process fares."""

    STARTING = "starting"
    """It runs and has not said yet that it works."""
    HEALTHY = "healthy"
    """It shows that it works: a runner renews its lease, a gateway worker's loop turns."""
    STANDBY = "standby"
    """Another runner works here; this one waits for its place."""
    WAITING = "waiting"
    """It lives and cannot get on: somebody else holds the write lock for long, or the disk is full."""
    HUNG = "hung"
    """It lives and does nothing any more; it is being killed."""
    DOWN = "down"
    """It ended, and is started again when its delay is over."""
    UNKNOWN = "unknown"
    """Nobody supervises it now."""


@dataclass(frozen=True, slots=True)
class Supervised:
    """One process that `up` keeps running."""

    name: str
    health: Health
    identity: ProcessIdentity | None = None
    """None while it is down."""
    since: datetime | None = None
    """When the present process was started."""
    restarts: int = 0
    """How often it was started again since `up` was."""
    last_end: str | None = None
    """How it ended the last time."""
    last_end_at: datetime | None = None

    @property
    def alive(self) -> bool:
        return self.identity is not None and is_alive(self.identity)

    @property
    def pid(self) -> int | None:
        return self.identity.pid if self.identity is not None else None


@dataclass(frozen=True, slots=True)
class Supervision:
    """The supervisor, and the processes that it keeps running."""

    supervisor: ProcessIdentity
    since: datetime
    url: str
    """Where the gateway answers."""
    processes: tuple[Supervised, ...] = ()

    @property
    def alive(self) -> bool:
        return is_alive(self.supervisor)


def read_supervision(folder: Path) -> Supervision | None:
    """What the state folder says of the newest `up`; None when none ran yet or that cannot be read."""
    try:
        value = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        supervision = Supervision(
            supervisor=ProcessIdentity(**value["supervisor"]),
            since=datetime.fromisoformat(value["since"]),
            url=str(value["url"]),
            processes=tuple(_supervised(process) for process in value["processes"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return supervision


def write_supervision(folder: Path, supervision: Supervision) -> None:
    """Replace what is written; a reader sees the old or the new.

    Raises:
        OSError: the disk is full or fails.
    """
    # What a kill left of an earlier try is overwritten: only the holder of the lock writes.
    temporary = folder / f"{RECORD}.new"
    temporary.write_text(json.dumps(asdict(supervision), default=datetime.isoformat), encoding="utf-8")
    os.replace(temporary, folder / RECORD)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Be the one supervisor of a workspace while the block runs.

    Raises:
        RefusedError: another process is; the message names it.
    """
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise already_supervised(_pid_in(folder)) from None
        os.pwrite(handle, json.dumps({"pid": here().pid}).encode().ljust(40), 0)
        yield
    finally:
        os.close(handle)


def already_supervised(pid: int | None) -> RefusedError:
    """The error for whoever wants to supervise what process `pid` supervises."""
    name = pid or "unknown"
    return RefusedError(
        f"`quarterdeck up` runs on this workspace already (process {name}). Stop it first: "
        f"`quarterdeck up --stop`, Ctrl-C where it runs, or `kill {name}`."
    )


def supervising_pid(folder: Path) -> int | None:
    """The process that supervises this workspace now; None when none does."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        # Whether the lock is held is the truth; the text in the file outlives its writer.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(folder)
    finally:
        os.close(handle)
    return None


def _pid_in(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / LOCK).read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _supervised(value: dict[str, Any]) -> Supervised:
    identity, since, ended = value["identity"], value["since"], value["last_end_at"]
    return Supervised(
        name=str(value["name"]),
        health=Health(value["health"]),
        identity=None if identity is None else ProcessIdentity(**identity),
        since=None if since is None else datetime.fromisoformat(since),
        restarts=int(value["restarts"]),
        last_end=value["last_end"],
        last_end_at=None if ended is None else datetime.fromisoformat(ended),
    )
