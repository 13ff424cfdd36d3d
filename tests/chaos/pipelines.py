"""The pipelines of the chaos workspace. Written into it as text: what they do can be seen from outside, in files."""

SOURCE = '''\
"""Work that can be watched: each attempt notes that it began and ended, and holds a lock while it runs."""

import fcntl
import os
import sys
import time
from pathlib import Path

from quarterdeck.pipelines import pipeline, step

HERE = Path(__file__).parent.parent.parent / "seen"


def note(name, text):
    handle = os.open(HERE / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, f"{os.getpid()} {text}\\n".encode())
    os.close(handle)


def alone(name):
    """Two attempts at one run never overlap: the second would not get this lock."""
    handle = os.open(HERE / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("overlaps", name)
        raise


@step
def work(*, seconds: float = 0.2, name: str = "work"):
    """Prints numbered lines; each is noted only after it was printed, so a note without its line is a lost line."""
    alone(name)
    deadline, number = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        number += 1
        print(f"line {number} of {name} by {os.getpid()}")
        note(f"{name}.lines", number)
        time.sleep(0.005)
    return number


@step
def fail(*, name: str = "fail"):
    alone(name)
    raise RuntimeError("this always fails")


@step
def eat(*, name: str = "eat"):
    alone(name)
    block = bytearray(os.urandom(1 << 20) * 400)
    time.sleep(60)
    return len(block)


@step
def tick():
    return 1


@step
def pool():
    from joblib import Parallel, delayed

    return sum(Parallel(n_jobs=2)(delayed(abs)(-n) for n in range(4)))


working = pipeline("working", [work])
failing = pipeline("failing", [fail])
flaky = pipeline("flaky", [fail])
hungry = pipeline("hungry", [eat])
ticking = pipeline("ticking", [tick])
pooled = pipeline("pooled", [pool])
'''

SETTINGS = """\
[workspace]
name = "chaos"
[runner]
concurrency = 4
lease = "4s"
heartbeat = "1s"
[pipelines.flaky]
retries = 1
[pipelines.hungry]
memory = "250MB"
[schedules.steady]
pipeline = "ticking"
every = "10s"
misfire = "each"
overlap = "queue"
[schedules.watch]
pipeline = "ticking"
cron = "* * * * *"
misfire = "once"
[housekeeping]
compact = "20s"
backup = "30s"
vacuum = "45s"
tidy = "25s"
[disk]
stop_recording = "12MB"
stop_jobs = "8MB"
reserve = "12MB"
[[notifications.webhooks]]
url = "RECEIVER"
group_wait = "2s"
"""
