"""A minute of everything that goes wrong on an ops box; `make soak MINUTES=60` for longer. Then: the books."""

from __future__ import annotations

import os
import random
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlmodel import col, select

from quarterdeck import bootstrap, events
from quarterdeck.errors import BusyError, DiskError
from quarterdeck.events import Event
from quarterdeck.monitoring.notice import Notice
from quarterdeck.pipelines import submission
from quarterdeck.pipelines.run import ENDED, Run, RunState, find_run
from quarterdeck.pipelines.schedule import Schedule
from quarterdeck.runner.job import Job, JobKind, JobState
from quarterdeck.runner.telling import note_event
from quarterdeck.workspace import Workspace
from tests.chaos import clock
from tests.chaos.monkey import Monkey, Runners, marked
from tests.chaos.pipelines import SETTINGS, SOURCE
from tests.integration.runner_harness import jobs
from tests.waiting import wait_for

SECONDS = float(os.environ.get("QUARTERDECK_SOAK_MINUTES", "0.8")) * 60
JOBS_A_MINUTE = 70
DRAIN_SECONDS = 240.0
OPEN_JOBS = frozenset({JobState.QUEUED, JobState.RUNNING})
END_EVENTS = ("run.succeeded", "run.failed", "run.lost", "run.cancelled", "run.held")
GOOD_ENDS = {
    "working": {RunState.SUCCEEDED, RunState.LOST, RunState.FAILED},
    "pooled": {RunState.SUCCEEDED, RunState.LOST, RunState.FAILED},
    "failing": {RunState.FAILED, RunState.LOST},
    "flaky": {RunState.FAILED, RunState.LOST},
    "hungry": {RunState.FAILED, RunState.LOST},
    "ticking": {RunState.SUCCEEDED, RunState.LOST, RunState.FAILED},
}


class Receiver(BaseHTTPRequestHandler):
    """A webhook that is out of order now and then."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if random.random() < 0.5 else 204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[tuple[Path, bool]]:
    """A folder on a disk of its own of 300 MB, and whether it is one: mounting needs privileges."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    yield folder, mounted.returncode == 0
    if mounted.returncode == 0:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.timeout(SECONDS + DRAIN_SECONDS + 120)
def test_the_books_are_right_after_everything_went_wrong(
    small_disk: tuple[Path, bool], tmp_path: Path, receiver: str
) -> None:
    folder, disk = small_disk
    (tmp_path / "seen").mkdir()
    (folder / "seen").symlink_to(tmp_path / "seen")
    root = folder / "deck"
    root.mkdir()
    (root / "quarterdeck.toml").write_text(SETTINGS.replace("RECEIVER", receiver))
    (root / "pipelines").mkdir()
    (root / "pipelines" / "chaos.py").write_text(SOURCE)
    workspace = bootstrap.create_workspace(root, ports=clock.ports(root), actor="tester")
    seed = random.randrange(10**6)
    print(f"seed {seed}, {'with' if disk else 'without'} a full disk")
    mark = f"{tmp_path}-{seed}"
    runners = Runners(workspace, mark)
    try:
        runners.keep()
        monkey = Monkey(workspace, runners, seed, disk=disk)
        asked = go_on(workspace, runners, monkey, random.Random(seed))
        print(f"{len(asked)} runs asked for; {dict(monkey.done)}")
        settle(workspace, runners)
        check_ends(workspace)
        check_ticks(workspace, "steady", timedelta(seconds=10))
        check_lines(workspace, tmp_path / "seen")
        assert not (tmp_path / "seen" / "overlaps").exists(), "two attempts at one run ran at once"
        with workspace.state.read() as tx:
            assert events.verify(tx) > 0
        assert runners.stop() == [0] * len(runners.processes)
        wait_for(lambda: not list(marked(mark)), seconds=20, what="the end of every process")
    finally:
        runners.kill()
        workspace.close()


def go_on(workspace: Workspace, runners: Runners, monkey: Monkey, draw: random.Random) -> list[int]:
    """Ask for work and break things, until the time is over; the runs that were asked for."""
    begun, asked, told = time.monotonic(), list[int](), 0
    troublemaker = threading.Thread(target=make_trouble, args=(monkey, runners, begun + SECONDS))
    ask(workspace, asked, draw)
    wait_for(lambda: any(job.state not in OPEN_JOBS for job in jobs(workspace)), seconds=90, what="a warm runner")
    troublemaker.start()
    while time.monotonic() - begun < SECONDS:
        due = (time.monotonic() - begun) / 60 * JOBS_A_MINUTE
        while len(asked) + told < due:
            if draw.random() < 0.2:
                told += tell(workspace, told)
            else:
                ask(workspace, asked, draw)
        time.sleep(0.2)
    troublemaker.join()
    return asked


def make_trouble(monkey: Monkey, runners: Runners, until: float) -> None:
    while time.monotonic() < until:
        monkey.act()
        runners.keep()
        time.sleep(2.0)


