"""Twenty processes write to one workspace at once, each one transaction of ten milliseconds after the other."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contenders import SETTINGS
from bench.engine import ENVIRONMENT, make_workspace
from bench.peers import forgiving
from bench.rows import Budget, Row, percentile

WRITERS = 20
SECONDS = 10.0
PATIENCE_SECONDS = 60.0
"""For the imports of twenty processes, and for a last transaction that waits for its turn."""
TABLE = "CREATE TABLE bench_counter (value INTEGER NOT NULL); INSERT INTO bench_counter VALUES (0);"
# Both read a number, hold the transaction for ten milliseconds, and write the next number.
COMMON = """\
import json, sqlite3, sys, time
from pathlib import Path

READ, WRITE = "SELECT value FROM bench_counter", "UPDATE bench_counter SET value = ?"


def work(execute, turns):
    turns.append(time.perf_counter())
    (value,) = execute(READ).fetchone()
    time.sleep(0.01)
    execute(WRITE, (value + 1,))


def measure(transact, locked, seconds):
    print("ready", flush=True)
    sys.stdin.readline()
    waits, holds, refused = [], [], []
    until = time.perf_counter() + seconds
    while (asked := time.perf_counter()) < until:
        turns = []
        try:
            transact(turns)
        except locked as error:
            refused.append([time.perf_counter() - asked, str(error)])
            continue
        waits.append(turns[0] - asked)
        holds.append(time.perf_counter() - turns[0])
    # Nobody leaves before all are done: an interpreter that ends takes the processor from those who still write.
    print("done", flush=True)
    sys.stdin.readline()
    print(json.dumps({"waits": waits, "holds": holds, "refused": refused}), flush=True)


"""
OURS = (
    COMMON
    + """\
from quarterdeck.bootstrap import open_workspace
from quarterdeck.errors import BusyError

workspace = open_workspace(Path(sys.argv[1]), actor="bench")


def transact(turns):
    with workspace.state.write("count") as tx:
        work(tx.connection().exec_driver_sql, turns)


measure(transact, BusyError, float(sys.argv[2]))
"""
)
PLAIN = (
    COMMON
    + """\
connection = sqlite3.connect(sys.argv[1], timeout=5, isolation_level=None)
connection.execute("PRAGMA synchronous=FULL")


def transact(turns):
    connection.execute("BEGIN IMMEDIATE")
    try:
        work(connection.execute, turns)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


measure(transact, sqlite3.OperationalError, float(sys.argv[2]))
"""
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What twenty writers saw. Times are in milliseconds."""

    commits: list[float]
    """From asking for the transaction to its commit."""
    holds: list[float]
    """From having the turn to the commit."""
    refusals: list[float]
    """How long those waited that were refused."""
    lost: int
    """Commits that are not in the counter."""
    most: int
    """Commits of the writer that had most turns."""
    fewest: int

    @property
    def answers(self) -> list[float]:
        """Every wait, whether it ended in a commit or in a refusal."""
        return [*self.commits, *self.refusals]


def measure() -> list[Row]:
    """Ours, then plain sqlite3 with its busy handler."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as name:
        folder = Path(name)
        workspace = make_workspace(folder / "ours", SETTINGS)
        workspace.close()
        ours = run(OURS, folder / "ours", workspace.state.path)
        theirs: Outcome | None = None
        with forgiving("sqlite3") as attempt:
            theirs = run(PLAIN, folder / "plain.db", folder / "plain.db")
    return report(ours, theirs, attempt.why_not)


def run(script: str, place: Path, database: Path, seconds: float = SECONDS) -> Outcome:
    """Start the writers, let them go at once, and add up what they saw."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(TABLE)
    command = [sys.executable, "-c", script, str(place), str(seconds)]
    writers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT)
        for _ in range(WRITERS)
    ]
    try:
        for word, answer in ((b"ready\n", b"go\n"), (b"done\n", b"tell\n")):
            _converse(writers, word, answer)
        said = [writer.communicate(timeout=seconds + PATIENCE_SECONDS)[0] for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    with closing(sqlite3.connect(database)) as connection:
        (counted,) = connection.execute("SELECT value FROM bench_counter").fetchone()
    return outcome_of([json.loads(text) for text in said], counted)


def _converse(writers: Sequence[subprocess.Popen[bytes]], word: bytes, answer: bytes) -> None:
    """Wait until every writer has said `word`, and answer all of them."""
    for writer in writers:
        if writer.stdout is None or writer.stdout.readline() != word:
            raise RuntimeError(f"a writer ended before it was {word.decode().strip()}")
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(answer)
        writer.stdin.flush()


def outcome_of(said: Sequence[dict[str, Any]], counted: int) -> Outcome:
    """From what each writer printed and what the counter says in the end."""
    pairs = [pair for one in said for pair in zip(one["waits"], one["holds"], strict=True)]
    turns = [len(one["waits"]) for one in said]
    return Outcome(
        commits=[(wait + hold) * 1000 for wait, hold in pairs],
        holds=[hold * 1000 for _, hold in pairs],
        refusals=[seconds * 1000 for one in said for seconds, _ in one["refused"]],
        lost=len(pairs) - counted,
        most=max(turns),
        fewest=min(turns),
    )


def report(ours: Outcome, theirs: Outcome | None, why_not: str = "") -> list[Row]:
    """The rows; plain sqlite3 beside each."""
    peer = None if theirs is None else f"sqlite {sqlite3.sqlite_version}, timeout=5"
    nothing = Budget("at most", 0)

    def row(case: str, unit: str, values: Sequence[float | None], budget: Budget | None = None, note: str = "") -> Row:
        mine, other = values
        return Row("writers", case, mine, unit, budget, peer, other, "; ".join(filter(None, (note, why_not))))

    both = (ours, theirs)
    turns = f"{len(ours.commits)} commits, {ours.fewest} to {ours.most} by writer"
    if theirs is not None:
        turns += f"; the peer's {len(theirs.commits)}, {theirs.fewest} to {theirs.most}"
    waits = "a fair queue of 20 x 10 ms makes each wait about 200 ms"
    slowest = [None if one is None else max(one.answers) for one in both]
    return [
        row("asked to committed p50", "ms", _percentiles(both, 0.5), note=turns),
        row("asked to committed p99", "ms", _percentiles(both, 0.99), Budget("under", 300.0), waits),
        row("asked to committed, slowest", "ms", slowest),
        row("turn to committed p99", "ms", [None if one is None else percentile(one.holds, 0.99) for one in both]),
        row("refused as locked", "", [None if one is None else len(one.refusals) for one in both], nothing),
        row("lost updates", "", [None if one is None else one.lost for one in both], nothing),
    ]


def _percentiles(both: Sequence[Outcome | None], share: float) -> list[float | None]:
    return [None if one is None else percentile(one.answers, share) for one in both]
