"""Which process is meant: a pid alone is used again, so a process is named by pid, start and boot."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat, counted after the command's closing parenthesis (proc(5), fields 3, 5, 6 and 22).
_STATE, _GROUP, _SESSION, _STARTED = 0, 2, 3, 19


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


def group_members(pgid: int, started: float, boot: str) -> list[int]:
    """The living processes of the group that the process `pgid`, started at `started`, leads or led.

    The leader may be gone: as long as a member lives, the kernel gives the number to no other process or group.
    """
    if boot != boot_id() or pgid <= 1:
        return []
    leader = _stat(pgid)
    if leader and _started(leader) != started:
        return []  # The number belongs to another process now, so nothing is left of the old group.
    return [
        pid
        for pid, stat in _all_stats()
        if int(stat[_GROUP]) == pgid
        and int(stat[_SESSION]) == pgid
        and stat[_STATE] not in "ZX"
        and _started(stat) >= started
    ]


def kill_group(pgid: int, started: float, boot_id: str, *, by: signal.Signals = signal.SIGKILL) -> bool:
    """Send `by` to the group that was recorded as led by (`pgid`, `started`, `boot_id`); False when nothing lives.

    The group must be one of a session of its own (`setsid`): a number that was given away again is left alone.
    """
    if not group_members(pgid, started, boot_id):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pgid, by)
    return True


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
