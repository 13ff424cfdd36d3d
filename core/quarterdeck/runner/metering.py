"""What processes use: memory as proportional set size, processor time as seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from quarterdeck.processes import group_members


@dataclass(frozen=True, slots=True)
class Usage:
    """Of several processes together."""

    memory_bytes: int
    """Pages that several of them share count once."""
    cpu_seconds: float
    """Of those that live, and of the children that they waited for."""


def usage_of_group(group: tuple[int, float, str]) -> Usage:
    """What the living members of a recorded process group use, and all below them."""
    return usage_of(group_members(*group, below=True))


def usage_of(pids: Iterable[int]) -> Usage:
    """What these processes use; those that have ended count nothing."""
    memory, seconds = 0, 0.0
    for pid in pids:
        try:
            process = psutil.Process(pid)
            memory += process.memory_full_info().pss
            seconds += sum(process.cpu_times()[:4])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return Usage(memory, seconds)
