"""Ticks that score tables and ask probes: which jobs they make, and what counts as an overlap."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.queries import deployment_row, operations
from quarterdeck.deployments.rollout import deploy, roll_back
from quarterdeck.deployments.scoring import ask_to_score_again, score
from quarterdeck.errors import DataError, SettingsError, UsageError
from quarterdeck.pipelines.schedule import Schedule
from quarterdeck.pipelines.scheduling import synchronise
from quarterdeck.processes import here
from quarterdeck.runner import lease, ticking
from quarterdeck.runner.job import Job, JobKind
from quarterdeck.runner.reactions import react
from quarterdeck.runner.worker import dispatch
from quarterdeck.settings import Settings, load_settings
from quarterdeck.traffic.queries import totals
from quarterdeck.workspace import Workspace
from tests.fakes import FakeFetcher
from tests.gateways import add_classifier, training_frame
from tests.unit.deployments.test_witnessing import elsewhere

EVENING = datetime(2026, 1, 5, 23, 30, tzinfo=UTC)
"""In Berlin the next day has begun."""


def scheduled(workspace: Workspace, **sections: Any) -> Workspace:
    asked = dataclasses.replace(workspace, settings=Settings.model_validate(sections))
    synchronise(asked)
    return asked


def nightly(**changes: Any) -> dict[str, Any]:
    return {"score": "fraud", "input": "rows.csv", "output": "scored/{date}.csv", "every": "1d", **changes}


def fire(workspace: Workspace, *names: str, at: datetime = EVENING) -> list[Job]:
    with workspace.state.write("test") as tx:
        rows = [tx.exec(select(Schedule).where(Schedule.name == name)).one() for name in names]
        ticking.fire(tx, workspace, *((row, at) for row in rows))
        return list(tx.exec(select(Job)))


def do(workspace: Workspace, job: Job) -> None:
    dispatch(workspace, job, lambda tx: None)


def reacted(workspace: Workspace) -> list[Job]:
    """The jobs that there are once a runner has dealt with what happened."""
    assert lease.acquire(workspace, here(), workspace.settings.runner.lease)
    react(workspace)
    with workspace.state.read() as tx:
        return list(tx.exec(select(Job)))


def test_a_tick_scores_into_the_file_of_its_day(workspace: Workspace) -> None:
    workspace = scheduled(workspace, schedules={"nightly": nightly(timezone="Europe/Berlin")})
    add_classifier(workspace)
    deploy(workspace, "fraud", model="fraud", version=1, served_by=ServedBy.BATCH)
    training_frame(30).to_csv(workspace.root / "rows.csv", index=False)
    (workspace.root / "scored").mkdir()
    (job,) = fire(workspace, "nightly")
    assert (job.kind, job.subject, job.max_attempts) == (JobKind.SCORE, "score/fraud", 2)
    assert job.payload == {"deployment": "fraud", "input": "rows.csv", "output": "scored/2026-01-06.csv"}
    do(workspace, job)
    do(workspace, job)  # an attempt that died after its last write
    assert (workspace.root / "scored" / "2026-01-06.csv").exists()
    assert totals(workspace).predictions == 30
    assert deployment_row(workspace, "fraud").state == "verified"


def test_two_schedules_score_by_one_deployment_and_one_does_not_overlap_itself(workspace: Workspace) -> None:
    other = nightly(output="other/{date}.csv")
    workspace = scheduled(workspace, schedules={"nightly": nightly(), "other": other})
    assert len(fire(workspace, "nightly", "other")) == 2
    assert len(fire(workspace, "nightly", "other", at=EVENING + timedelta(days=1))) == 2


def test_what_a_rollback_left_is_scored_again_by_a_job_once_for_each_time_it_is_asked_for(
    workspace: Workspace,
) -> None:
    add_classifier(workspace)
    add_classifier(workspace, shift=2.0)
    rows, out = workspace.root / "rows.csv", workspace.root / "out.csv"
    training_frame(30).to_csv(rows, index=False)
    deploy(workspace, "fraud", model="fraud", version=1, served_by=ServedBy.BATCH)
    with pytest.raises(UsageError, match="no rollback"):
        ask_to_score_again(workspace, "fraud")
    deploy(workspace, "fraud", model="fraud", version=2)
    score(workspace, "fraud", rows, out)
    roll_back(workspace, "fraud", to=1, reason="worse")
    ask_to_score_again(workspace, "fraud")
    jobs = reacted(workspace)
    assert [(job.kind, job.subject) for job in jobs] == [(JobKind.SCORE, "deployment/fraud")]
    assert reacted(workspace) == jobs
    do(workspace, jobs[0])
    assert deployment_row(workspace, "fraud").state == "verified"
    assert operations(workspace)[0].outputs == ()
    deploy(workspace, "fraud", model="fraud", version=2)
    score(workspace, "fraud", rows, out)
    roll_back(workspace, "fraud", to=1, reason="worse")
    rows.unlink()
    ask_to_score_again(workspace, "fraud")
    with pytest.raises(DataError, match=r"out.csv: its input .*rows.csv is gone"):
        do(workspace, reacted(workspace)[1])


def test_a_probe_is_asked_as_often_as_the_settings_say(workspace: Workspace) -> None:
    own = {"version_probe": "http://host/version", "probe_every": "30s"}
    workspace = scheduled(workspace, deployments={"pricing": own, "other": {}})
    elsewhere(workspace, versions=1)
    with workspace.state.read() as tx:
        row = tx.exec(select(Schedule).where(Schedule.name == "probe:pricing")).one()
        assert tx.exec(select(Schedule).where(Schedule.name == "probe:other")).first() is None
    assert (row.every_seconds, row.target) == (30.0, "pricing")
    (job,) = fire(workspace, "probe:pricing")
    assert (job.kind, job.payload) == (JobKind.PROBE, {"deployment": "pricing"})
    assert isinstance(workspace.ports.fetcher, FakeFetcher)
    workspace.ports.fetcher.answers["http://host/version"] = "1"
    do(workspace, job)
    assert deployment_row(workspace, "pricing").state == "verified"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[schedules.x]\nevery = "1d"\n', "give exactly one of pipeline and score"),
        ('[schedules.x]\nevery = "1d"\npipeline = "p"\nscore = "d"\n', "give exactly one of pipeline and score"),
        ('[schedules.x]\nevery = "1d"\nscore = "d"\ninput = "a.csv"\n', "score needs input and output"),
        ('[schedules.x]\nevery = "1d"\npipeline = "p"\noutput = "a.csv"\n', "score needs input and output"),
        ('[deployments.x]\nversion_probe = "which-version"\n', "give a URL, or a list"),
    ],
)
def test_settings_that_do_not_fit_are_named(workspace: Workspace, text: str, says: str) -> None:
    workspace.settings_file.write_text(text)
    with pytest.raises(SettingsError, match=says):
        load_settings(workspace.settings_file)
