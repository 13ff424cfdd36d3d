"""A table larger than what may be held: its process stays small, and what it says is within the stated error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quarterdeck.statistics.distance import robust_sigma, wasserstein
from tests.deck import ENVIRONMENT

PIECE, TIMES = 500_000, 50
LIMIT_MB = 400
# Not ru_maxrss, which begins with what the parent had when it forked.
VERB = """\
from quarterdeck_console.cli.verbs import run
run()
with open("/proc/self/status") as file:
    print(next(line.split()[1] for line in file if line.startswith("VmHWM")))
"""


def piece(seed: int, shift: float) -> pa.Table:
    random = np.random.default_rng(seed)
    levels = np.array([f"level {level}" for level in range(40)])
    columns: dict[str, Any] = {
        "amount": random.normal(size=PIECE) + shift,
        "count": np.where(random.random(PIECE) < 0.9, 0, random.poisson(3, PIECE)),
        "channel": pa.array(levels[random.integers(0, 40, PIECE)]),
    }
    return pa.table(columns)


def write(path: Path, table: pa.Table, times: int) -> Path:
    """Many times the same rows: what is true of them is true of all."""
    with pq.ParquetWriter(path, table.schema, compression="none", use_dictionary=["channel"]) as writer:
        for _ in range(times):
            writer.write_table(table)
    return path


def drift(*arguments: object) -> tuple[Any, float]:
    """The verb's document, and the most memory that its process had, in MB."""
    command = [sys.executable, "-c", VERB, "drift", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=200)
    document, peak = done.stdout.splitlines()
    return json.loads(document), int(peak) * 1024 / 1e6


@pytest.mark.timeout(300)
def test_25_million_rows_are_compared_in_a_small_process_within_the_stated_error(tmp_path: Path) -> None:
    before, after = piece(1, 0.0), piece(2, 0.15)
    reference = write(tmp_path / "reference.parquet", before, 1)
    current = write(tmp_path / "current.parquet", after, TIMES)
    document, megabytes = drift(reference, current)
    assert document["sketched"] is True
    assert (document["n_reference"], document["n_current"]) == (PIECE, PIECE * TIMES)
    assert megabytes < LIMIT_MB
    by_name = {one["score"]["column"]: one for one in document["columns"]}
    assert {name: one["score"]["verdict"] for name, one in by_name.items()} == {
        "amount": "drifted",
        "count": "quiet",
        "channel": "quiet",
    }
    old, new = (table.column("amount").to_numpy() for table in (before, after))
    whole = wasserstein(old, new) / robust_sigma(old)
    # What lies beyond the 0.05 and 99.95 percentiles is not looked at.
    assert abs(by_name["amount"]["score"]["effect"] - whole) <= by_name["amount"]["error"] + 0.001 * whole
    assert by_name["amount"]["error"] < 0.01
