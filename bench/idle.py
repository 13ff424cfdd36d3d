"""What a runner, a gateway worker and the console use while nothing happens."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench import contenders
from bench.contenders import SETTINGS
from bench.deck import DEPLOYMENT, QUARTERDECK, running_deck
from bench.engine import SETTLE_SECONDS, START_SECONDS, make_workspace, running_runner
from bench.peers import forgiving, install, name_with_version
from bench.processes import cpu_of_family, family, is_at_rest, pss_of_family, started, wait_for, wait_for_word
from bench.rows import Budget, Row
from bench.start import FASTEST
from bench.terminal import Terminal

WATCH_SECONDS = 20.0
PAINT_SECONDS = 30.0
MEGABYTE = 1e6
ALONE = """\
import time
from apscheduler.schedulers.background import BackgroundScheduler
scheduler = BackgroundScheduler()
for number in range(4):
    scheduler.add_job(print, "interval", hours=1 + number)
scheduler.start()
print("ready", flush=True)
while True:
    time.sleep(3600)
"""


@dataclass(frozen=True, slots=True)
class Use:
    """Of a process and all that descend from it."""

    cpu_percent: float
    """Of one core."""
    megabytes: float
    """Proportional set sizes."""
    processes: int


def measure() -> list[Row]:
    """The runner by itself, peers beside it at the same time; then a deck with a model, and the console on it."""
    runner, peers, why_not = watch_runner()
    return [*report_runner(runner, peers, why_not), *report_deck(*weigh_deck())]


def watch_runner() -> tuple[Use, dict[str, Use], list[str]]:
    """Our runner with its fork server and the peers, in the same seconds; and why peers are missing."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        workspace = make_workspace(folder / "ours", SETTINGS)
        stack.callback(workspace.close)
        runner = stack.enter_context(running_runner(workspace))
        pids, why_not = start_peers(folder, stack)
        for pid in pids.values():
            wait_for(lambda pid=pid: is_at_rest(pid), SETTLE_SECONDS, "a peer at rest")  # type: ignore[misc]
        used = watch({"runner": runner.pid, **pids})
    return used.pop("runner"), used, why_not


def start_peers(folder: Path, stack: ExitStack) -> tuple[dict[str, int], list[str]]:
    """huey's consumer twice and APScheduler alone: process numbers by name, and why some are missing."""
    pids: dict[str, int] = {}
    huey = install("huey", "3.5", program="huey_consumer", beside=contenders.requirements())
    why_not = [huey.why_not] if huey.program is None else []
    for options in ([], FASTEST) if huey.program is not None else ():
        with forgiving("huey") as attempt:
            consumer = contenders.huey_consumer(huey, folder / f"huey{len(options)}", options)
            pids[" ".join((huey.name, *options))] = stack.enter_context(consumer).pid
        why_not += [attempt.why_not] if attempt.why_not else []
    name, log = name_with_version("apscheduler"), folder / "apscheduler.log"
    with forgiving(name) as attempt:
        process = stack.enter_context(started([sys.executable, "-c", ALONE], log))
        wait_for_word(process, log, "ready", START_SECONDS)
        pids[name] = process.pid
    return pids, [*why_not, attempt.why_not] if attempt.why_not else why_not


def watch(pids: Mapping[str, int], seconds: float = WATCH_SECONDS) -> dict[str, Use]:
    """What each of them used within `seconds`, together with its descendants."""
    before = {name: cpu_of_family(pid) for name, pid in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    used: dict[str, Use] = {}
    for name, pid in pids.items():
        after, elapsed = cpu_of_family(pid), time.monotonic() - began
        spent = sum(value - before[name].get(member, 0.0) for member, value in after.items())
        used[name] = Use(100 * spent / elapsed, pss_of_family(pid) / MEGABYTE, len(after))
    return used


def weigh_deck() -> tuple[Use, Use]:
    """A gateway worker with a scikit-learn model, and the console, both of a deck that runs and gets no traffic."""
    with running_deck(workers=1) as deck:
        gateway = gateway_of(deck.pid)
        with Terminal([QUARTERDECK], cwd=str(deck.workspace.root)) as terminal:
            if terminal.until(lambda words: DEPLOYMENT in words and "verified" in words, PAINT_SECONDS) is None:
                raise RuntimeError("the console does not show the deployment")
            terminal.listen(2.0)  # What it does after the first paint.
            used = watch({"gateway": gateway, "console": terminal.pid}, 5.0)
    return used["gateway"], used["console"]


def gateway_of(pid: int) -> int:
    """The one gateway worker among the descendants of `quarterdeck up`."""
    for member in family(pid):
        words = Path(f"/proc/{member}/cmdline").read_bytes().split(b"\0")
        if b"gateway" in words:
            return member
    raise RuntimeError("no gateway worker runs")


def report_runner(runner: Use, peers: Mapping[str, Use], why_not: Sequence[str]) -> list[Row]:
    """The rows of the runner, with each peer in rows of its own."""
    note = "; ".join((f"{runner.processes} processes, watched for {WATCH_SECONDS:g} s", *why_not))
    cpu, memory = Budget("under", 1.0), Budget("under", 350.0)
    rows = [
        Row("idle", "runner with its fork server, CPU", runner.cpu_percent, "%", cpu, note=note),
        Row("idle", "runner with its fork server, PSS", runner.megabytes, "MB", memory),
    ]
    for name, use in peers.items():
        note = f"{use.processes} processes of the peer"
        shared = "its two consumers here share pages: each alone holds more" if name.startswith("huey") else ""
        beside = f"runner with its fork server, beside {name}"
        rows.append(Row("idle", f"{beside}, CPU", runner.cpu_percent, "%", None, name, use.cpu_percent, note))
        rows.append(Row("idle", f"{beside}, PSS", runner.megabytes, "MB", None, name, use.megabytes, shared))
    return rows


def report_deck(gateway: Use, console: Use) -> list[Row]:
    """The rows of the gateway and the console."""
    return [
        Row("idle", "gateway worker with a scikit-learn model, PSS", gateway.megabytes, "MB", Budget("under", 450.0)),
        Row("idle", "gateway worker with a scikit-learn model, CPU", gateway.cpu_percent, "%", note="5 s, no traffic"),
        Row("idle", "console, PSS", console.megabytes, "MB", Budget("under", 150.0)),
    ]
