"""Which process is meant: a pid alone is used again, so a process is named by pid, start and boot."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat, counted after the command's closing parenthesis (proc(5), fields 3 to 6 and 22).
_STATE, _PARENT, _GROUP, _SESSION, _STARTED = 0, 1, 2, 3, 19
_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for good."""

    pid: int
    started: float
    """Seconds from the machine's boot to the process's start: unlike the wall clock, nothing ever steps it."""
    boot_id: str


def here() -> ProcessIdentity:
    """The identity of the process that calls."""
    identity = identity_of(os.getpid())
    assert identity is not None
    return identity


def identity_of(pid: int) -> ProcessIdentity | None:
    """The identity of the process that has this number now; None when there is none."""
    stat = _stat(pid)
    return ProcessIdentity(pid, _started(stat), boot_id()) if stat else None


@cache
def boot_id() -> str:
    """The kernel's name for this run of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def is_alive(identity: ProcessIdentity) -> bool:
    """Whether exactly that process still runs. One that ended and was not reaped by its parent does not."""
    stat = _stat(identity.pid)
    return (
        identity.boot_id == boot_id() and bool(stat) and stat[_STATE] not in "ZX" and _started(stat) == identity.started
    )


def age(identity: ProcessIdentity) -> float:
    """Seconds since a process of this boot was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - identity.started


def group_members(pgid: int, started: float, boot: str, *, below: bool = False) -> list[int]:
    """The living processes of the group that the process `pgid`, started at `started`, leads or led.

    `below`: and those that left the group for one of their own, which are children of one that did not. The leader may
    be gone: as long as a member lives, the kernel gives the number to no other process or group.
    """
    if boot != boot_id() or pgid <= 1:
        return []
    leader = _stat(pgid)
    if leader and _started(leader) != started:
        return []  # The number belongs to another process now, so nothing is left of the old group.
    living = {pid: stat for pid, stat in _all_stats() if stat[_STATE] not in "ZX"}
    members = {
        pid
        for pid, stat in living.items()
        if int(stat[_GROUP]) == pgid and int(stat[_SESSION]) == pgid and _started(stat) >= started
    }
    found = members if below else set()
    while found:
        found = {pid for pid, stat in living.items() if int(stat[_PARENT]) in found} - members
        members |= found
    return sorted(members)


def kill_group(
    pgid: int, started: float, boot_id: str, *, by: signal.Signals = signal.SIGKILL, below: bool = False
) -> bool:
    """Send `by` to the group that was recorded as led by (`pgid`, `started`, `boot_id`); False when nothing lives.

    The group must be one of a session of its own (`setsid`): a number that was given away again is left alone.
    `below` is as for `group_members`; then a leader is killed last and stopped before: until then it starts nothing
    more, and what its children leave behind falls to it, where it is found. So call this until it returns False.
    """
    members = group_members(pgid, started, boot_id, below=below)
    others = [pid for pid in members if pid != pgid]
    if below and by is signal.SIGKILL and others and pgid in members:
        _send(pgid, signal.SIGSTOP)
        members = others
    for pid in members:
        _send(pid, by)
    return bool(members)


def adopt_orphans() -> None:
    """From now on what processes below this one leave behind becomes its child, not init's (PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children_of(pid: int) -> list[int]:
    """The living processes whose parent is `pid`."""
    return [child for child, stat in _all_stats() if int(stat[_PARENT]) == pid and stat[_STATE] not in "ZX"]


def working_folders() -> set[Path]:
    """The folders in which processes run, as far as we may know."""
    found = set()
    for pid, _ in _all_stats():
        with contextlib.suppress(OSError):
            found.add(Path(os.readlink(f"/proc/{pid}/cwd")))
    return found


def marked(variable: str, value: str) -> list[ProcessIdentity]:
    """Processes of ours that were started with the environment variable set to something that begins with `value`."""
    mark = f"{variable}={value}".encode()
    found = []
    for pid, _ in _all_stats():
        with contextlib.suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if any(entry.startswith(mark) for entry in environment.split(b"\0")):
                found.append(identity_of(pid))
    return [identity for identity in found if identity is not None]


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def memory_bytes(pid: int) -> int:
    """What a process uses of memory, as proportional set size: pages that several share count in parts. 0: it ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The command is in parentheses and may hold spaces and parentheses itself.
    return text.rpartition(")")[2].split()


def _started(stat: list[str]) -> float:
    return int(stat[_STARTED]) / _TICKS_PER_SECOND


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc"):
        if name.isdecimal() and (stat := _stat(int(name))):
            yield int(name), stat
