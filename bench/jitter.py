"""A thousand schedules: how late their ticks are when they are spread out, and when all are due at once."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlmodel import col, select

from bench.engine import ENVIRONMENT, make_workspace, running_runner
from bench.peers import forgiving, name_with_version
from bench.rows import RATE, Budget, Row, percentile
from quarterdeck.database import ChangeWatch
from quarterdeck.pipelines import scheduling
from quarterdeck.pipelines.schedule import Schedule
from quarterdeck.runner.job import Job
from quarterdeck.workspace import Workspace

SCHEDULES = 1000
INTERVAL = timedelta(seconds=10)
SPREAD_SECONDS, BURST_SECONDS = 12.0, 14.0
"""The second one holds two bursts."""
LEAD = timedelta(seconds=4)
"""That all schedules were edited is not what is measured."""
LATEST_SECONDS = 6.0
"""How long after the end to wait for what was due."""
PEER_SECONDS = 60.0
SETTINGS = """\
[workspace]
name = "bench"
[pools.held]
slots = 0
[pipelines.held]
pool = "held"
"""
SCHEDULE = """\
[schedules.s{number:04}]
pipeline = "held"
every = "10s"
overlap = "queue"
misfire = "skip"
"""
# The same triggers in APScheduler alone. Nothing is left out: a tick may be as late as it likes.
ALONE = """\
import json, sys, time
from datetime import UTC, datetime, timedelta
from apscheduler.schedulers.background import BackgroundScheduler

store, step, lead, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
fired = []


def fire(number):
    fired.append((number, time.time()))


scheduler = BackgroundScheduler(timezone=UTC)
if store != "memory":
    scheduler.add_jobstore("sqlalchemy", url="sqlite:///" + store)
scheduler.start()
first = datetime.now(UTC) + timedelta(seconds=lead)
for number in range(1000):
    due = first + timedelta(seconds=step * number)
    scheduler.add_job(fire, "interval", [number], seconds=10, start_date=due, misfire_grace_time=None)
if datetime.now(UTC) > first:
    sys.exit("the thousand schedules were not added in time")
time.sleep((first - datetime.now(UTC)).total_seconds())
ends = first + timedelta(seconds=seconds)
while datetime.now(UTC) < ends and len(fired) < 1000:
    time.sleep(0.05)
begin, found = first.timestamp(), {}
for number, at in fired:
    found.setdefault(number, at - begin - step * number)
print(json.dumps(list(found.values())))
"""


@dataclass(frozen=True, slots=True)
class Tick:
    """One job of a schedule. Seconds after the moment for which that schedule fired."""

    due: datetime
    created: float
    """When its row was made."""
    seen: float
    """When another process could read it, to some five milliseconds."""


def measure() -> list[Row]:
    """Both cases in one runner; then APScheduler alone, in memory and with its store on SQLite."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as name:
        folder = Path(name)
        settings = SETTINGS + "".join(SCHEDULE.format(number=number) for number in range(SCHEDULES))
        workspace = make_workspace(folder / "ours", settings)
        scheduling.synchronise(workspace)
        try:
            with running_runner(workspace, at_rest=False):
                spread = watch(workspace, INTERVAL / SCHEDULES, SPREAD_SECONDS)
                burst = watch(workspace, timedelta(0), BURST_SECONDS)
        finally:
            workspace.close()
        peers, why_not = alone(folder)
    return [*report_spread(spread, peers, why_not), *report_burst(burst, peers)]


def watch(workspace: Workspace, step: timedelta, seconds: float) -> tuple[list[Tick], int]:
    """Let the schedules be due `step` after each other; the ticks of `seconds`, and how many there should be."""
    first = workspace.now() + LEAD
    anchor(workspace, first, step)
    end = first + timedelta(seconds=seconds)
    expected = sum(1 for _ in moments(first, step, end))
    with closing(sqlite3.connect(workspace.state.path)) as connection:
        seen = look_on(connection, workspace.state.path, first, end, expected)
    with workspace.state.read() as tx:
        jobs = list(tx.exec(select(Job).where(col(Job.tick) >= first, col(Job.tick) < end).order_by(col(Job.id))))
    ticks = [tick_of(job, seen) for job in jobs]
    return ticks, expected


def anchor(workspace: Workspace, first: datetime, step: timedelta) -> None:
    """Let each schedule be due `step` after the one before, the first at `first`."""
    with workspace.state.write("anchor") as tx:
        for number, row in enumerate(tx.exec(select(Schedule).where(Schedule.target == "held").order_by("name"))):
            row.anchor = first + number * step - INTERVAL
        workspace.record(tx, "schedule.changed", "schedule/bench")


def moments(first: datetime, step: timedelta, end: datetime) -> Iterator[datetime]:
    """When ticks are due before `end`."""
    for number in range(SCHEDULES):
        moment = first + number * step
        while moment < end:
            yield moment
            moment += INTERVAL


