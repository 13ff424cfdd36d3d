"""Processes that a benchmark starts, what the kernel says that they use, and that they end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

QUIET_SHARE = 0.1
STOP_SECONDS = 15.0


@contextmanager
def started(
    command: Sequence[str],
    log: Path,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the time of the block, in a group of its own, which ends with it. It writes to `log`."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, cwd=folder, env=environment, user=user, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process, stop)


def _end(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    try:
        process.send_signal(stop)
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    finally:
        # What it started and did not end. The number is not given to others while a member lives.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], seconds: float, what: str, every: float = 0.1) -> None:
    """Look every `every` seconds whether it is so.

    Raises:
        RuntimeError: it was not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:g} s")
        time.sleep(every)


def wait_for_word(process: subprocess.Popen[bytes], log: Path, word: str, seconds: float) -> None:
    """Wait until the process has written `word`.

    Raises:
        RuntimeError: it ended, with the end of what it said; or it did not say that within `seconds`.
    """

    def said() -> bool:
        text = log.read_text(encoding="utf-8", errors="replace")
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}: {' '.join(text.split()[-30:])}")
        return word in text

    wait_for(said, seconds, f"'{word}' in {log.name}")


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_bytes(pid: int) -> int:
    """Proportional set size: pages that several processes share count in parts."""
    return field_of_smaps(Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii", errors="replace"), "Pss")


def field_of_smaps(text: str, name: str) -> int:
    """A size from /proc/PID/smaps_rollup, in bytes.

    Raises:
        ValueError: there is no such field.
    """
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0]) * 1024
    raise ValueError(f"no field {name} in smaps_rollup")


def family(pid: int) -> list[int]:
    """A process and all that descend from it and live."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [pid, *(member for child in children for member in family(int(child)))]


def cpu_of_family(pid: int) -> dict[int, float]:
    """CPU seconds by process, of a process and its descendants."""
    seconds: dict[int, float] = {}
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            seconds[member] = cpu_seconds(member)
    return seconds


def pss_of_family(pid: int) -> int:
    """Proportional set sizes of a process and its descendants."""
    total = 0
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            total += pss_bytes(member)
    return total


def is_at_rest(pid: int) -> bool:
    """Whether the process and its descendants use little, watched for a second."""
    before = cpu_of_family(pid)
    time.sleep(1.0)
    after = cpu_of_family(pid)
    return before.keys() == after.keys() and sum(after.values()) - sum(before.values()) < QUIET_SHARE
