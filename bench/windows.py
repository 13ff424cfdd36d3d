"""A window of recorded traffic larger than memory: judged in every aspect, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.drift import GIGABYTE_MB, LIMIT_SECONDS, PEAK, piece
from bench.engine import make_workspace
from bench.rows import REPOSITORY, Budget, Row
from quarterdeck.database import timestamp
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.rollout import deploy
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.holdout import Holdout, store_holdout
from quarterdeck.registry.inspection import infer_signature
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.version import Format, Task
from quarterdeck.traffic import segments
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.parquet import ROW_GROUP, write_file
from quarterdeck.traffic.recording import record
from quarterdeck.traffic.segment import Segment
from quarterdeck.workspace import Workspace

REFERENCE_ROWS, HOLDOUT_ROWS = 50_000, 20_000
FILES, FILE_ROWS, HERE_ROWS = 14, 200_000, 200_000
"""As compaction writes them; and rows that it has not reached yet."""
LABELLED = 10
"""One row in so many has a label."""
DAY = datetime(2026, 1, 5, tzinfo=UTC)
SETTINGS = """\
[workspace]
name = "bench"

[monitors.m]
deployment = "d"
window = "1d"
origin = "2026-01-05T00:00:00Z"
metric = "roc_auc"
slices = ["c0"]
label_coverage = 0.05
"""
JUDGED = """\
import json, sys, time
from contextlib import closing
from pathlib import Path
from quarterdeck.bootstrap import open_workspace
from quarterdeck.monitoring.evaluation import evaluate
with closing(open_workspace(Path(sys.argv[1]))) as workspace:
    started, used = time.perf_counter(), time.process_time()
    found = evaluate(workspace, "m").results
    done, used = time.perf_counter(), time.process_time() - used
inputs = next(result for result in found if result.aspect == "inputs")
print(json.dumps({"seconds": done - started, "cpu": used, "rows": inputs.n_current,
                  "aspects": [r.aspect for r in found], "labelled": max(r.n_labelled for r in found), "mb": peak_mb(),
                  "error": max(row.get("error", 0.0) for row in inputs.scores)}))
"""


def measure() -> list[Row]:
    """Three million predictions of one day, 30 columns each: most of them in files, the newest in the table."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-") as name:
        root = Path(name) / "ours"
        workspace = make_workspace(root, SETTINGS)
        try:
            fill(workspace, FILES, FILE_ROWS, HERE_ROWS)
        finally:
            workspace.close()
        found = judged(root)
    case = f"{found['rows']:,} recorded predictions of 30 columns in one window, {found['labelled']:,} of them labelled"
    said = f"{len(found['aspects'])} judgements; effects are off by {found['error']:.2g} at most"
    note = f"{found['cpu']:.0f} s of CPU; {said}"
    return [
        Row("windows", case, found["seconds"], "s", note=note),
        Row("windows", f"{case}: largest share of memory", found["mb"], "MB", Budget("at most", GIGABYTE_MB)),
    ]


def judged(root: Path) -> dict[str, Any]:
    """What a new process says of the monitor's windows, and what that took."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK + JUDGED, str(root)],
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
        timeout=LIMIT_SECONDS,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def fill(workspace: Workspace, files: int, file_rows: int, here_rows: int) -> None:
    """A version with reference and holdout, and a day of its answers: first those in files, then those in the table."""
    random = np.random.default_rng(1)
    version = _serve(workspace, random)
    rows = files * file_rows + here_rows
    step = timedelta(days=1) / (rows + 1)
    folder = segments.folder(workspace)
    folder.mkdir(exist_ok=True)
    for number in range(files):
        some = _rows(random, number * file_rows, file_rows, step, version)
        path = folder / f"d-{number}.parquet"
        batches = [some[start : start + ROW_GROUP] for start in range(0, file_rows, ROW_GROUP)]
        write_file(path, "d", batches)
        with workspace.traffic.write("bench") as tx:
            tx.add(_segment(path, some, version))
    here = _rows(random, files * file_rows, here_rows, step, version)
    record(workspace, [_prediction(row) for row in here])
    # One row behind the window's end closes it.
    record(workspace, [{**_prediction(here[-1]), "id": "last", "event_time": DAY + timedelta(days=2)}])
    for start in range(0, rows, 100_000):
        labels = [{"reference": f"p{i}", "value": i // LABELLED % 2} for i in range(start, start + 100_000, LABELLED)]
        add_labels(workspace, "d", labels)


def _serve(workspace: Workspace, random: np.random.Generator) -> int:
    frame = piece(random, REFERENCE_ROWS, 0).to_pandas()
    held = piece(random, HOLDOUT_ROWS, 0).to_pandas()
    scores = random.beta(1, 3, HOLDOUT_ROWS)
    truth = (random.random(HOLDOUT_ROWS) < scores).astype(np.int64)
    answers = Predictions((scores > 0.5).astype(np.int64), np.column_stack([1 - scores, scores]))
    buffer = frame.assign(y=np.arange(REFERENCE_ROWS) % 2)
    candidate = Candidate(
        model="d",
        format=Format.EXTERNAL,
        task=Task.CLASSIFICATION,
        artifact=None,
        signature=infer_signature(buffer, target="y"),
        example=[],
        reference=workspace.artifacts.put(buffer.to_parquet(index=False)),
        profile=[],
        metrics={"roc_auc": 0.85},
        importances={},
        environment={},
        holdout=store_holdout(workspace, Holdout(held, truth.astype(np.float64), answers)),
    )
    with workspace.state.write("bench") as tx:
        version = register(tx, workspace, candidate).number
    deploy(workspace, "d", model="d", version=version, served_by=ServedBy.EXTERNAL)
    return version


def _rows(random: np.random.Generator, first: int, rows: int, step: timedelta, version: int) -> list[tuple[Any, ...]]:
    """Predictions with the columns of a file, in which every fourth column has moved a little."""
    inputs = zip(*(column.to_pylist() for column in piece(random, rows, 1).columns), strict=True)
    scores = random.beta(1, 3, rows).round(4).tolist()
    encode = msgspec.json.encode
    found = []
    for i, (values, score) in enumerate(zip(inputs, scores, strict=True), start=first):
        at = timestamp(DAY + i * step)
        shares = encode([round(1 - score, 4), score]).decode()
        answer = str(int(score > 0.5))
        found.append((f"p{i}", None, at, at, 1, version, "champion", encode(values).decode(), answer, shares, 0))
    return found


def _segment(path: Path, rows: list[tuple[Any, ...]], version: int) -> Segment:
    first, last = (datetime.fromisoformat(row[3]) for row in (rows[0], rows[-1]))
    return Segment(
        deployment="d",
        file=path.name,
        rows=len(rows),
        bytes=os.stat(path).st_size,
        first_event=first,
        last_event=last,
        first_received=first,
        last_received=last,
        versions={str(version): len(rows)},
        revisions={"1": len(rows)},
    )


def _prediction(row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "deployment": "d",
        "id": row[0],
        "received_at": datetime.fromisoformat(row[2]),
        "event_time": datetime.fromisoformat(row[3]),
        "version": row[5],
        "inputs": msgspec.json.decode(row[7]),
        "prediction": int(row[8]),
        "probabilities": msgspec.json.decode(row[9]),
    }