def look_on(
    connection: sqlite3.Connection, path: Path, first: datetime, end: datetime, expected: int
) -> list[tuple[int, datetime]]:
    """The highest number of a job after each commit, with the moment at which that was seen."""
    changes, seen = ChangeWatch(path), list[tuple[int, datetime]]()
    due = "SELECT count(*) FROM job WHERE tick >= ? AND tick < ?"
    window = [f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" for moment in (first, end)]
    try:
        while (now := datetime.now(UTC)) < end + timedelta(seconds=LATEST_SECONDS):
            if changes.changed():
                (newest,) = connection.execute("SELECT max(id) FROM job").fetchone()
                seen.append((newest or 0, datetime.now(UTC)))
            elif now > end and connection.execute(due, window).fetchone()[0] >= expected:
                break
            time.sleep(0.005)
    finally:
        changes.close()
    return seen


def tick_of(job: Job, seen: Sequence[tuple[int, datetime]]) -> Tick:
    """A job's lateness; one that was never seen is as late as the end."""
    assert job.tick is not None
    assert job.id is not None
    when = next((moment for newest, moment in seen if newest >= job.id), seen[-1][1])
    return Tick(job.tick, (job.created_at - job.tick).total_seconds(), (when - job.tick).total_seconds())


def alone(folder: Path) -> tuple[dict[tuple[str, str], list[float]], list[str]]:
    """Seconds by which APScheduler alone is late, by store and case; and what went wrong."""
    late: dict[tuple[str, str], list[float]] = {}
    why_not: list[str] = []
    for case, step, seconds in (("spread", INTERVAL / SCHEDULES, 5.0), ("burst", timedelta(0), 9.0)):
        for store, place, lead in (("memory", "memory", 1.5), ("SQLite", str(folder / f"{case}.db"), 8.0)):
            with forgiving("apscheduler") as attempt:
                figures = [str(step.total_seconds()), str(lead), str(seconds)]
                late[store, case] = run_alone(place, *figures)
            why_not += [f"{store}, {case}: {attempt.why_not}"] if attempt.why_not else []
    return late, why_not


def run_alone(*arguments: str) -> list[float]:
    """Seconds by which each tick of APScheduler alone was late."""
    command = [sys.executable, "-c", ALONE, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT, timeout=PEER_SECONDS)
    late: list[float] = json.loads(done.stdout)
    return late


Measured = tuple[list[Tick], int]
Peers = dict[tuple[str, str], list[float]]
SECOND = Budget("under", 1000.0)


def report_spread(measured: Measured, peers: Peers, why_not: Sequence[str] = ()) -> list[Row]:
    """A tick every 10 ms."""
    ticks, expected = measured
    case = f"{SCHEDULES} spread over {INTERVAL.total_seconds():g} s"
    created, seen = [tick.created for tick in ticks], [tick.seen for tick in ticks]
    return [
        complete(case, ticks, expected),
        late(f"{case}, late p50", created, 0.5),
        late(f"{case}, late p99", created, 0.99, SECOND),
        late(f"{case}, committed p99", seen, 0.99, SECOND, note="as another process sees it"),
        *(
            late(
                f"{case}, late p{share * 100:.0f}, {in_store(store)}",
                created,
                share,
                None,
                peers.get((store, "spread")),
            )
            for store in ("memory", "SQLite")
            for share in (0.5, 0.99)
        ),
        *(Row("jitter", f"{case}, peers", None, "", note=text) for text in why_not),
    ]


def report_burst(measured: Measured, peers: Peers) -> list[Row]:
    """All in the same moment."""
    ticks, expected = measured
    case = f"{SCHEDULES} at once"
    created = [tick.created for tick in ticks]
    bursts = sorted({tick.due for tick in ticks})
    slowest = [max(tick.seen for tick in ticks if tick.due == due) for due in bursts]
    rate = SCHEDULES / median(slowest) if slowest else None
    rows = [complete(case, ticks, expected), late(f"{case}, late p99", created, 0.99, SECOND)]
    rows.append(Row("jitter", f"{case}, fired", rate, RATE, note=f"{len(bursts)} bursts, until the last is committed"))
    for store in ("memory", "SQLite"):
        theirs = peers.get((store, "burst"))
        others = len(theirs) / max(theirs) if theirs else None
        rows.append(late(f"{case}, late p99, {in_store(store)}", created, 0.99, None, theirs))
        rows.append(Row("jitter", f"{case}, fired, {in_store(store)}", rate, RATE, None, peer_name(), others))
    return rows


def in_store(store: str) -> str:
    """What the peer is, in a row's case."""
    return f"beside APScheduler's jobs in {store}"


def peer_name() -> str:
    return name_with_version("apscheduler")


def complete(case: str, ticks: Sequence[Tick], expected: int) -> Row:
    """Whether every tick that was due is there, once."""
    wrong = Budget("at most", 0)
    note = f"{len(ticks)} of {expected} ticks"
    return Row("jitter", f"{case}, missing or too many", abs(expected - len(ticks)), "", wrong, note=note)


def late(
    case: str,
    ours: Sequence[float],
    share: float,
    budget: Budget | None = None,
    theirs: Sequence[float] | None = None,
    note: str = "",
) -> Row:
    """One percentile of lateness; None when nothing came."""
    mine = percentile(ours, share) * 1000 if ours else None
    other = percentile(theirs, share) * 1000 if theirs else None
    note = f"the peer's {len(theirs)} ticks" if theirs else note
    return Row("jitter", case, mine, "ms", budget, peer_name() if theirs else None, other, note)
