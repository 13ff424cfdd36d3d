"""Runs, from a module in the workspace to a registered version, on real SQLite and real models."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from quarterdeck.datasets.ingestion import add
from quarterdeck.errors import FencedError
from quarterdeck.events import Event
from quarterdeck.lineage import upstream
from quarterdeck.pipelines import queries
from quarterdeck.pipelines.ending import requeue
from quarterdeck.pipelines.execution import execute
from quarterdeck.pipelines.run import RunState
from quarterdeck.pipelines.submission import submit
from quarterdeck.registry import queries as registry
from quarterdeck.settings import Settings
from quarterdeck.workspace import Workspace
from tests.stored import load

TRAIN = """
import pandas as pd
from sklearn.linear_model import LogisticRegression

from quarterdeck.pipelines import log_metric, log_params, pipeline, register, step


@step
def training(flats):
    flats["seen"] = 1
    return flats.loc[flats["row"] % 3 != 0, ["rooms", "sold"]]


@step
def holdout(flats):
    assert "seen" not in flats, "another step's change"
    return flats.loc[flats["row"] % 3 == 0, ["rooms", "sold"]]


@step
def fit(training, *, C=1.0):
    for epoch in range(3):
        log_metric("loss", float("nan") if epoch == 1 else 1.0 / (epoch + 1), epoch)
    log_params({"solver": "lbfgs"})
    print("fitting with", C)
    return LogisticRegression(C=C).fit(training[["rooms"]], training["sold"])


train = pipeline(
    "train",
    [fit, training, holdout],
    registers=register("flats", estimator="fit", training="training", holdout="holdout"),
)
"""


def open_fence(tx: Session) -> None: ...


@pytest.fixture
def flats(workspace: Workspace) -> Workspace:
    """A workspace with a dataset, a pipeline that trains on it, and the dataset's target in the settings."""
    rows = "".join(f"{row},{row % 7},{int(row % 7 > 3 or row % 29 == 0)}\n" for row in range(300))
    source = workspace.root / "flats.csv"
    source.write_text("row,rooms,sold\n" + rows)
    workspace = with_settings(workspace, datasets={"flats": {"target": "sold", "key": "row"}})
    add(workspace, "flats", source)
    write(workspace, TRAIN)
    return workspace


def with_settings(workspace: Workspace, **sections: Any) -> Workspace:
    return dataclasses.replace(workspace, settings=Settings.model_validate(sections))


def write(workspace: Workspace, text: str, name: str = "train.py") -> None:
    folder = workspace.root / "pipelines"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def run(workspace: Workspace, fence: Callable[[Session], None] = open_fence, **parameters: Any) -> queries.RunDetail:
    run_id = submit(workspace, "train", {key.replace("__", "."): value for key, value in parameters.items()})
    execute(workspace, run_id, fence=fence)
    return queries.run(workspace, run_id)


def newest_event(workspace: Workspace, run_id: int) -> Event:
    with workspace.state.read() as tx:
        return tx.exec(select(Event).where(Event.subject == f"run/{run_id}")).all()[-1]


