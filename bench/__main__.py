"""Run the benchmarks and print a table; exit status 1 when a budget is not met."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from bench import (
    backtests,
    calibration,
    cli,
    console,
    drift,
    estimates,
    idle,
    jitter,
    monitors,
    rollback,
    serving,
    start,
    windows,
    writers,
)
from bench.rows import RESULTS, Row, append, as_table, circumstances

BENCHES: dict[str, Callable[[], list[Row]]] = {
    "rollback": rollback.measure,
    "serving": serving.measure,
    "drift": drift.measure,
    "calibration": calibration.measure,
    "estimates": estimates.measure,
    "monitors": monitors.measure,
    "windows": windows.measure,
    "backtests": backtests.measure,
    "console": console.measure,
    "cli": cli.measure,
    "start": start.measure,
    "jitter": jitter.measure,
    "idle": idle.measure,
    "writers": writers.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every benchmark, or the one that `--only` names."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", choices=BENCHES, metavar="NAME", help=f"one of: {', '.join(BENCHES)}")
    only = parser.parse_args(arguments).only
    # So that what a benchmark has started is ended by its `finally` blocks.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    rows: list[Row] = []
    for name in [only] if only else BENCHES:
        around = circumstances()
        say(f"{name} (load {around['machine']['load']}) ...")
        found = BENCHES[name]()
        append(found, around)
        rows += found
    print(as_table(rows))
    missed = sum(not row.met for row in rows)
    say(f"{missed} of {len(rows)} budgets not met." if missed else "Every budget is met.")
    say(f"Appended to {RESULTS}.")
    return 1 if missed else 0


def say(text: str) -> None:
    """Tell what is going on, on stderr."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
