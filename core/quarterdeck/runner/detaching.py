"""`up` in the background: started in a session of its own and waited for, and ended from anywhere."""

from __future__ import annotations

import contextlib
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from quarterdeck.errors import QuarterdeckError, RefusedError, UsageError
from quarterdeck.runner.children import last_lines
from quarterdeck.runner.supervision import (
    Health,
    Supervised,
    Supervision,
    already_supervised,
    only_one,
    read_supervision,
    supervising_pid,
)
from quarterdeck.runner.supervisor import STOP_SECONDS, end_orphans

LOOK_SECONDS = 0.1
ANSWER_SECONDS = 2.0
STOP_PATIENCE_SECONDS = 3 * STOP_SECONDS
LOG = "up.log"
WORKS = (Health.HEALTHY, Health.STANDBY)


def start_detached(root: Path, folder: Path, seconds: float) -> Supervision:
    """Start `up` in the background, and return once the gateway answers and the runner has its lease.

    Raises:
        RefusedError, UsageError: it cannot run on this workspace; the message says why.
        QuarterdeckError: not everything worked within `seconds`. Nothing is left running.
    """
    if (pid := supervising_pid(folder)) is not None:
        raise already_supervised(pid)
    log = folder / "logs" / LOG
    log.parent.mkdir(exist_ok=True)
    begins = log.stat().st_size if log.exists() else 0
    process = _start(root, log)
    try:
        return _wait(process, folder, log, begins, seconds)
    except BaseException:
        # Also when whoever waits is told to stop: what nobody was told of does not stay behind.
        _end(process, folder)
        raise


def stop_running(folder: Path, seconds: float = STOP_PATIENCE_SECONDS) -> int | None:
    """End the `up` of a workspace, whoever started it, and wait for it; its process, or None when none ran.

    What an `up` that was killed has left running is ended too.

    Raises:
        QuarterdeckError: it did not end within `seconds`.
        UsageError: it is another user's.
    """
    deadline = time.monotonic() + seconds
    told: int | None = None
    while time.monotonic() < deadline:
        pid = supervising_pid(folder)
        if pid is None:
            with contextlib.suppress(RefusedError), only_one(folder):
                end_orphans(folder)
                return told
        elif pid != told:
            _ask_to_stop(pid)
            told = pid
        time.sleep(LOOK_SECONDS)
    raise QuarterdeckError(
        f"`quarterdeck up` (process {told}) did not end within {seconds:g} s. Its log, {folder / 'logs' / LOG}, may "
        f"say why; `kill -9 {told}` and then `quarterdeck up --stop` end it and what it runs."
    )


def _start(root: Path, log: Path) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-P", "-m", "quarterdeck", "up", "--workspace", str(root), "--log", str(log)]
    # The end of the terminal is the end of the session that it was started from, not of this one.
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with log.open("ab") as output:
            return subprocess.Popen(
                program, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=root, start_new_session=True
            )
    finally:
        signal.signal(signal.SIGHUP, before)


def _wait(process: subprocess.Popen[bytes], folder: Path, log: Path, begins: int, seconds: float) -> Supervision:
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        supervision = read_supervision(folder)
        mine = supervision if supervision is not None and supervision.supervisor.pid == process.pid else None
        late = mine.processes if mine is not None else ()
        late = tuple(one for one in late if one.health not in WORKS)
        if mine is not None and mine.alive and mine.processes and not late and _answers(mine.url):
            return mine
        if time.monotonic() > deadline:
            raise QuarterdeckError(_too_late(late, folder / "logs", log, seconds))
        time.sleep(LOOK_SECONDS)
    said = "\n".join(last_lines(log, begins)) or f"exit status {process.returncode}"
    kind = {2: UsageError, 3: RefusedError}.get(process.returncode, QuarterdeckError)
    raise kind(f"`quarterdeck up` ended at once. The end of its log, {log}:\n{said}")


def _answers(url: str) -> bool:
    # This machine asks itself, by an address: no proxy, and no certificate names it. What is asked is no secret.
    trusting = urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trusting)
    try:
        with opener.open(f"{url}/v2/health/live", timeout=ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _too_late(late: tuple[Supervised, ...], logs: Path, log: Path, seconds: float) -> str:
    parts = [f"Not everything worked within {seconds:g} s, so all of it was ended again."]
    for one in late:
        end = f", {one.last_end} {one.restarts + 1} times" if one.last_end else ""
        file = logs / f"{one.name}.log"
        parts.append("\n".join([f"{one.name} is {one.health}{end}. The end of its log, {file}:", *last_lines(file)]))
    if not late:
        parts.append("\n".join([f"The gateway does not answer. The end of the log, {log}:", *last_lines(log)]))
    return "\n".join(parts)


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    # Nothing is left of it but what a kill left; if another `up` has begun meanwhile, that sees to it.
    with contextlib.suppress(RefusedError), only_one(folder):
        end_orphans(folder)


def _ask_to_stop(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)  # One that is stopped would hear of it only later.
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise UsageError(f"`quarterdeck up` (process {pid}) is another user's. Stop it as that user.") from error
