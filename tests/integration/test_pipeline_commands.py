"""Command steps: training scripts that know nothing of Quarterdeck."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from sqlmodel import Session

from quarterdeck.datasets.ingestion import add
from quarterdeck.pipelines import queries
from quarterdeck.pipelines.execution import execute
from quarterdeck.pipelines.run import RunState
from quarterdeck.pipelines.submission import submit
from quarterdeck.registry import queries as registry
from quarterdeck.settings import Settings
from quarterdeck.workspace import Workspace
from tests.stored import load
from tests.waiting import wait_for

SCRIPT = """
import json, os, sys
from pathlib import Path

import pandas as pd
import skops.io
from sklearn.linear_model import LogisticRegression

out = Path(os.environ["QUARTERDECK_OUT"])
flats = pd.read_parquet(Path(os.environ["QUARTERDECK_IN"]) / "flats.parquet")
held = flats["row"] % 3 == 0
training, holdout = flats[~held], flats[held]
model = LogisticRegression().fit(training[["rooms"]], training["sold"])
print("trained in", os.getcwd())
(out / "model").mkdir()
skops.io.dump(model, out / "model" / "model.skops")
holdout.to_parquet(out / "holdout.parquet")
with (out / "metrics.jsonl").open("w") as file:
    for epoch in range(2):
        file.write(json.dumps({"loss": 1.0 - epoch / 4, "step": epoch}) + "\\n")
    file.write(json.dumps({"name": "rows", "value": len(training)}) + "\\n")
(out / "params.json").write_text(json.dumps({"C": 1.0}))
assert "quarterdeck" not in sys.modules
"""

# The same files without the training, which takes seconds to import.
QUICK = """
import os, shutil
from pathlib import Path

out = Path(os.environ["QUARTERDECK_OUT"])
shutil.copy(Path(os.environ["QUARTERDECK_IN"]) / "flats.parquet", out / "holdout.parquet")
(out / "model").mkdir()
(out / "model" / "model.skops").write_bytes(b"no model")
"""

PIPELINE = """
from quarterdeck.pipelines import command_step, pipeline, register, step

fit = command_step("python fit.py", inputs=["flats"])

@step
def names(fit):
    return sorted(path.name for path in fit.iterdir())

train = pipeline("train", [fit, names], registers=register("flats", estimator="fit"))
"""


def left(path: str, text: str) -> str:
    """A line of a script that leaves one more file."""
    return f"(out / {path!r}).write_text({text!r})\n"


def open_fence(tx: Session) -> None: ...


@pytest.fixture
def flats(workspace: Workspace) -> Workspace:
    rows = "".join(f"{row},{row % 7},{int(row % 7 > 3 or row % 29 == 0)}\n" for row in range(300))
    (workspace.root / "flats.csv").write_text("row,rooms,sold\n" + rows)
    settings = Settings.model_validate(
        {
            "datasets": {"flats": {"target": "sold", "key": "row"}},
            "models": {"flats": {"gate": {"roc_auc": {"min": 0.8}}}},
        }
    )
    workspace = dataclasses.replace(workspace, settings=settings)
    add(workspace, "flats", workspace.root / "flats.csv")
    (workspace.root / "pipelines").mkdir()
    (workspace.root / "pipelines" / "train.py").write_text(PIPELINE)
    (workspace.root / "fit.py").write_text(SCRIPT)
    return workspace


def run(workspace: Workspace) -> queries.RunDetail:
    run_id = submit(workspace, "train")
    execute(workspace, run_id, fence=open_fence)
    return queries.run(workspace, run_id)


def test_what_a_script_leaves_becomes_metrics_and_a_version_with_its_gate(
    flats: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run(flats)
    assert (done.state, done.version, done.error) == (RunState.SUCCEEDED, "flats@1", None)
    assert done.metrics["loss"] == 0.75
    assert done.metrics["rows"] == 200
    fit, names = done.steps
    assert fit.parameters == {"C": 1.0}
    assert (fit.output_type, names.output_type) == ("folder", "json")
    assert fit.output is not None
    assert set(load(flats, fit.output, "folder")) == {
        "holdout.parquet",
        "metrics.jsonl",
        "model/model.skops",
        "params.json",
    }
    assert (fit.peak_memory_bytes or 0) > 20_000_000
    (version,) = registry.versions(flats, "flats")
    assert (version.format, version.gate) == ("skops", "passed")
    assert version.metrics["roc_auc"] > 0.8
    assert version.metrics["rows"] == 200
    assert [feature["name"] for feature in version.signature["features"]] == ["rooms"]
    assert version.unknown == ["Its training data: the holdout stands in for it as the reference of monitors."]
    assert f"trained in {flats.root}" in capfd.readouterr().out
    assert list((flats.folder / "work").iterdir()) == []


def test_figures_on_training_rows_do_not_get_past_a_gate(flats: Workspace) -> None:
    (flats.root / "fit.py").write_text(
        SCRIPT.replace('holdout.to_parquet(out / "holdout.parquet")', 'training.to_parquet(out / "training.parquet")')
    )
    done = run(flats)
    assert done.state is RunState.HELD
    (version,) = registry.versions(flats, "flats")
    assert set(version.metrics) == {"loss", "rows"}
    assert version.unknown == ["Quality: there was no holdout."]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("raise SystemExit(7)", r"step fit: its command \(.*train.py:4\) ended with status 7"),
        ("import os; os.kill(os.getpid(), 9)", "ended with signal 9"),
        (
            QUICK + left("metrics.jsonl", '{"loss": "low"}'),
            "fit: its command left metrics.jsonl, line 1: 'loss' must be",
        ),
        (QUICK + left("metrics.jsonl", "loss 0.5"), "metrics.jsonl, line 1, which is not JSON"),
        (QUICK + left("params.json", "[1]"), "params.json, which is not a JSON object"),
        (QUICK + left("holdout.parquet", "x"), "holdout.parquet that is not a Parquet file"),
        (QUICK + left("model/second.onnx", ""), "Found: model.skops, second.onnx"),
        (QUICK.replace("model.skops", "model.pkl"), "left model.pkl, which is a pickle"),
        (QUICK, "model.skops"),
        (QUICK.replace("shutil.copy", "print"), "left neither training.parquet nor holdout.parquet"),
    ],
    ids=["status", "signal", "metric", "json", "params", "parquet", "two models", "pickle", "damaged", "no rows"],
)
def test_a_script_that_fails_or_leaves_something_else_fails_the_run_with_the_reason(
    flats: Workspace, script: str, said: str
) -> None:
    (flats.root / "fit.py").write_text(script)
    done = run(flats)
    assert done.state is RunState.FAILED
    assert re.search(said, done.error or ""), done.error
    assert registry.models(flats) == []


def test_a_command_that_is_not_there_fails_the_run_by_its_name(flats: Workspace) -> None:
    for line, said in (
        ('"no-such-program --fast", name="fit"', "its command 'no-such-program'"),
        ('"python fit.py", python="no/such/venv"', "there is no Python at"),
    ):
        text = PIPELINE.replace('"python fit.py"', line)
        (flats.root / "pipelines" / "train.py").write_text(text)
        assert said in (run(flats).error or "")


def test_an_environment_of_its_own_is_used(flats: Workspace) -> None:
    environment = flats.root / "venv" / "bin"
    environment.mkdir(parents=True)
    (environment / "python").write_text('#!/bin/sh\necho "{\\"mine\\": 1}" > "$QUARTERDECK_OUT/params.json"\n')
    (environment / "python").chmod(0o755)
    text = PIPELINE.replace('"python fit.py"', '"python fit.py", python="venv"').replace(
        ', registers=register("flats", estimator="fit")', ""
    )
    (flats.root / "pipelines" / "train.py").write_text(text)
    done = run(flats)
    assert (done.state, done.steps[0].parameters) == (RunState.SUCCEEDED, {"mine": 1})


JOB = """
import sys
from pathlib import Path
from quarterdeck import bootstrap
from quarterdeck.pipelines.execution import execute
execute(bootstrap.open_workspace(Path(sys.argv[1])), int(sys.argv[2]), fence=lambda tx: None)
"""

LOGGING_STEP = """
import time
from quarterdeck.pipelines import log_metric, pipeline, step

