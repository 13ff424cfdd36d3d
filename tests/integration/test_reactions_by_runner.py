"""Reactions by a real runner: backtests in job processes, and deeds that happen once although it is killed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from quarterdeck import events
from quarterdeck.runner.job import JobKind, JobState, RunnerLease
from quarterdeck.workspace import Workspace
from tests.alarmed import alarm, rollbacks, runs, told
from tests.backtested import answer, changed, noise, rows, serve
from tests.deck import ENVIRONMENT, QUARTERDECK
from tests.integration.runner_harness import jobs, make_workspace, running
from tests.waiting import wait_for

SETTINGS = """\
[monitors.fraud]
deployment = "fraud"
metric = "roc_auc"
[deployments.fraud]
probation = "1ms"
probation_requests = 0
"""
ROLLBACK = (
    SETTINGS
    + """\
[[monitors.fraud.reactions]]
on = "quality"
do = "rollback"
"""
)
RETRAIN = (
    SETTINGS
    + """\
[[monitors.fraud.reactions]]
on = "quality"
do = "retrain"
pipeline = "quick"
"""
)


def quarterdeck(workspace: Workspace, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [QUARTERDECK, "-w", str(workspace.root), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=ENVIRONMENT,
    )


def test_a_rollback_is_fired_once_although_the_runner_is_killed_between(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", settings=ROLLBACK)
    serve(workspace, rows(3000, seed=1))
    version = serve(workspace, rows(900, seed=2, concept=noise))
    answer(workspace, version, rows(1500, seed=3))
    alert = alarm(workspace, version)
    with running(workspace, "runner") as runner:
        wait_for(lambda: rollbacks(workspace), seconds=200, what="the rollback")
        runner.kill()
    with workspace.state.write("test") as tx:
        # As if it had been killed before it noted what it had read.
        tx.get_one(RunnerLease, 1).events_read = 0
    with running(workspace, "runner") as runner:
        runner.wait_until_ready()
        wait_for(lambda: _all_read(workspace), seconds=60, what="the events")
    (revision,) = rollbacks(workspace)
    assert (revision.version, revision.reason) == (1, f"alert/{alert}: it got worse")
    (fired,) = told(workspace, "reaction.fired")
    assert fired.subject == f"alert/{alert}"
    (job,) = [one for one in jobs(workspace) if one.kind is JobKind.BACKTEST]
    assert job.state is JobState.SUCCEEDED
    assert (job.process_group, job.log) != (None, None)
    workspace.close()


def _all_read(workspace: Workspace) -> bool:
    with workspace.state.read() as tx:
        return tx.get_one(RunnerLease, 1).events_read == events.last_id(tx)


def test_the_console_s_verbs_show_what_a_retrain_waited_for_and_started(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", settings=RETRAIN)
    serve(workspace, rows(800, seed=1))
    version = serve(workspace, rows(900, seed=2))
    answer(workspace, version, rows(1500, seed=3, concept=changed))
    with running(workspace, "runner") as runner:
        runner.wait_until_ready()
        asked = quarterdeck(workspace, "backtest", "fraud")
        assert asked.returncode == 0, asked.stderr
        assert "backtest/1 of fraud, version 2: retrain" in asked.stdout
        assert "Retrained on recent rows alone: 1,000 rows that end before the compared ones" in asked.stdout
        alert = alarm(workspace, version)
        wait_for(lambda: runs(workspace), seconds=100, what="the run")
        wait_for(lambda: runs(workspace)[0].state == "succeeded", seconds=100, what="the run's end")
    assert runs(workspace)[0].trigger == f"alert/{alert}"
    (policy,) = json.loads(quarterdeck(workspace, "reactions", "--json").stdout)
    assert (policy["policy"], policy["state"]) == ("fraud/retrain/quick", "cooling down")
    assert (policy["last_alert"], policy["last_result"]) == (alert, "run/1")
    assert policy["may_fire_at"] > policy["last_fired_at"]
    assert "fraud/retrain/quick" in quarterdeck(workspace, "reactions").stdout
    assert "retrain by quick: done at " in quarterdeck(workspace, "reactions", "--alert", str(alert)).stdout
    assert f"alert/{alert}: retrain by quick: done at " in quarterdeck(workspace, "alerts").stdout
    assert "fraud/retrain/quick fired, run/1" in quarterdeck(workspace, "incident", str(alert)).stdout
    workspace.close()


def test_how_the_verbs_end(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", settings=SETTINGS)
    assert quarterdeck(workspace, "backtest", "gone").returncode == 2
    assert quarterdeck(workspace, "reactions", "--alert", "7").returncode == 2
    empty = quarterdeck(workspace, "reactions")
    assert (empty.returncode, empty.stdout.startswith("No reactions.")) == (0, True)
    version = serve(workspace, rows(400, seed=1))
    answer(workspace, version, rows(60, seed=2))
    waiting = quarterdeck(workspace, "backtest", "fraud")
    assert (waiting.returncode, waiting.stdout) == (0, "backtest/1 of fraud waits for a runner.\n")
    told = " ".join(quarterdeck(workspace, "backtest", "--help").stdout.split())
    assert "With --detach, or without a live runner, it ends with 0 once it is queued." in told
    with running(workspace, "runner") as runner:
        runner.wait_until_ready()
        wait_for(lambda: jobs(workspace) and not jobs(workspace)[-1].state.under_way, seconds=100, what="the job")
        few = quarterdeck(workspace, "backtest", "fraud", "--json")
    assert few.returncode == 1, few.stderr
    found = json.loads(few.stdout)
    assert found["verdict"] == "not enough evidence"
    assert found["outcome"]["missing"] == ["180 labelled predictions of version 1 to compare on; there are 60"]
    settings = workspace.settings_file.read_text()
    workspace.settings_file.write_text(settings.replace("[workspace]", "[workspace]\nread_only = true"))
    assert quarterdeck(workspace, "backtest", "fraud").returncode == 3
    workspace.close()


def test_doctor_names_a_pipeline_that_a_reaction_could_not_run(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "w", settings=RETRAIN.replace('"quick"', '"gone"'))
    found = json.loads(quarterdeck(workspace, "doctor", "--json").stdout)
    (check,) = [one for one in found["checks"] if one["name"] == "reactions"]
    assert check["state"] == "warning"
    assert check["found"] == "fraud/retrain/gone runs the pipeline 'gone', which is not there"
    workspace.close()
