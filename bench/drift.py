"""The figures of Evidently's DataDriftPreset for tables of a million rows, beside Evidently."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.peers import forgiving, name_with_version
from bench.rows import REPOSITORY, Budget, Row, middle

NUMERIC, CATEGORICAL = 20, 10
ROWS, FEWER_ROWS, MANY_ROWS = 1_000_000, 700_000, 10_000_000
PIECE_ROWS = 1_000_000
ROUNDS = 3
LIMIT_SECONDS = 1_200.0
GIGABYTE_MB = 1_000.0
PEAK = """\
def peak_mb():
    # Not ru_maxrss, which begins with what the parent had when it forked.
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) * 1024 / 1e6
"""
OURS = """\
import json, sys, time
started = time.perf_counter()
from pathlib import Path
from quarterdeck.statistics.processor import choose_quicker_sort
choose_quicker_sort()
from quarterdeck.monitoring.tables import preset_figures
imported = time.perf_counter()
figures = preset_figures(Path(sys.argv[1]), Path(sys.argv[2]))
done = time.perf_counter()
scores = {figure.column: figure.score for figure in figures}
print(json.dumps({"seconds": done - imported, "import": imported - started, "scores": scores,
                  "mb": peak_mb()}))
"""
SKETCHED = """\
import json, sys, time
from pathlib import Path
from quarterdeck.statistics.processor import choose_quicker_sort
choose_quicker_sort()
from quarterdeck.monitoring.sketches import compare_sketched
imported = time.perf_counter()
found = compare_sketched(Path(sys.argv[1]), Path(sys.argv[2]))
done = time.perf_counter()
print(json.dumps({"seconds": done - imported, "error": max(one.error for one in found.columns),
                  "mb": peak_mb()}))
"""
THEIRS = """\
import json, os, sys, time, warnings
os.environ["DO_NOT_TRACK"] = "1"
warnings.simplefilter("ignore")
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
imported = time.perf_counter()
reference, current = pd.read_parquet(sys.argv[1]), pd.read_parquet(sys.argv[2])
texts = [name for name in reference if name.startswith("c")]
columns = DataDefinition(numerical_columns=[n for n in reference if n not in texts], categorical_columns=texts)
sets = [Dataset.from_pandas(frame, data_definition=columns) for frame in (current, reference)]
found = Report([DataDriftPreset()]).run(*sets).dict()["metrics"]
done = time.perf_counter()
scores = {m["config"]["column"]: float(m["value"]) for m in found if "ValueDrift" in m["metric_name"]}
print(json.dumps({"seconds": done - imported, "scores": scores}))
"""


def measure() -> list[Row]:
    """Equal and unequal sizes beside Evidently; ten million rows alone, all of them and by sketches."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as name:
        folder = Path(name)
        rows: list[Row] = []
        reference = _table(folder / "reference.parquet", ROWS, seed=1)
        for label, count, times in (("equal sizes", ROWS, 100), ("unequal sizes", FEWER_ROWS, 50)):
            current = _table(folder / "current.parquet", count, seed=2)
            rows += _beside(f"{ROWS:,} and {count:,} rows of 30 columns, {label}", reference, current, times)
        large = [_table(folder / f"large-{seed}.parquet", MANY_ROWS, seed=seed) for seed in (3, 4)]
        rows += _alone(f"{MANY_ROWS:,} rows of 30 columns on both sides", *large)
        rows += _sketched(f"{MANY_ROWS:,} rows of 30 columns on both sides, by sketches", *large)
    return rows


def _beside(case: str, reference: Path, current: Path, times: int) -> list[Row]:
    peer = name_with_version("evidently")
    theirs: dict[str, Any] = {}
    with forgiving(peer) as attempt:
        theirs = _run(THEIRS, reference, current)
    ours = [_run(OURS, reference, current) for _ in range(ROUNDS)]
    note = attempt.why_not or _disagreement(ours[0]["scores"], theirs["scores"])
    seconds = theirs.get("seconds")
    budget = None if seconds is None else Budget("at most", seconds / times)
    taken = middle([one["seconds"] for one in ours])
    return [
        Row("drift", case, taken, "s", budget, peer, seconds, note),
        Row("drift", f"{case}: largest share of memory", max(one["mb"] for one in ours), "MB", _memory()),
    ]


def _alone(case: str, reference: Path, current: Path) -> list[Row]:
    ours = _run(OURS, reference, current)
    return [
        Row("drift", case, ours["seconds"], "s"),
        Row("drift", f"{case}: largest share of memory", ours["mb"], "MB", _memory()),
    ]


def _sketched(case: str, reference: Path, current: Path) -> list[Row]:
    found = _run(SKETCHED, reference, current)
    return [
        Row("drift", case, found["seconds"], "s", note=f"effects are off by {found['error']:.2g} at most"),
        Row("drift", f"{case}: largest share of memory", found["mb"], "MB", _memory()),
    ]


def _memory() -> Budget:
    return Budget("at most", GIGABYTE_MB)


def _disagreement(ours: dict[str, float], theirs: dict[str, float]) -> str:
    """How far the figures lie apart: without that the ratio would be worth nothing."""
    if ours.keys() != theirs.keys():
        raise RuntimeError(f"not the same columns: {sorted(ours.keys() ^ theirs.keys())}")
    apart = max(abs(ours[name] - theirs[name]) for name in ours)
    if apart > 1e-6:
        raise RuntimeError(f"the figures differ by up to {apart:.2g}")
    return f"figures agree to {apart:.1g}"


def _run(program: str, reference: Path, current: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PEAK + program, str(reference), str(current)],
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
        timeout=LIMIT_SECONDS,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _table(path: Path, rows: int, *, seed: int) -> Path:
    """A table of many shapes of columns, written in pieces."""
    random = np.random.default_rng(seed)
    writer: pq.ParquetWriter | None = None
    for start in range(0, rows, PIECE_ROWS):
        table = piece(random, min(PIECE_ROWS, rows - start), seed)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    return path


SHAPES: tuple[Callable[[np.random.Generator, int], Any], ...] = (
    lambda random, rows: random.normal(size=rows),
    lambda random, rows: random.lognormal(size=rows),
    lambda random, rows: random.pareto(2.5, rows),
    lambda random, rows: np.where(random.random(rows) < 0.3, 0.0, random.exponential(size=rows)),
    lambda random, rows: random.poisson(30, rows).astype(np.float64),
)
LEVELS = (2, 5, 12, 50, 200)


def piece(random: np.random.Generator, rows: int, seed: int) -> pa.Table:
    columns: dict[str, Any] = {}
    for number in range(NUMERIC):
        values = SHAPES[number % len(SHAPES)](random, rows)
        # Every fourth column moves with the seed, so that there is something to find.
        columns[f"n{number}"] = values + 0.1 * seed * (number % 4 == 0)
    for number in range(CATEGORICAL):
        names = np.array([f"level {level}" for level in range(LEVELS[number % len(LEVELS)])])
        columns[f"c{number}"] = pa.array(names[random.integers(0, names.size, rows)])
    return pa.table(columns)