def ask(workspace: Workspace, asked: list[int], draw: random.Random) -> None:
    name = f"n{len(asked)}"
    pipeline = draw.choices(["working", "failing", "flaky", "hungry", "pooled"], [12, 2, 2, 1, 2])[0]
    step = {"working": "work", "failing": "fail", "flaky": "fail", "hungry": "eat"}.get(pipeline)
    parameters: dict[str, object] = {f"{step}.name": name} if step else {}
    if pipeline == "working":
        parameters["work.seconds"] = draw.choice([0.05, 0.3, 2.0])
    asked.append(patiently(lambda: submission.submit(workspace, pipeline, parameters)))


def tell(workspace: Workspace, number: int) -> int:
    def put() -> int:
        with workspace.state.write("chaos") as tx:
            note_event(tx, workspace, workspace.record(tx, "chaos.told", "chaos", {"number": number}))
        return 1

    return patiently(put)


def patiently(verb: Callable[[], int]) -> int:
    """A person whose verb was refused, because the lock was held or the disk was full, tries again."""
    while True:
        try:
            return verb()
        except (BusyError, DiskError):
            time.sleep(0.5)


def settle(workspace: Workspace, runners: Runners) -> None:
    """No more trouble, no more ticks: everything that was begun comes to its end."""
    text = (workspace.root / "quarterdeck.toml").read_text()
    quiet = re.sub(r'(every = "10s"|cron = "\* \* \* \* \*")', r"\1\npaused = true", text)
    quiet = re.sub(r'(compact|backup|vacuum|tidy) = "\d+s"', r"\1 = false", quiet)
    (workspace.root / "quarterdeck.toml").write_text(quiet)
    deadline = time.monotonic() + DRAIN_SECONDS
    # A job has ended a moment before its runner sees the last of its processes dead.
    while left := [
        (job.key, str(job.state), job.error)
        for job in jobs(workspace)
        if job.state in OPEN_JOBS or job.process_group is not None
    ] or untold(workspace):
        runners.keep()
        assert time.monotonic() < deadline, f"did not end: {left}"
        time.sleep(0.5)


def untold(workspace: Workspace) -> bool:
    """Whether something waits to be put into a message."""
    with workspace.state.read() as tx:
        return tx.exec(select(Notice.id).where(col(Notice.message).is_(None))).first() is not None


def check_ends(workspace: Workspace) -> None:
    """Each job ended once, as the rules say, and its run with it."""
    with workspace.state.read() as tx:
        found = tx.exec(select(Job)).all()
        for job in found:
            assert job.finished_at is not None, job.key
            assert job.process_group is None, f"{job.key}: its process group was never seen dead"
            if job.kind is JobKind.RUN:
                check_run(find_run(tx, int(job.payload["run"])), job)
        ends = Counter(event.subject for event in tx.exec(select(Event).where(col(Event.kind).in_(END_EVENTS))))
        again = Counter(
            event.subject
            for event in tx.exec(select(Event).where(Event.kind == "run.requeued"))
            if "after" in event.data
        )
        runs = tx.exec(select(Run)).all()
    assert len(runs) == sum(job.kind is JobKind.RUN for job in found)
    for run in runs:
        assert ends[run.reference] == 1 + again[run.reference], f"{run.reference} did not end exactly once"
    print(Counter((str(job.kind), str(job.state)) for job in found))


def check_run(run: Run, job: Job) -> None:
    assert run.state in ENDED, run.reference
    assert run.state in GOOD_ENDS[run.pipeline], f"{run.reference} of {run.pipeline} ended as {run.state}: {run.error}"
    if run.pipeline == "flaky" and run.state is RunState.FAILED and job.state is not JobState.LOST:
        assert (job.state, job.failures) == (JobState.DEAD, 2), run.reference
    if run.state is RunState.SUCCEEDED:
        assert job.state is JobState.SUCCEEDED, run.reference
    if run.state is RunState.LOST:
        assert job.state is JobState.LOST, run.reference


def check_ticks(workspace: Workspace, schedule: str, interval: timedelta) -> None:
    """No tick twice, and none left out, however the clock was set and whoever died."""
    with workspace.state.read() as tx:
        fired = sorted(job.tick for job in tx.exec(select(Job).where(Job.schedule == schedule)) if job.tick)
        anchor = tx.exec(select(Schedule).where(Schedule.name == schedule)).one().anchor
    assert fired[0].tzinfo is UTC
    assert len(set(fired)) == len(fired), "a tick fired twice"
    expected, moment = list[datetime](), fired[0]
    while moment <= fired[-1]:
        expected.append(moment)
        moment += interval
    assert fired == expected, "a tick was left out"
    assert (fired[0] - anchor) % interval == timedelta(0)
    print(f"{len(fired)} ticks of {schedule}")


def check_lines(workspace: Workspace, seen: Path) -> None:
    """Every line that was printed before a kill is in the log of its attempt."""
    logs = "\n".join(path.read_text(errors="replace") for path in (workspace.logs / "jobs").iterdir())
    printed = set(re.findall(r"line (\d+) of (n\d+) by (\d+)", logs))
    noted = {
        (number, path.stem, pid)
        for path in seen.glob("*.lines")
        for pid, number in (line.split() for line in path.read_text().splitlines())
    }
    assert noted, "nothing was printed"
    missing = noted - printed
    assert not missing, f"{len(missing)} of {len(noted)} lines are not in any log: {sorted(missing)[:3]}"
    print(f"{len(noted)} lines printed")
