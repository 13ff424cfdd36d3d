"""How long from the commit that queues a job to the first line of its code, with what training code imports loaded."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import contenders
from bench.contenders import Contender, stamp_of
from bench.peers import forgiving, install
from bench.rows import Row, percentile

TIMES = 20
MEASURE_SECONDS = 55.0
"""On a busy machine there are fewer than twenty rounds; the note says how many."""
PATIENCE_SECONDS = 30.0
BETWEEN_SECONDS = 0.15
"""Until what a job does after its last line is over, so that it does not slow the next one down."""
FASTEST = ["-d", "0.01", "-m", "0.01"]


def measure() -> list[Row]:
    """Ours, a process for each job, huey as it comes and as fast as it goes, and procrastinate, in turns."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        mine = stack.enter_context(contenders.ours(folder / "ours"))
        others, why_not = start_peers(folder, stack)
        return report(take_turns(mine, [contenders.cold(), *others], folder), why_not)


def start_peers(folder: Path, stack: ExitStack) -> tuple[list[Contender], list[str]]:
    """Those that could be started, and for the others why not."""
    ready: list[Contender] = []
    huey = install("huey", "3.5", program="huey_consumer", beside=contenders.requirements())
    pg = ["psycopg[binary]", contenders.POSTGRES, *contenders.requirements()]
    procrastinate = install("procrastinate", "3.10", beside=pg)
    why_not = [peer.why_not for peer in (huey, procrastinate) if peer.program is None]
    lives = "its two worker processes live on and poll"
    starts = []
    if huey.program is not None:
        slow = contenders.huey(huey, folder / "huey", [], f"{lives}: every 0.1 s at first, 10 s at last")
        fast = contenders.huey(huey, folder / "huey-fast", FASTEST, f"{lives} every 10 ms")
        starts += [("huey", slow), ("huey", fast)]
    if procrastinate.program is not None:
        starts.append(("procrastinate", contenders.procrastinate(procrastinate, folder / "procrastinate")))
    for name, start in starts:
        with forgiving(name) as attempt:
            ready.append(stack.enter_context(start))
        why_not += [attempt.why_not] if attempt.why_not else []
    return ready, why_not


def take_turns(mine: Contender, others: Sequence[Contender], folder: Path) -> dict[Contender, list[float | None]]:
    """Milliseconds of each start; a round that does not count comes first. None for a peer's that failed."""
    times: dict[Contender, list[float | None]] = {one: [] for one in (mine, *others)}
    deadline = time.monotonic() + MEASURE_SECONDS
    for number in range(TIMES + 1):
        if time.monotonic() > deadline:
            break
        for place, (one, found) in enumerate(times.items()):
            path, took = folder / f"stamp-{number}-{place}", None
            if one is mine:
                took = once(one, path)
            elif None not in found:  # One that failed has no more turns.
                with forgiving(one.name):
                    took = once(one, path)
            if number:
                found.append(took)
    return times


def once(one: Contender, path: Path) -> float:
    """Milliseconds from the commit to the task's first line."""
    queued = one.queue(path)
    took = (stamp_of(path, PATIENCE_SECONDS) - queued) * 1000
    time.sleep(BETWEEN_SECONDS)
    return took


def report(times: dict[Contender, list[float | None]], why_not: Sequence[str]) -> list[Row]:
    """The rows: ours beside each of the others. The first of `times` is ours."""
    (_, mine), *others = times.items()
    rounds = [value for value in mine if value is not None]
    rows = []
    for one, found in others:
        known = [value for value in found if value is not None]
        failed = [] if len(known) == len(found) else ["it failed, and had no more turns"]
        for share in (0.5, 0.95):
            note = "; ".join((f"{len(rounds)} starts", one.note, *failed, *why_not))
            theirs = percentile(known, share) if known and not failed else None
            case = f"commit to first line p{share * 100:.0f}, beside {one.name}"
            rows.append(Row("start", case, percentile(rounds, share), "ms", None, one.name, theirs, note))
    return rows
