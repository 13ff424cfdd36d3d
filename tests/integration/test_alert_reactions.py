"""What follows from alerts by itself: what fires, once, and what is held, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sklearn.ensemble import RandomForestClassifier
from sqlmodel import col, select

from quarterdeck import events, freezing
from quarterdeck.deployments.backtest import Backtest
from quarterdeck.deployments.backtesting import backtest
from quarterdeck.deployments.rollout import deploy
from quarterdeck.monitoring.acknowledgement import acknowledge
from quarterdeck.monitoring.alert import AlertKind, Judgement, Severity, find_alert
from quarterdeck.monitoring.alerting import facts
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.incident import incident
from quarterdeck.monitoring.notice import Notice
from quarterdeck.monitoring.silence import end_silences, silence
from quarterdeck.processes import here
from quarterdeck.runner import lease, worker
from quarterdeck.runner.job import Job, JobKind, JobState, RunnerLease
from quarterdeck.runner.policies import look_again
from quarterdeck.runner.reaction import Reaction
from quarterdeck.runner.reaction_queries import policy_rows, reactions_to
from quarterdeck.runner.reactions import react
from quarterdeck.settings import Settings
from quarterdeck.settings.serving import DeploymentSettings
from quarterdeck.workspace import Workspace
from tests.alarmed import alarm, resolve, rollbacks, runs, told
from tests.backtested import START, answer, changed, noise, rows, serve, settled
from tests.fakes import FakeClock

PIPELINE = """\
from quarterdeck.pipelines import pipeline, step


@step
def fit(*, depth=4):
    return depth


