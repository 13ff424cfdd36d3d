"""The console in a pseudo-terminal: when it paints, when it shows data, and what it costs while nothing happens."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.deck import DEPLOYMENT, QUARTERDECK, running_deck
from bench.peers import install
from bench.processes import cpu_seconds
from bench.rows import Budget, Row, middle
from bench.terminal import Terminal

TIMES = 5
IDLE_SECONDS = 10.0
QUIET_SECONDS = 1.5
PATIENCE_SECONDS = 30.0
# A program with a blinking cursor never comes to rest.
REST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Program:
    """How to start a program, and how to see that it has painted, and that it shows what is in the database."""

    command: Sequence[str]
    painted: Callable[[str], bool]
    loaded: Callable[[str], bool]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Opening:
    """One start; None for what did not happen."""

    painted: float | None
    painted_cpu: float
    loaded: float | None
    loaded_cpu: float
    idle_bytes: float | None
    """A second."""
    idle_cpu: float | None
    """Share of a core."""


def measure() -> list[Row]:
    """Ours and harlequin in turns, on a deck that runs and gets no traffic."""
    peer = install("harlequin", "2.17")
    ours: list[Opening] = []
    theirs: list[Opening] = []
    with running_deck(workers=1) as deck, tempfile.TemporaryDirectory(prefix="quarterdeck-bench-home-") as home:
        root = deck.workspace.root
        console = Program(
            [QUARTERDECK],
            painted=lambda words: all(part in words for part in ("bench", "Deployments", "? help")),
            loaded=lambda words: DEPLOYMENT in words and "verified" in words,
            environment={},
        )
        # The first start of each writes byte code and warms the file cache: it is not counted.
        open_once(console, root, idle=False)
        if peer.program is not None:
            database = root / ".quarterdeck" / "state.db"
            harlequin = Program(
                [str(peer.program), "--adapter", "sqlite", "--read-only", "--no-write-history", str(database)],
                painted=lambda words: "Data Catalog" in words and "Query Editor" in words,
                loaded=lambda words: "main db" in words,
                environment={"HOME": home},
            )
            open_once(harlequin, root, idle=False)
        for _ in range(TIMES):
            ours.append(open_once(console, root))
            if peer.program is not None:
                theirs.append(open_once(harlequin, root))
    return report(ours, theirs, peer.name if theirs else None, peer.why_not)


def open_once(program: Program, folder: Path, *, idle: bool = True) -> Opening:
    """Start it, wait for the data, let it come to rest, and watch it doing nothing."""
    with Terminal(program.command, cwd=str(folder), environment=program.environment) as terminal:
        painted = terminal.until(program.painted, PATIENCE_SECONDS)
        painted_cpu = cpu_seconds(terminal.pid)
        loaded = painted if program.loaded(terminal.words) else terminal.until(program.loaded, PATIENCE_SECONDS)
        loaded_cpu = cpu_seconds(terminal.pid)
        if not idle or loaded is None:
            return Opening(painted, painted_cpu, loaded, loaded_cpu, None, None)
        terminal.until_quiet(QUIET_SECONDS, REST_SECONDS)
        before = cpu_seconds(terminal.pid)
        idle_bytes = terminal.listen(IDLE_SECONDS) / IDLE_SECONDS
        idle_cpu = (cpu_seconds(terminal.pid) - before) / IDLE_SECONDS
        return Opening(painted, painted_cpu, loaded, loaded_cpu, idle_bytes, idle_cpu)


def report(ours: Sequence[Opening], theirs: Sequence[Opening], peer: str | None, why_not: str = "") -> list[Row]:
    """The rows: medians, of which the peer's are beside."""

    def row(case: str, what: Callable[[Opening], float | None], unit: str, budget: Budget, note: str = "") -> Row:
        mine, other = middle([what(one) for one in ours]), middle([what(one) for one in theirs])
        return Row("console", case, mine, unit, budget, peer, other, "; ".join(filter(None, (note, why_not))))

    painted_cpu, loaded_cpu = (middle([what(one) for one in ours]) for what in (_painted_cpu, _loaded_cpu))
    return [
        row("first paint", lambda one: one.painted, "s", Budget("under", 0.7), f"{painted_cpu:.2f} s of CPU"),
        row("data on screen", lambda one: one.loaded, "s", Budget("under", 1.6), f"{loaded_cpu:.2f} s of CPU"),
        row("idle output", lambda one: one.idle_bytes, "B/s", Budget("at most", 0)),
        row("idle CPU", lambda one: None if one.idle_cpu is None else one.idle_cpu * 100, "%", Budget("under", 0.5)),
    ]


def _painted_cpu(one: Opening) -> float:
    return one.painted_cpu


def _loaded_cpu(one: Opening) -> float:
    return one.loaded_cpu