@step
def fit():
    log_metric("loss", 0.5)
    print("logged", flush=True)
    time.sleep(600)

train = pipeline("train", [fit])
"""


DAWDLING = """
import time
from pathlib import Path

from sklearn.dummy import DummyClassifier

from quarterdeck.pipelines import log_metric, pipeline, register, step

@step
def fit(flats):
    marker = Path({marker!r})
    first = not marker.exists()
    log_metric("attempt", 1 if first else 2)
    marker.write_text("here")
    time.sleep(600 if first else 0)
    return DummyClassifier().fit(flats[["rooms"]], flats["sold"])

train = pipeline("train", [fit], registers=register("flats", estimator="fit", training="flats"))
"""


def start(workspace: Workspace, run_id: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(workspace.root), str(run_id)], stdout=subprocess.PIPE, text=True
    )


def test_sigterm_writes_what_was_logged_and_leaves_the_run_to_the_runner(flats: Workspace) -> None:
    (flats.root / "pipelines" / "train.py").write_text(LOGGING_STEP)
    run_id = submit(flats, "train")
    with start(flats, run_id) as process:
        assert process.stdout is not None
        while "logged" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    left = queries.run(flats, run_id)
    assert left.metrics == {"loss": 0.5}
    assert left.state is RunState.RUNNING


def test_sigterm_ends_the_command_too(flats: Workspace) -> None:
    told = flats.root / "pid.json"
    (flats.root / "fit.py").write_text(
        f"import json, os, time\nopen({str(told)!r}, 'w').write(json.dumps(os.getpid()))\ntime.sleep(600)"
    )
    run_id = submit(flats, "train")
    with start(flats, run_id) as process:
        pid = json.loads(wait_for(lambda: told.exists() and told.read_text(), seconds=120, what="the script") or "0")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_run_whose_process_was_killed_is_executed_again_and_registers_one_version(flats: Workspace) -> None:
    marker = flats.root / "started"
    (flats.root / "pipelines" / "train.py").write_text(DAWDLING.format(marker=str(marker)))
    run_id = submit(flats, "train")
    with start(flats, run_id) as process:
        wait_for(marker.exists, seconds=120, what="the step")
        process.kill()
    execute(flats, run_id, fence=open_fence)
    done = queries.run(flats, run_id)
    assert (done.state, done.version) == (RunState.HELD, "flats@1")
    assert [row.value for row in done.series if row.name == "attempt"] == [2.0]
    assert len(registry.versions(flats, "flats")) == 1
    assert list((flats.folder / "work").iterdir()) == []