def test_a_run_registers_a_version_and_records_where_it_came_from(
    flats: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    done = run(flats, fit__C=0.5)
    assert (done.state, done.version, done.error) == (RunState.SUCCEEDED, "flats@1", None)
    assert done.inputs == {"flats": "flats@1"}
    assert done.graph == {"training": ["flats"], "fit": ["training"], "holdout": ["flats"]}
    assert done.environment["scikit-learn"]
    assert done.source is not None
    assert flats.artifacts.read(done.source).decode() == TRAIN
    (version,) = registry.versions(flats, "flats")
    assert version.run_id == done.id
    assert version.metrics["roc_auc"] > 0.8
    assert version.metrics == {name: done.metrics[name] for name in version.metrics}
    with flats.state.read() as tx:
        assert upstream(tx, "version/flats@1")[:2] == ["run/1", "data/flats@1"]
    told = newest_event(flats, done.id)
    assert (told.kind, told.data["version"], told.data["gate"]) == ("run.succeeded", "flats@1", "none")
    log = capfd.readouterr().out
    assert log.index("step fit started") < log.index("fitting with 0.5") < log.index("step fit finished in")


def test_what_a_failed_step_said_is_kept_nowhere_with_the_secrets_that_the_settings_name(
    flats: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "postgres://bob:s3cr3tpw@db.host/x"
    monkeypatch.setenv("DB_URL", secret)
    careful = with_settings(flats, logs={"mask": ["DB_URL"]}, datasets={"flats": {"target": "sold", "key": "row"}})
    write(
        careful, TRAIN.replace("    log_params(", f"    raise ValueError('{secret} does not answer')\n    log_params(")
    )
    done = run(careful)
    assert done.error == "step fit: ValueError: *** does not answer"
    assert done.steps[1].error == done.error
    careful.close()
    for file in careful.folder.glob("state.db*"):
        assert b"s3cr3tpw" not in file.read_bytes()


def test_a_step_records_its_output_parameters_and_cost(flats: Workspace) -> None:
    done = run(flats, fit__C=0.5)
    training, fit, _ = done.steps
    assert fit.parameters == {"C": 0.5, "solver": "lbfgs"}
    assert [step.output_type for step in done.steps] == ["parquet", "skops", "parquet"]
    assert training.output is not None
    assert len(load(flats, training.output, "parquet")) == 200
    assert fit.wall_seconds is not None
    assert fit.cpu_seconds is not None
    assert (fit.peak_memory_bytes or 0) > 20_000_000


def test_nan_among_the_metrics_is_kept(flats: Workspace) -> None:
    losses = [row.value for row in run(flats).series if row.name == "loss"]
    assert losses[0] == 1.0
    assert losses[1] != losses[1]
    assert losses[2] == pytest.approx(1 / 3)


def test_a_gate_that_refuses_holds_the_run(flats: Workspace) -> None:
    gated = dataclasses.replace(
        flats,
        settings=Settings.model_validate(
            {"datasets": {"flats": {"target": "sold"}}, "models": {"flats": {"gate": {"roc_auc": {"min": 1.0}}}}}
        ),
    )
    done = run(gated)
    assert (done.state, done.version) == (RunState.HELD, "flats@1")
    told = newest_event(gated, done.id)
    assert (told.kind, told.data["gate"]) == ("run.held", "failed")


def test_a_failing_step_fails_the_run_and_skips_what_follows(
    flats: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    write(flats, TRAIN.replace("    log_params(", "    raise ValueError('no such flat')\n    log_params("))
    done = run(flats)
    assert (done.state, done.version) == (RunState.FAILED, None)
    assert done.error == "step fit: ValueError: no such flat"
    assert [(step.name, step.state) for step in done.steps] == [
        ("training", "succeeded"),
        ("fit", "failed"),
        ("holdout", "skipped"),
    ]
    assert done.steps[1].error == done.error
    # What was logged before the error is not lost.
    assert [row.name for row in done.series] == ["loss", "loss", "loss"]
    assert registry.models(flats) == []
    told = newest_event(flats, done.id)
    assert (told.kind, told.data["error"]) == ("run.failed", done.error)
    log = capfd.readouterr().err
    assert "pipelines/train.py" in log
    assert "execution.py" not in log


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (TRAIN.replace("def fit(training,", "def fit(trainnig,"), r"Step 'fit' \(.*train\.py:\d+\) reads 'trainnig'"),
        (TRAIN.replace("def training(flats)", "def training(fit)"), r"form a cycle: .*'fit' \(.*train\.py:\d+\)"),
        (TRAIN.replace("[fit, training,", "[fit, fit, training,"), r"two steps named 'fit': .*train\.py:\d+"),
        ("import nowhere\n" + TRAIN, r"train\.py:1: ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit(3)\n" + TRAIN, r"train\.py:1: SystemExit: 3"),
        (TRAIN.replace("def fit(training, ", "def fit(training, /, "), r"Step 'fit' .*cannot be wired by name"),
    ],
    ids=["missing input", "cycle", "two of one name", "import error", "exit on import", "positional only"],
)
def test_what_cannot_run_is_refused_before_anything_runs(flats: Workspace, broken: str, said: str) -> None:
    write(flats, broken)
    done = run(flats)
    assert done.state is RunState.FAILED
    assert done.steps == []
    assert re.search(said, done.error or ""), done.error


def test_an_unknown_parameter_that_syntax_cannot_tell_fails_the_run_with_the_place(flats: Workspace) -> None:
    write(flats, TRAIN.replace("[fit, training, holdout]", "[*[fit], training, holdout]"))
    done = run(flats, fit__depth=3)
    assert done.state is RunState.FAILED
    assert "'fit.depth' of step 'fit'" in (done.error or "")
    assert "train.py:" in (done.error or "")


def test_a_run_without_a_known_target_says_what_to_write(flats: Workspace) -> None:
    done = run(with_settings(flats))
    assert done.state is RunState.FAILED
    assert 'register(..., target="COLUMN")' in (done.error or "")


def test_a_step_that_exits_is_a_failed_step(flats: Workspace) -> None:
    write(flats, TRAIN.replace("    log_params(", "    raise SystemExit(2)\n    log_params("))
    assert run(flats).error == "step fit: SystemExit: 2"


def test_a_pipeline_that_is_gone_by_the_time_it_runs_fails_with_that_reason(flats: Workspace) -> None:
    run_id = submit(flats, "train")
    (flats.root / "pipelines" / "train.py").unlink()
    execute(flats, run_id, fence=open_fence)
    assert "There is no pipeline 'train'" in (queries.run(flats, run_id).error or "")


def test_a_second_attempt_begins_anew_and_registers_one_version(flats: Workspace) -> None:
    """The first attempt is given up in its last transaction; what it wrote before does not show in the second."""
    run_id = submit(flats, "train")
    given_up = [False]

    def given_up_at_the_end(tx: Session) -> None:
        if queries.run(flats, run_id).steps and queries.run(flats, run_id).steps[-1].state == "succeeded":
            given_up[0] = True
            raise FencedError

    with pytest.raises(FencedError):
        execute(flats, run_id, fence=given_up_at_the_end)
    assert given_up == [True]
    assert queries.run(flats, run_id).state is RunState.RUNNING
    assert registry.models(flats) == []
    with flats.state.write("requeue") as tx:
        requeue(tx, flats, run_id)
    execute(flats, run_id, fence=open_fence)
    execute(flats, run_id, fence=open_fence)
    done = queries.run(flats, run_id)
    assert (done.state, done.version) == (RunState.SUCCEEDED, "flats@1")
    assert len(registry.versions(flats, "flats")) == 1
    assert len(done.steps) == 3
    assert len([row for row in done.series if row.name == "loss"]) == 3


def test_a_killed_run_that_nobody_requeued_can_be_executed_again(flats: Workspace) -> None:
    run_id = submit(flats, "train")

    def gone_after_the_start(tx: Session) -> None:
        if queries.run(flats, run_id).state is RunState.RUNNING:
            raise FencedError

    with pytest.raises(FencedError):
        execute(flats, run_id, fence=gone_after_the_start)
    execute(flats, run_id, fence=open_fence)
    assert queries.run(flats, run_id).version == "flats@1"


def test_steps_draw_the_same_random_numbers_each_time(flats: Workspace) -> None:
    write(
        flats,
        """
import random
import numpy as np
from quarterdeck.pipelines import pipeline, step

@step
def draw():
    return [random.random(), float(np.random.rand())]

train = pipeline("train", [draw])
""",
    )
    first, second = run(flats), run(flats)
    assert first.version is None
    assert first.steps[0].output == second.steps[0].output


def test_the_git_state_is_recorded_with_the_uncommitted_diff(flats: Workspace) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=trunk"]
        command = ["git", "-C", str(flats.root), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert run(flats).git == {}
    git("init")
    git("add", "pipelines", "flats.csv", "quarterdeck.toml")
    git("commit", "-m", "first")
    clean = run(flats).git
    assert clean == {"commit": git("rev-parse", "HEAD"), "branch": "trunk", "dirty": False}
    write(flats, TRAIN.replace("C=1.0", "C=2.0"))
    dirty = run(flats).git
    assert (dirty["commit"], dirty["dirty"]) == (clean["commit"], True)
    assert "+def fit(training, *, C=2.0):" in flats.artifacts.read(dirty["diff"]).decode()


def test_submitting_and_looking_import_neither_user_code_nor_pandas(flats: Workspace) -> None:
    write(flats, "raise SystemExit('imported')\n" + TRAIN)
    code = """
import sys
from pathlib import Path
from quarterdeck import bootstrap
from quarterdeck.pipelines import queries, scheduling, submission
workspace = bootstrap.open_workspace(Path(sys.argv[1]))
submission.submit(workspace, "train")
queries.pipelines(workspace), queries.runs(workspace), queries.run(workspace, 1), scheduling.synchronise(workspace)
print(sorted({"pandas", "sklearn", "evidently", "numpy"} & set(sys.modules)))
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, str(flats.root)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert answer.stdout.strip() == "[]", answer.stderr
