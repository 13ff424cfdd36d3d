"""What follows from what happened: once for each event, and no event can stop the others."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import Session, select

from quarterdeck import events, freezing
from quarterdeck.deployments import rollout
from quarterdeck.errors import BusyError, DiskError, QuarterdeckError, RefusedError
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Severity
from quarterdeck.monitoring.burning import watch_budgets
from quarterdeck.monitoring.notice import Notice
from quarterdeck.monitoring.silence import end_silences, silence
from quarterdeck.pipelines import ending, submission
from quarterdeck.pipelines.run import Run, RunState, find_run
from quarterdeck.pipelines.schedule import Schedule, Target
from quarterdeck.pipelines.submission import Wanted
from quarterdeck.processes import here
from quarterdeck.runner import lease, queue, worker
from quarterdeck.runner.job import Job, JobKind, JobState, RunnerLease
from quarterdeck.runner.queue import Work
from quarterdeck.runner.reactions import react
from quarterdeck.runner.telling import form_messages
from quarterdeck.settings import Settings
from quarterdeck.settings.making import ModelSettings
from quarterdeck.settings.notifications import NotificationSettings
from quarterdeck.traffic.recording import record_answered, record_unanswered
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock, FakeNotifier
from tests.gateways import add_classifier


@pytest.fixture(autouse=True)
def _has_the_lease(workspace: Workspace) -> None:
    assert lease.acquire(workspace, here(), workspace.settings.runner.lease)


def happen(workspace: Workspace, what: str, subject: str, actor: str | None = None, **data: Any) -> None:
    with workspace.state.write("test") as tx:
        workspace.record(tx, what, subject, data, actor=actor)


def alerting(workspace: Workspace, number: int = 7, severity: str = "page", kind: str = "quality") -> None:
    """An alert, as a monitor would have opened it."""
    now = workspace.now()
    with workspace.state.write("test") as tx:
        alert = Alert(
            id=number,
            monitor="m",
            deployment="none",
            version=1,
            kind=AlertKind(kind),
            columns=["amount"],
            severity=Severity(severity),
            score=1.0,
            state=AlertState.OPEN,
            summary="it moved",
            evidence={},
            onset=now,
            last_window_end=now,
            opened_at=now,
        )
        tx.add(alert)


def all_jobs(workspace: Workspace) -> list[Job]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Job)))


def noted(workspace: Workspace) -> list[Notice]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Notice)))


def with_settings(workspace: Workspace, **sections: Any) -> Workspace:
    return dataclasses.replace(workspace, settings=Settings(**sections))


def queue_a_run(workspace: Workspace) -> int:
    with workspace.state.write("test") as tx:
        (run,) = submission.submit_in(tx, workspace, Wanted("train", {}, "manual", "ann"))
        assert run.id is not None
        return run.id


def test_a_queued_run_becomes_one_job_even_if_the_cursor_is_lost(workspace: Workspace) -> None:
    run_id = queue_a_run(workspace)
    assert react(workspace)
    assert not react(workspace)
    with workspace.state.write("test") as tx:
        tx.get_one(RunnerLease, 1).events_read = 0
    assert react(workspace)
    (job,) = all_jobs(workspace)
    assert (job.kind, job.key, job.payload) == (JobKind.RUN, f"run/{run_id}", {"run": run_id})


def test_cancelling_ends_a_waiting_job_and_marks_a_running_one(workspace: Workspace) -> None:
    first, second = queue_a_run(workspace), queue_a_run(workspace)
    react(workspace)
    with workspace.state.write("test") as tx:
        tx.exec(select(Job).where(Job.key == f"run/{second}")).one().state = JobState.RUNNING
    submission.cancel(workspace, first, actor="ada")
    happen(workspace, "run.cancel_requested", f"run/{second}", actor="ada")
    react(workspace)
    waiting, running = all_jobs(workspace)
    assert waiting.state is JobState.CANCELLED
    assert (running.state, running.cancel_requested_by) == (JobState.RUNNING, "ada")


def test_cancelling_what_a_dead_runner_left_ends_the_run_as_well(workspace: Workspace) -> None:
    run_id = queue_a_run(workspace)
    react(workspace)
    with workspace.state.write("test") as tx:
        find_run(tx, run_id).move(RunState.RUNNING, workspace.now())
    submission.cancel(workspace, run_id, actor="ada")
    with workspace.state.write("test") as tx:
        ending.requeue(tx, workspace, run_id)  # What the next runner does before it reads the news.
    react(workspace)
    (job,) = all_jobs(workspace)
    with workspace.state.read() as tx:
        (cancelled,) = [event for event in events.after(tx, 0) if event.kind == "run.cancelled"]
        assert find_run(tx, run_id).state is RunState.CANCELLED
    assert (job.state, cancelled.actor) == (JobState.CANCELLED, "ada")


def test_an_alert_tells_each_webhook_once_for_each_severity_that_is_worth_it(workspace: Workspace) -> None:
    told = with_settings(
        workspace, notifications=NotificationSettings.model_validate({"webhooks": ["http://a", "http://b"]})
    )
    alerting(told)
    happen(told, "alert.opened", "alert/7", severity="informational", kind="quality", deployment="none")
    react(told)
    assert all_jobs(told) == []
    first, second = [one.key for one in told.settings.notifications.webhooks]
    both = [("alert/7", first), ("alert/7", second)]
    for severity, expected in (("warning", both), ("warning", both), ("page", both + both)):
        happen(told, "alert.escalated", "alert/7", severity=severity, kind="quality", deployment="none")
        react(told)
        assert [(notice.subject, notice.webhook) for notice in noted(told)] == expected


def test_a_silenced_alert_tells_nobody_until_its_silence_ends_and_then_tells_again(workspace: Workspace) -> None:
    told = with_settings(workspace, notifications=NotificationSettings.model_validate({"webhooks": ["http://a"]}))
    alerting(told)
    facts = {"severity": "page", "kind": "quality", "deployment": "none"}
    happen(told, "alert.opened", "alert/7", None, **facts)
    silence(told, 7, timedelta(hours=2), reason="the source is being mended")
    happen(told, "alert.escalated", "alert/7", None, **facts)
    react(told)
    assert noted(told) == [], "whatever happened before the silence was not told of yet, and is not now"
    assert end_silences(told) == 0
    clock = told.ports.clock
    assert isinstance(clock, FakeClock)
    clock.advance(hours=2)
    assert end_silences(told) == 1
    assert end_silences(told) == 0
    react(told)
    (notice,) = noted(told)
    assert notice.key.startswith("alert/7:page-after-")


def test_a_report_that_is_asked_for_is_made_again_whoever_was_told(workspace: Workspace) -> None:
    with workspace.state.write("test") as tx:
        for _ in range(2):
            workspace.record(tx, "alert.report_requested", "alert/6")
    react(workspace)
    assert [(job.kind, job.payload) for job in all_jobs(workspace)] == [(JobKind.REPORT, {"alert": 6})] * 2


@pytest.mark.parametrize(
    ("kind", "severity", "reports"),
    [("drift", "page", 1), ("missing", "warning", 1), ("drift", "informational", 0), ("quality", "page", 0)],
)
def test_an_alert_on_inputs_that_tells_somebody_gets_its_report(
    workspace: Workspace, kind: str, severity: str, reports: int
) -> None:
    alerting(workspace, 7, severity, kind)
    happen(workspace, "alert.opened", "alert/7", severity=severity, kind=kind, deployment="fraud")
    react(workspace)
    assert [job.kind for job in all_jobs(workspace)] == [JobKind.REPORT] * reports


def test_new_data_starts_the_schedules_that_wait_for_it(workspace: Workspace) -> None:
    with workspace.state.write("test") as tx:
        for name, dataset, paused in (("yes", "payments", False), ("other", "cards", False), ("no", "payments", True)):
            tx.add(
                Schedule(
                    name=name,
                    target_kind=Target.PIPELINE,
                    target="train",
                    on_data=dataset,
                    paused=paused,
                    parameters={},
                    anchor=workspace.now(),
                )
            )
    happen(workspace, "data.added", "data/payments@2")
    react(workspace)
    with workspace.state.read() as tx:
        (run,) = tx.exec(select(Run))
    assert (run.trigger, run.requested_by) == ("data/payments@2", "yes")


def test_a_reaction_that_is_refused_is_told_of_and_the_next_event_is_dealt_with(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = with_settings(workspace, models={"fraud": ModelSettings(deploy="fraud")})

    def refuse(*_: object, **__: object) -> None:
        raise RefusedError("The columns differ.")

    monkeypatch.setattr(rollout, "deploy_in", refuse)
    happen(policy, "version.registered", "version/fraud@1", gate="passed")
    run_id = queue_a_run(policy)
    react(policy)
    with policy.state.read() as tx:
        (failed,) = [event for event in events.after(tx, 0) if event.kind == "reaction.failed"]
    assert (failed.subject, failed.data["error"]) == ("version/fraud@1", "The columns differ.")
    assert [job.key for job in all_jobs(policy)] == [f"run/{run_id}"]


def test_an_insert_that_fails_leaves_nothing_behind_and_does_not_stop_the_others(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue_work = queue.enqueue

    def fail_on_seven(tx: Session, workspace: Workspace, *wanted: Work) -> int:
        done = queue_work(tx, workspace, *wanted)
        if any(work.subject == "alert/7" for work in wanted):
            raise ValueError("nobody thought of this")
        return done

    monkeypatch.setattr(queue, "enqueue", fail_on_seven)
    for number in (6, 7):
        alerting(workspace, number)
    for alert in ("alert/6", "alert/7", "alert/x"):
        happen(workspace, "alert.opened", alert, severity="page", kind="drift", deployment="fraud")
    run_id = queue_a_run(workspace)
    assert react(workspace)
    react(workspace)
    assert not react(workspace)
    assert [job.key for job in all_jobs(workspace)] == ["report:alert/6", f"run/{run_id}"]
    with workspace.state.read() as tx:
        failed = [event for event in events.after(tx, 0) if event.kind == "reaction.failed"]
    assert {event.subject for event in failed} == {"alert/7", "alert/x"}
    assert [event.data["error"] for event in failed if event.subject == "alert/7"] == ["nobody thought of this"]


@pytest.mark.parametrize("trouble", [BusyError("state.lock is held"), DiskError("database or disk is full")])
def test_a_busy_database_leaves_the_events_for_the_next_look(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, trouble: QuarterdeckError
) -> None:
    policy = with_settings(workspace, models={"fraud": ModelSettings(deploy="fraud")})
    asked: list[int] = []

    def busy_once(*_: object, version: int, **__: object) -> None:
        asked.append(version)
        if len(asked) == 1:
            raise trouble

    monkeypatch.setattr(rollout, "deploy_in", busy_once)
    happen(policy, "version.registered", "version/fraud@1", gate="passed")
    with pytest.raises(type(trouble)):
        react(policy)
    react(policy)
    assert asked == [1, 1]


@pytest.mark.parametrize(
    ("gate", "then", "deployed"),
    [("passed", None, [3]), ("none", None, [3]), ("failed", None, []), ("passed", "deployment.rolled_back", [])],
)
def test_the_policy_deploys_what_passed_and_never_overrules_a_later_decision(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, gate: str, then: str | None, deployed: list[int]
) -> None:
    policy = with_settings(workspace, models={"fraud": ModelSettings(deploy="live")})
    asked: list[int] = []

    def deploy(*_: object, version: int, **__: object) -> None:
        asked.append(version)

    monkeypatch.setattr(rollout, "deploy_in", deploy)
    happen(policy, "version.registered", "version/fraud@3", gate=gate)
    if then:
        happen(policy, then, "deployment/live", actor="ada", version=1)
    react(policy)
    assert asked == deployed


def test_nobody_can_decide_between_the_policys_look_and_its_deed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = with_settings(workspace, models={"fraud": ModelSettings(deploy="live")})
    lock_was_free: list[bool] = []

    def look_at_the_lock(*_: object, **__: object) -> None:
        try:
            with workspace.state.lock.held("a rollback", patience=0.05):
                lock_was_free.append(True)
        except BusyError:
            lock_was_free.append(False)

    monkeypatch.setattr(rollout, "deploy_in", look_at_the_lock)
    happen(policy, "version.registered", "version/fraud@3", gate="passed")
    react(policy)
    assert lock_was_free == [False]


def test_versions_that_come_together_are_deployed_in_order_and_once(workspace: Workspace) -> None:
    policy = with_settings(workspace, models={"fraud": ModelSettings(deploy="live")})
    for shift in (0.0, 0.5):
        add_classifier(policy, "fraud", shift=shift)
    for version in (1, 2):
        happen(policy, "version.registered", f"version/fraud@{version}", gate="none")
    react(policy)
    with policy.state.write("test") as tx:
        tx.get_one(RunnerLease, 1).events_read = 0
    react(policy)
    with policy.state.read() as tx:
        kinds = [(event.kind, event.data) for event in events.after(tx, 0)]
    assert [data["version"] for kind, data in kinds if kind == "deployment.deployed"] == [1, 2]
    assert "reaction.failed" not in [kind for kind, _ in kinds]


def test_a_runner_without_the_lease_reacts_to_nothing(workspace: Workspace) -> None:
    queue_a_run(workspace)
    with workspace.state.write("test") as tx:
        tx.delete(tx.get_one(RunnerLease, 1))
    assert not react(workspace)
    assert all_jobs(workspace) == []


def test_an_alert_s_end_is_told_to_those_who_keep_incidents(workspace: Workspace) -> None:
    pager = {"url": "http://pager", "format": "pagerduty", "secret": "KEY", "severities": ["page"]}
    chat = {"url": "http://chat", "format": "slack", "resolved": True}
    told = with_settings(workspace, notifications={"webhooks": ["http://plain", pager, chat]})
    plain, of_pager, of_chat = [one.key for one in told.settings.notifications.webhooks]
    alerting(told)
    facts = {"kind": "quality", "deployment": "none"}
    for severity, ended, expected in (("warning", False, [plain, of_chat]), ("page", True, [of_pager, of_chat])):
        happen(told, "alert.resolved" if ended else "alert.opened", "alert/7", severity=severity, **facts)
        react(told)
        assert [notice.webhook for notice in noted(told) if notice.ended is ended] == expected


def test_a_budget_that_burns_is_told_of_and_makes_no_other_work(workspace: Workspace) -> None:
    slo = {"deployments": {"none": {"slo": {"availability": 0.999}}}}
    told = with_settings(workspace, notifications={"webhooks": [{"url": "http://a", "resolved": True}]}, **slo)
    record_unanswered(told, "none", 1, reason="failed", count=50)
    watch_budgets(told)
    react(told)
    assert isinstance(told.ports.clock, FakeClock)
    told.ports.clock.advance(hours=7)
    record_answered(told, {("none", 1000): 1})
    watch_budgets(told)
    react(told)
    assert [(notice.subject, notice.ended) for notice in noted(told)] == [("alert/1", False), ("alert/1", True)]
    assert all_jobs(told) == []


def test_a_full_disk_is_told_once_to_each_receiver(workspace: Workspace) -> None:
    told = with_settings(workspace, notifications={"webhooks": ["http://a", "http://b"]})
    happen(told, "disk.low", "disk", level="no jobs", free_bytes=1)
    react(told)
    assert form_messages(told) == 2
    jobs = all_jobs(told)
    first, second = told.settings.notifications.webhooks
    assert [(job.kind, job.payload["webhook"], job.retries) for job in jobs] == [
        (JobKind.NOTIFY, first.key, 7),
        (JobKind.NOTIFY, second.key, 7),
    ]
    worker.dispatch(told, jobs[0], lambda tx: None)
    notifier = told.ports.notifier
    assert isinstance(notifier, FakeNotifier)
    ((url, payload, key),) = notifier.sent
    assert (url, payload["kind"]) == ("http://a", "disk.low")
    assert key == f"event-{payload['event']}-{first.key}"


def test_a_version_is_not_deployed_by_policy_during_a_freeze(workspace: Workspace) -> None:
    frozen = with_settings(workspace, models={"fraud": {"deploy": "fraud"}})
    freezing.freeze(frozen, timedelta(hours=1), actor="ann")
    happen(frozen, "version.registered", "version/fraud@1", gate="passed")
    react(frozen)
    with frozen.state.read() as tx:
        kinds = [event.kind for event in events.newest(tx)]
    assert "reaction.held" in kinds
    assert "deployment.deployed" not in kinds
    assert "reaction.failed" not in kinds
