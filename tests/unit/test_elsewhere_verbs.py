"""The verbs for models that are served elsewhere and for those that score tables: what they print and exit with."""

from __future__ import annotations

import json
import shlex
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import skops.io

from quarterdeck.deployments.queries import deployment_row
from quarterdeck.deployments.rollout import roll_back
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import proof, verbs
from tests.gateways import add_classifier, pipeline, training_frame
from tests.unit.deployments.test_commanding import having
from tests.unit.deployments.test_witnessing import elsewhere, report

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`quarterdeck ARGUMENTS --json`: exit code, document and stderr."""

    def call(*arguments: str, text: bool = False) -> tuple[int, Any, str]:
        words = ["quarterdeck", "--workspace", str(workspace.root), *arguments, *([] if text else ["--json"])]
        monkeypatch.setattr(sys, "argv", words)
        code = verbs.run()
        said = capsys.readouterr()
        return code, said.out if text or not said.out else json.loads(said.out), said.err

    return call


@pytest.fixture
def flats(tmp_path: Path) -> Path:
    rows = "".join(
        f"{number % 7},{number * 3.5},{'true' if number % 2 else 'false'},{number}\n" for number in range(40)
    )
    (tmp_path / "flats.csv").write_text(f"rooms,area,garden,rent\n{rows}")
    return tmp_path / "flats.csv"


def test_adopting_what_answers_at_a_url_prints_the_lines_to_add(run: Run, flats: Path, workspace: Workspace) -> None:
    arguments = (
        "adopt",
        "--external",
        "http://pricing.example:5000/predict",
        "--sample",
        str(flats),
        "--target",
        "rent",
    )
    code, out, err = run(*arguments)
    assert (code, out["deployment"]) == (0, "pricing")
    assert "unproven until a prediction names version 1" in err
    assert deployment_row(workspace, "pricing").url == "http://pricing.example:5000/predict"
    assert 'Reporter("http://127.0.0.1:8480", "pricing", version=1)' in out["lines"]["wsgi"]
    assert Path(shlex.split(out["lines"]["install"])[2], "reporter.py").is_file()
    _, where, _, body = shlex.split(out["lines"]["curl"])
    assert where == "http://127.0.0.1:8480/v2/models/pricing/predictions"
    (row,) = json.loads(body)["predictions"]
    assert (set(row["inputs"]), row["version"]) == ({"rooms", "area", "garden"}, 1)
    _, text, _ = run(*arguments, text=True)
    assert "pricing@2 is deployment 'pricing'" in text
    assert "app.add_middleware(AsgiMiddleware" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--external",), "Give --name"),
        (("--external", "http://127.0.0.1:5000/predict"), "Give --name"),
        (("--external", "http://localhost:5000/predict"), "Give --name"),
        (("--external", "model.skops", "--name", "x"), None),
        (("--external", "--batch", "--name", "x"), "Give a model file, with --batch"),
        ((), "Give a model file, with --batch"),
    ],
)
def test_what_does_not_go_together_is_said(run: Run, flats: Path, words: tuple[str, ...], says: str | None) -> None:
    code, _, err = run("adopt", *words, "--sample", str(flats))
    if says is None:
        assert code == 0  # a name was given: what stands there is only kept
    else:
        assert (code, says in err) == (2, True)


def test_predictions_come_from_a_database_and_name_their_versions(
    run: Run, flats: Path, workspace: Workspace, tmp_path: Path
) -> None:
    for _ in range(2):
        run("adopt", "--external", "--name", "flats", "--sample", str(flats), "--target", "rent")
    warehouse = tmp_path / "warehouse.db"
    with sqlite3.connect(warehouse) as connection:
        connection.execute("CREATE TABLE scored (id TEXT, rooms INT, area REAL, garden INT, rent REAL, model INT)")
        connection.execute("INSERT INTO scored VALUES ('a', 3, 71.5, 1, 900.0, 1), ('b', NULL, 30, 0, 500.0, 2)")
    connection.close()
    add = ("predictions", "add", "flats", f"sqlite:///{warehouse}", "--prediction", "rent", "--version-column", "model")
    code, out, _ = run(*add, "--query", "select * from scored")
    assert (code, out) == (0, {"accepted": 2, "duplicates": 0})
    assert run(*add, "--query", "select * from scored")[1] == {"accepted": 0, "duplicates": 2}
    assert deployment_row(workspace, "flats").state == "verified"
    assert deployment_row(workspace, "flats").seen == (1, 2)
    assert "Give --query" in run(*add)[2]
    code, _, err = run("predictions", "add", "flats", str(flats), "--query", "select 1")
    assert (code, "needs a database's URL" in err) == (2, True)
    code, _, err = run(*add, "--query", "select * from absent")
    assert (code, "no such table" in err) == (2, True)


def test_history_tells_what_was_seen_elsewhere(run: Run, workspace: Workspace) -> None:
    elsewhere(workspace)
    report(workspace, 1)
    _, out, _ = run("history", "pricing")
    assert [row["kind"] for row in out] == ["deploy", "deploy", "observed"]
    assert (out[-1]["version"], out[-1]["end"]) == (1, None)
    _, text, _ = run("history", "pricing", text=True)
    assert "SEEN VERSION" in text
    assert "still" in text
    assert "not asked for" in text


def test_a_probe_of_another_version_ends_with_1(run: Run, workspace: Workspace) -> None:
    elsewhere(workspace)
    with workspace.settings_file.open("a") as file:
        file.write(f'\n[deployments.pricing]\nversion_probe = ["{sys.executable}", "-c", "print(1)"]\n')
    code, out, _ = run("probe", "pricing")
    assert (code, out) == (1, {"deployment": "pricing", "version": 1, "wanted": 2, "state": "unproven"})
    assert run("probe", "nobody")[0] == 2
    assert "version 1 answers, wanted is version 2" in run("probe", "pricing", text=True)[1]


def test_a_batch_model_is_adopted_scores_and_scores_again(run: Run, workspace: Workspace, tmp_path: Path) -> None:
    frame = training_frame()
    truth = (frame["amount"] > 0).map({True: "yes", False: "no"})
    from sklearn.linear_model import LogisticRegression

    skops.io.dump(pipeline(LogisticRegression()).fit(frame, truth), tmp_path / "fraud.skops")
    frame.assign(fraud=truth).to_csv(tmp_path / "sample.csv", index=False)
    frame.to_csv(tmp_path / "rows.csv", index=False)
    adopt = ("adopt", str(tmp_path / "fraud.skops"), "--sample", str(tmp_path / "sample.csv"), "--target", "fraud")
    code, out, err = run(*adopt, "--batch")
    assert (code, out["lines"], "unproven until it has" in err) == (0, None, True)
    score = ("score", "fraud", str(tmp_path / "rows.csv"), str(tmp_path / "out.parquet"))
    code, out, _ = run(*score)
    assert (code, out["rows"], out["version"], len(out["digest"])) == (0, 400, 1, 64)
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == 400
    run("deploy", "fraud", "--version", str(add_classifier(workspace, shift=1.0)))
    run(*score)
    code, out, err = run("rollback", "fraud", "--to", "1")
    assert (code, out["state"], len(out["outputs"])) == (0, "unproven", 1)
    assert "Version 2 wrote" in err
    assert "`quarterdeck score --again fraud` scores it again" in err
    code, out, _ = run("score", "--again", "fraud")
    assert (code, out[0]["done"]["version"], out[0]["why_not"]) == (0, 1, None)
    assert run("score", "--again", "fraud")[1] == []
    roll_back(workspace, "fraud", to=2, reason="no")
    (tmp_path / "rows.csv").unlink()
    code, text, err = run("score", "fraud", "--again", text=True)
    assert (code, "is gone" in text, "Not every output" in err) == (1, True, True)


@pytest.mark.parametrize("words", [("fraud",), ("fraud", "a.csv"), ("fraud", "a.csv", "b.csv", "--again")])
def test_score_wants_two_files_or_again(run: Run, words: tuple[str, ...]) -> None:
    assert run("score", *words)[0] == 2


def test_deploy_makes_a_batch_deployment_and_knows_who_may_serve(run: Run, workspace: Workspace) -> None:
    add_classifier(workspace)
    code, _, err = run("deploy", "fraud", "--served-by", "nobody")
    assert (code, "gateway, process, external, batch" in err) == (2, True)
    assert run("deploy", "fraud", "--served-by", "batch")[1]["state"] == "unproven"
    assert run("deploy", "fraud", "--served-by", "gateway", "--version", "1")[0] == 2


def test_a_rollback_elsewhere_that_nothing_shows_is_not_called_done(
    run: Run, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quarterdeck.deployments.commanding import roll_back_elsewhere

    monkeypatch.setattr(proof, "PROOF_SECONDS", 0.2)
    monkeypatch.setattr(proof, "runner_is_alive", lambda workspace: True)
    command = f'["{sys.executable}", "-c", "pass"]'
    with workspace.settings_file.open("a") as file:
        file.write(f"\n[deployments.pricing]\nrollback_command = {command}\n")
    workspace = having(workspace, rollback_command=[sys.executable, "-c", "pass"])
    elsewhere(workspace)
    code, out, err = run("rollback", "pricing", "--to", "1")
    assert (code, out["state"]) == (1, "planned")
    assert "the rollback_command has not ended" in err
    roll_back_elsewhere(workspace, out["id"])
    roll_back_elsewhere(workspace, roll_back(workspace, "pricing", to=2, reason="x").id)
    operation = deployment_row(workspace, "pricing")
    assert operation.state == "unproven"
    row, missing = proof.wait_for_proof(workspace, out["id"] + 1)
    assert row.state == "unproven"
    assert "nothing has named version 2 there" in (missing or "")