train = pipeline("train", [fit])
"""
RETRAIN = {"on": ["quality"], "do": "retrain", "pipeline": "train", "parameters": {"fit.depth": 8}}
ROLLBACK = {"on": ["quality", "outage"], "do": "rollback"}
DeckMaker = Callable[..., Workspace]


@pytest.fixture
def deck(workspace: Workspace) -> DeckMaker:
    """Makes a workspace with those reactions, whose lease this process has."""
    assert lease.acquire(workspace, here(), workspace.settings.runner.lease)
    folder = workspace.root / workspace.settings.workspace.pipelines
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(PIPELINE)

    def make(*reactions: dict[str, Any], **monitor: Any) -> Workspace:
        return settled(workspace, reactions=list(reactions), **monitor)

    return make


def drifting(workspace: Workspace) -> int:
    """Version 1 was good, version 2 serves, and the concept has changed since: a retrain is worth it."""
    serve(workspace, rows(800, seed=1))
    version = serve(workspace, rows(900, seed=2))
    answer(workspace, version, rows(1500, seed=3, concept=changed))
    return version


def spoilt(workspace: Workspace) -> int:
    """Version 1 was good, and version 2 has learnt nothing: going back is worth it."""
    serve(workspace, rows(3000, seed=1))
    version = serve(workspace, rows(900, seed=2, concept=noise))
    answer(workspace, version, rows(1500, seed=3))
    return version


def steady(workspace: Workspace) -> int:
    """One version serves, and nothing has changed."""
    version = serve(workspace, rows(3000, seed=1))
    answer(workspace, version, rows(6000, seed=2), step=timedelta(seconds=10))
    return version


def go(workspace: Workspace) -> None:
    """Let happen what a runner would do until nothing more does: events, backtests, what is due."""
    while True:
        look_again(workspace)
        if react(workspace):
            continue
        job = next((one for one in jobs(workspace, JobKind.BACKTEST) if one.state is JobState.QUEUED), None)
        if job is None:
            return
        worker.dispatch(workspace, job, lambda tx: None)
        with workspace.state.write("test") as tx:
            tx.get_one(Job, job.id).state = JobState.SUCCEEDED


def jobs(workspace: Workspace, kind: JobKind) -> list[Job]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Job).where(Job.kind == kind)))


def forget(workspace: Workspace) -> None:
    """The runner was killed before it noted what it had read."""
    with workspace.state.write("test") as tx:
        tx.get_one(RunnerLease, 1).events_read = 0


def pass_time(workspace: Workspace, **by: float) -> None:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(**by)


def reaction(workspace: Workspace, alert: int = 1) -> Reaction:
    with workspace.state.read() as tx:
        return tx.exec(select(Reaction).where(Reaction.alert == alert)).one()


def test_a_retrain_fires_once_after_its_backtest_and_names_the_alert(deck: DeckMaker) -> None:
    workspace = deck(RETRAIN)
    alert = alarm(workspace, drifting(workspace))
    go(workspace)
    forget(workspace)
    go(workspace)
    (run,) = runs(workspace)
    assert (run.pipeline, run.parameters, run.trigger) == ("train", {"fit.depth": 8}, f"alert/{alert}")
    assert run.requested_by == "policy fraud/retrain/train"
    (job,) = jobs(workspace, JobKind.RUN)
    assert job.automatic
    kinds = [one.kind for one in told(workspace, "reaction.waiting", "backtest.finished", "reaction.fired")]
    assert kinds == ["reaction.waiting", "backtest.finished", "reaction.fired"]
    (fired,) = told(workspace, "reaction.fired")
    assert fired.data["because"].startswith("backtest/1: retrain, retraining gains +0.")
    with workspace.state.read() as tx:
        events.verify(tx)
        assert tx.get_one(Backtest, 1).alert == alert
    (row,) = reactions_to(workspace, alert)
    assert row.line.startswith("retrain by train: done at ")
    assert (
        "fraud/retrain/train fired, run/1: backtest/1" in [one.what for one in incident(workspace, alert).timeline][-1]
    )


def test_what_is_not_worth_it_ends_there_and_is_asked_again_only_when_it_gets_worse(deck: DeckMaker) -> None:
    workspace = deck(RETRAIN)
    alert = alarm(workspace, steady(workspace))
    go(workspace)
    row = reaction(workspace)
    assert (row.state, row.reason[:26], runs(workspace)) == ("over", "backtest/1: not worth it: ", [])
    pass_time(workspace, days=3)
    go(workspace)
    assert len(jobs(workspace, JobKind.BACKTEST)) == 1
    with workspace.state.write("test") as tx:
        workspace.record(tx, "alert.escalated", f"alert/{alert}", facts(find_alert(tx, alert)))
    go(workspace)
    assert len(jobs(workspace, JobKind.BACKTEST)) == 2
    assert reaction(workspace).reason.startswith("backtest/2: not worth it: ")


def test_a_retrain_waits_until_there_is_something_to_learn_of_what_is_wrong(deck: DeckMaker) -> None:
    workspace = deck(RETRAIN)
    version = serve(workspace, rows(900, seed=2))
    answer(workspace, version, rows(3000, seed=3), step=timedelta(seconds=10))
    onset = START + timedelta(hours=9)
    answer(workspace, version, rows(200, seed=4, concept=changed), since=onset, step=timedelta(seconds=10))
    alert = alarm(workspace, version, onset=onset)
    go(workspace)
    row = reaction(workspace)
    missing = "20 labelled rows since the onset (2026-01-05 09:00 UTC) lie before the compared ones, and 100 are needed"
    assert (row.state, missing in row.reason) == ("held", True)
    assert row.reason.startswith("backtest/1: not enough evidence: ")
    more = onset + timedelta(hours=1)
    answer(workspace, version, rows(600, seed=5, concept=changed), since=more, step=timedelta(seconds=10))
    pass_time(workspace, hours=7)
    go(workspace)
    assert [run.trigger for run in runs(workspace)] == [f"alert/{alert}"]
    found = backtest(workspace, 2).outcome
    # Of the 800 rows since the onset the newest third is compared on, and nothing from before it.
    assert (found["rows"], found["from"][:13]) == (266, "2026-01-05T10")


def test_that_going_back_helps_is_no_last_word_on_a_retrain_that_could_not_learn_yet(deck: DeckMaker) -> None:
    workspace = deck(RETRAIN)
    serve(workspace, rows(3000, seed=1))
    version = serve(workspace, rows(900, seed=2, concept=noise), RandomForestClassifier(1, max_depth=1, random_state=0))
    answer(workspace, version, rows(1500, seed=3))
    alarm(workspace, version, onset=START + timedelta(minutes=1400))
    go(workspace)
    row = reaction(workspace)
    assert row.reason.startswith("backtest/1 speaks for rolling back: ")
    assert "100 are needed to learn what changed" in row.reason
    assert (row.state, row.again_at is not None) == ("held", True)


@pytest.mark.parametrize("end", ["resolved", "noise"])
@pytest.mark.parametrize("kind", [AlertKind.DRIFT, AlertKind.MISSING])
def test_while_an_alert_on_inputs_is_open_nothing_is_learnt_from_them(
    deck: DeckMaker, kind: AlertKind, end: str
) -> None:
    workspace = deck(RETRAIN)
    version = drifting(workspace)
    inputs = alarm(workspace, version, kind, Severity.WARNING)
    quality = alarm(workspace, version)
    go(workspace)
    pass_time(workspace, days=2)
    go(workspace)
    row = reaction(workspace, quality)
    assert row.state == "held"
    assert row.reason.startswith(f"alert/{inputs} on inputs is open (amount): what came in may be contaminated")
    assert (runs(workspace), jobs(workspace, JobKind.BACKTEST)) == ([], [])
    assert len(told(workspace, "reaction.held")) == 1
    if end == "resolved":
        resolve(workspace, inputs)
    else:
        acknowledge(workspace, inputs, Judgement.NOISE)
    go(workspace)
    assert [run.trigger for run in runs(workspace)] == [f"alert/{quality}"]


def test_an_alert_on_inputs_of_no_consequence_holds_nothing(deck: DeckMaker) -> None:
    workspace = deck(RETRAIN)
    version = drifting(workspace)
    alarm(workspace, version, AlertKind.DRIFT, Severity.INFORMATIONAL)
    alarm(workspace, version)
    go(workspace)
    assert len(runs(workspace)) == 1


def test_a_cool_down_holds_the_next_alert_and_lets_it_go_on_afterwards(deck: DeckMaker) -> None:
    workspace = deck({**RETRAIN, "cooldown": "6h", "daily_limit": 9})
    version = drifting(workspace)
    alarm(workspace, version)
    go(workspace)
    second = alarm(workspace, version, AlertKind.QUALITY)
    go(workspace)
    assert "and cools down until " in reaction(workspace, second).reason
    (policy,) = policy_rows(workspace)
    assert (policy.state, policy.alert, policy.last_result) == ("held", second, "run/1")
    assert policy.last_fired_at is not None
    assert policy.may_fire_at == policy.last_fired_at + timedelta(hours=6)
    pass_time(workspace, hours=5)
    go(workspace)
    assert len(runs(workspace)) == 1
    pass_time(workspace, hours=1)
    go(workspace)
    assert [run.trigger for run in runs(workspace)] == ["alert/1", f"alert/{second}"]


def test_a_daily_limit_counts_24_hours_back(deck: DeckMaker) -> None:
    workspace = deck({"on": "quality", "do": "tell", "cooldown": "1s", "daily_limit": 2})
    version = steady(workspace)
    for _ in range(3):
        alarm(workspace, version)
        go(workspace)
        pass_time(workspace, hours=1)
    assert [one.subject for one in told(workspace, "reaction.fired")] == ["alert/1", "alert/2"]
    assert reaction(workspace, 3).reason.startswith("it fired 2 times within 24 hours, and may not more often")
    pass_time(workspace, hours=20)
    go(workspace)
    assert len(told(workspace, "reaction.fired")) == 2
    pass_time(workspace, hours=2)
    go(workspace)
    assert len(told(workspace, "reaction.fired")) == 3


@pytest.mark.parametrize("end", ["by itself", "by a person"])
def test_a_freeze_holds_everything_until_it_ends(deck: DeckMaker, end: str) -> None:
    workspace = deck({**ROLLBACK, "backtest": False}, RETRAIN, {"on": "quality", "do": "tell"})
    version = spoilt(workspace)
    freezing.freeze(workspace, timedelta(hours=2), reason="release", actor="ann")
    alarm(workspace, version)
    go(workspace)
    held = told(workspace, "reaction.held")
    assert [one.data["do"] for one in held] == ["rollback", "retrain", "tell"]
    assert {one.data["reason"] for one in held} == {"everything is frozen by ann until 14:02 UTC"}
    assert (rollbacks(workspace), runs(workspace), told(workspace, "reaction.fired")) == ([], [], [])
    if end == "by itself":
        pass_time(workspace, hours=2)
    else:
        freezing.thaw(workspace)
    go(workspace)
    assert len(rollbacks(workspace)) == 1


def test_a_rollback_is_made_once_whoever_repeats_the_events(deck: DeckMaker) -> None:
    workspace = deck(ROLLBACK)
    alert = alarm(workspace, spoilt(workspace))
    go(workspace)
    for _ in range(3):
        forget(workspace)
        go(workspace)
    (revision,) = rollbacks(workspace)
    assert (revision.version, revision.goes_back_to, revision.actor) == (1, 1, "policy fraud/rollback")
    assert revision.reason == f"alert/{alert}: it got worse"
    (fired,) = told(workspace, "reaction.fired")
    assert fired.data["result"] == "operation/3"
    assert "rolling back gains +0." in fired.data["because"]


def test_a_person_who_was_faster_is_not_overruled(deck: DeckMaker) -> None:
    workspace = deck(ROLLBACK, RETRAIN)
    version = spoilt(workspace)
    alarm(workspace, version)
    serve(workspace, rows(900, seed=5))
    go(workspace)
    with workspace.state.read() as tx:
        found = list(tx.exec(select(Reaction).order_by(col(Reaction.id))))
    assert {(row.state, row.reason) for row in found} == {
        ("over", "the alert is about version 2, and version 3 serves now")
    }
    assert rollbacks(workspace) == []


def test_a_deployment_that_moves_during_the_look_is_left_alone(
    deck: DeckMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quarterdeck.deployments import knowngood

    workspace = deck({**ROLLBACK, "backtest": False})
    version = spoilt(workspace)
    look = knowngood.last_known_good

    looks: list[int | None] = []

    def slowly(*arguments: Any) -> int | None:
        looks.append(look(*arguments))
        if len(looks) == 1:
            return looks[0]  # That of the replay, which every alert on quality gets.
        monkeypatch.setattr(knowngood, "last_known_good", look)
        deploy(workspace, "fraud", model="fraud", version=1, reason="a person")
        deploy(workspace, "fraud", model="fraud", version=2, reason="and back")
        return looks[1]

    monkeypatch.setattr(knowngood, "last_known_good", slowly)
    alarm(workspace, version)
    go(workspace)
    pass_time(workspace, hours=1)
    go(workspace)
    row = reaction(workspace)
    assert (row.state, row.reason) == ("over", "tester made revision 4 after the alert was opened, and so has decided")
    assert rollbacks(workspace) == []


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ("protected", "'fraud' is protected, so a person has to do it: quarterdeck rollback fraud"),
        ("no way back", "there is no last known-good revision to go back to"),
    ],
)
def test_a_rollback_that_nobody_should_make_by_itself_is_held(deck: DeckMaker, case: str, why: str) -> None:
    workspace = deck({**ROLLBACK, "backtest": False})
    if case == "protected":
        version = spoilt(workspace)
        own = workspace.settings.deployment("fraud").model_dump()
        shut = {"fraud": DeploymentSettings.model_validate({**own, "protected": True})}
        workspace = replace(workspace, settings=workspace.settings.model_copy(update={"deployments": shut}))
    else:
        version = steady(workspace)
    alarm(workspace, version)
    go(workspace)
    assert (reaction(workspace).state, reaction(workspace).reason) == ("held", why)
    assert rollbacks(workspace) == []


def test_a_workspace_that_may_only_be_read_is_not_changed_by_policies_either(deck: DeckMaker) -> None:
    workspace = deck({**ROLLBACK, "backtest": False})
    version = spoilt(workspace)
    shut = {**workspace.settings.model_dump(), "workspace": {"name": "w", "read_only": True}}
    alarm(workspace, version)
    go(replace(workspace, settings=Settings.model_validate(shut)))
    assert reaction(workspace).reason == "quarterdeck.toml says read_only = true"
    assert rollbacks(workspace) == []


def test_an_outage_waits_for_no_backtest(deck: DeckMaker) -> None:
    workspace = deck(ROLLBACK)
    alarm(workspace, spoilt(workspace), AlertKind.OUTAGE)
    go(workspace)
    assert (len(rollbacks(workspace)), jobs(workspace, JobKind.BACKTEST)) == (1, [])


def test_a_rollback_that_would_not_help_is_not_made(deck: DeckMaker) -> None:
    workspace = deck(ROLLBACK)
    alarm(workspace, drifting(workspace))
    go(workspace)
    assert reaction(workspace).reason.startswith("backtest/1 speaks for retraining: ")
    assert (reaction(workspace).state, rollbacks(workspace)) == ("over", [])


def test_an_alert_that_rests_ended_or_was_noise_fires_nothing(deck: DeckMaker) -> None:
    workspace = deck({"on": "quality", "do": "tell"})
    version = steady(workspace)
    silenced, ended, false = (alarm(workspace, version) for _ in range(3))
    silence(workspace, silenced, timedelta(hours=1), reason="known")
    resolve(workspace, ended)
    acknowledge(workspace, false, Judgement.NOISE, actor="ann")
    go(workspace)
    reasons = [reaction(workspace, one).reason for one in (silenced, ended, false)]
    assert reasons == ["the alert is silenced until 13:01 UTC", "the alert is resolved", "ann called the alert noise"]
    assert told(workspace, "reaction.fired") == []
    pass_time(workspace, hours=1)
    end_silences(workspace)
    go(workspace)
    assert [one.subject for one in told(workspace, "reaction.fired")] == [f"alert/{silenced}"]


def test_too_few_labels_hold_it_and_a_new_backtest_is_made_when_it_cooled_down(deck: DeckMaker) -> None:
    workspace = deck({**RETRAIN, "cooldown": "2h"})
    version = serve(workspace, rows(800, seed=1))
    answer(workspace, version, rows(1500, seed=3, concept=changed), labelled=60)
    alarm(workspace, version)
    go(workspace)
    row = reaction(workspace)
    assert row.state == "held"
    assert row.reason.startswith("backtest/1: not enough evidence: 180 labelled predictions of version 1 ")
    answer(workspace, version, rows(1500, seed=4, concept=changed), since=START + timedelta(days=3))
    go(workspace)
    assert runs(workspace) == []
    pass_time(workspace, hours=2)
    go(workspace)
    assert len(runs(workspace)) == 1
    assert reaction(workspace).backtest == 2


def test_a_backtest_whose_job_died_is_said(deck: DeckMaker) -> None:
    workspace = deck(RETRAIN)
    alarm(workspace, drifting(workspace))
    while react(workspace):
        pass
    (job,) = jobs(workspace, JobKind.BACKTEST)
    with workspace.state.write("test") as tx:
        tx.get_one(Job, job.id).state = JobState.LOST
    pass_time(workspace, minutes=10)
    go(workspace)
    row = reaction(workspace)
    assert (row.state, row.reason) == ("held", f"job/{job.id}, which was to make backtest/1, is lost: retry it")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"pipeline": "gone", "parameters": {}}, "There is no pipeline 'gone'"),
        ({"parameters": {"fit.width": 3}}, "Unknown parameter 'fit.width' of pipeline 'train'"),
    ],
)
def test_a_pipeline_that_cannot_be_run_holds_the_retrain(deck: DeckMaker, change: dict[str, Any], why: str) -> None:
    workspace = deck({**RETRAIN, **change})
    alarm(workspace, drifting(workspace))
    go(workspace)
    assert reaction(workspace).reason.startswith(why)
    assert jobs(workspace, JobKind.BACKTEST) == []


def test_what_fired_is_told_to_those_who_read_and_not_to_those_who_keep_incidents(deck: DeckMaker) -> None:
    workspace = deck({"on": "quality", "do": "tell"})
    version = steady(workspace)
    pager = {"url": "http://pager", "format": "pagerduty", "secret": "KEY"}
    chat = {"url": "http://chat", "format": "slack"}
    settings = Settings.model_validate(
        {**workspace.settings.model_dump(), "notifications": {"webhooks": [pager, chat]}}
    )
    workspace = replace(workspace, settings=settings)
    alarm(workspace, version, told="alert.unsilenced")
    go(workspace)
    go(workspace)
    (fired,) = told(workspace, "reaction.fired")
    with workspace.state.read() as tx:
        noted = tx.exec(select(Notice.webhook).where(Notice.subject == f"event/{fired.id}")).all()
    assert noted == [settings.notifications.webhooks[1].key]


def test_an_alert_below_the_policy_s_severity_or_of_another_kind_is_none_of_its_business(deck: DeckMaker) -> None:
    workspace = deck({**ROLLBACK, "severity": "page"})
    version = spoilt(workspace)
    warned = alarm(workspace, version, severity=Severity.WARNING)
    alarm(workspace, version, AlertKind.ESTIMATE)
    go(workspace)
    with workspace.state.read() as tx:
        assert tx.exec(select(Reaction)).all() == []
    with workspace.state.write("test") as tx:
        alert = find_alert(tx, warned)
        alert.severity = Severity.PAGE
        workspace.record(tx, "alert.escalated", alert.reference, facts(alert))
    (row,) = reactions_to(workspace, warned)
    assert (row.state, row.line) == ("next", "roll back: comes next once a backtest speaks for it")
    go(workspace)
    assert len(rollbacks(workspace)) == 1


def test_a_policy_that_was_taken_out_of_the_settings_does_nothing_more(deck: DeckMaker, tmp_path: Path) -> None:
    workspace = deck({**ROLLBACK, "backtest": False})
    version = spoilt(workspace)
    freezing.freeze(workspace, timedelta(hours=1))
    alarm(workspace, version)
    go(workspace)
    without = deck()
    pass_time(without, hours=2)
    go(without)
    assert (reaction(without).state, rollbacks(without)) == ("over", [])


def test_one_that_fails_is_told_of_and_does_not_stop_the_others(
    deck: DeckMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from quarterdeck.runner import policies

    workspace = deck({"on": "quality", "do": "tell", "cooldown": "1s", "daily_limit": 5})
    version = steady(workspace)
    freezing.freeze(workspace, timedelta(hours=1))
    first, second = alarm(workspace, version), alarm(workspace, version)
    go(workspace)
    deeds = dict(policies._DEEDS)

    def fail_once(case: Any) -> None:
        monkeypatch.setattr(policies, "_DEEDS", deeds)
        raise ValueError("nobody thought of this")

    monkeypatch.setattr(policies, "_DEEDS", {"tell": fail_once})
    pass_time(workspace, hours=1)
    look_again(workspace)
    (failed,) = told(workspace, "reaction.failed")
    assert (failed.subject, failed.data["error"]) == (f"alert/{first}", "nobody thought of this")
    assert [one.subject for one in told(workspace, "reaction.fired")] == [f"alert/{second}"]
    pass_time(workspace, hours=1)
    go(workspace)
    assert len(told(workspace, "reaction.fired")) == 2


def test_from_the_labels_to_the_run_by_the_monitor_itself(deck: DeckMaker) -> None:
    workspace = deck(RETRAIN, window="5h", origin=START, grace="1s")
    drifting(workspace)
    evaluate(workspace, "fraud")
    (opened,) = told(workspace, "alert.opened")
    assert (opened.data["kind"], opened.data["severity"]) == ("quality", "page")
    go(workspace)
    assert [run.trigger for run in runs(workspace)] == [opened.subject]


def test_a_contaminated_source_opens_both_alerts_and_is_not_learnt_from(deck: DeckMaker) -> None:
    workspace = deck(RETRAIN, window="5h", origin=START, grace="1s")
    serve(workspace, rows(800, seed=1))
    version = serve(workspace, rows(900, seed=2))
    frame = rows(1500, seed=3)
    # Amounts arrive in cents, by somebody else's mistake.
    answer(workspace, version, frame.assign(amount=100 * frame["amount"] + 3))
    evaluate(workspace, "fraud")
    assert {one.data["kind"] for one in told(workspace, "alert.opened")} >= {"drift", "quality"}
    go(workspace)
    assert runs(workspace) == []
    assert (
        "on inputs is open (amount): what came in may be contaminated"
        in told(workspace, "reaction.held")[0].data["reason"]
    )
