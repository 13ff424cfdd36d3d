"""The plan of a rollback: would it help, and what does it show of each candidate."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quarterdeck import lineage
from quarterdeck.deployments.analysis import compare, plan
from quarterdeck.deployments.replay import Replay
from quarterdeck.deployments.rollout import deploy, roll_back
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import AlertKind, Severity
from quarterdeck.monitoring.result import Aspect, Verdict
from quarterdeck.settings import Settings
from quarterdeck.traffic.recording import record_unanswered
from quarterdeck.workspace import Workspace
from tests.unit.deployments.factories import (
    add_alert,
    add_result,
    add_traffic,
    add_version,
    add_worker,
    prove,
    serve_for_long,
)

END = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def served(workspace: Workspace) -> Workspace:
    """Revision 1 (version 1) is known good; revision 2 (version 2) serves."""
    worker = add_worker(workspace)
    serve_for_long(
        workspace,
        worker,
        deploy(workspace, "payments", model="fraud", version=add_version(workspace, run_id=1), reason="first"),
    )
    deploy(workspace, "payments", model="fraud", version=add_version(workspace, run_id=2, metrics={"roc_auc": 0.95}))
    prove(workspace, worker, "payments", 2)
    return workspace


def answer(workspace: Workspace, **options: int) -> tuple[str, str]:
    found = plan(workspace, "payments", **options)
    return found.would_help, found.because


def add_replay(workspace: Workspace, **outcome: Any) -> None:
    with workspace.state.write("test") as tx:
        now = workspace.now()
        tx.add(
            Replay(
                deployment_id=1,
                version=2,
                other=1,
                requested_by="tester",
                requested_at=now,
                finished_at=now,
                outcome={
                    "rows": 900,
                    "labelled": 800,
                    "metric": "roc_auc",
                    "greater_is_better": True,
                    "serving": 0.71,
                    "other": 0.93,
                    "agreement": 0.8,
                    **outcome,
                },
            )
        )


def test_a_fault_upstream_hits_the_earlier_version_too(served: Workspace) -> None:
    for version in (1, 2):
        add_result(served, version, END, drifted={"amount": 0.4}, served=version == 2)
    add_alert(served, 2, AlertKind.DRIFT, slice_="channel=app")
    assert answer(served) == (
        "no",
        "the earlier version sees the same input: amount in channel=app is as foreign to version 1",
    )
    lines = plan(served, "payments").alternatives
    assert any(line.startswith("tell upstream: amount in channel=app moved on") for line in lines)


def test_worse_predictions_on_input_that_the_earlier_version_knows_are_worth_a_rollback(served: Workspace) -> None:
    add_result(served, 1, END, served=False)
    add_result(served, 2, END)
    add_alert(served, 2, AlertKind.QUALITY, columns=["roc_auc"])
    help_, because = answer(served)
    assert help_ == "yes"
    assert "version 2 predicts worse" in because


def test_a_harmless_shift_that_both_see_does_not_hide_worse_predictions(served: Workspace) -> None:
    for version in (1, 2):
        add_result(served, version, END, drifted={"channel": 0.001}, served=version == 2)
    add_alert(served, 2, AlertKind.DRIFT, columns=["channel"], severity=Severity.INFORMATIONAL)
    quality = add_alert(served, 2, AlertKind.QUALITY, columns=["roc_auc"])
    assert answer(served)[0] == "yes"
    assert plan(served, "payments").alert == quality


def test_worse_predictions_on_input_that_is_foreign_to_both_are_not_told_apart(served: Workspace) -> None:
    for version in (1, 2):
        add_result(served, version, END, drifted={"amount": 0.4}, served=version == 2)
    add_alert(served, 2, AlertKind.QUALITY, columns=["roc_auc"])
    assert answer(served) == ("unknown", "amount is foreign to version 1, which the alert does not explain")


def test_input_that_only_the_serving_version_finds_strange_is_worth_a_rollback(served: Workspace) -> None:
    add_result(served, 1, END, served=False)
    add_result(served, 2, END, drifted={"amount": 0.4})
    add_alert(served, 2, AlertKind.DRIFT)
    assert answer(served) == ("yes", "amount is foreign to version 2 and familiar to version 1")


def test_a_window_that_the_earlier_version_was_not_judged_on_says_nothing(served: Workspace) -> None:
    add_result(served, 1, END - timedelta(days=1), served=True)
    add_result(served, 2, END, drifted={"amount": 0.4})
    add_alert(served, 2, AlertKind.DRIFT)
    assert answer(served) == ("unknown", "the newest window was not judged against version 1 yet")


def test_too_few_rows_are_no_evidence(served: Workspace) -> None:
    add_result(served, 1, END, served=False, verdict=Verdict.INCONCLUSIVE)
    add_result(served, 2, END)
    add_alert(served, 2, AlertKind.QUALITY, columns=["roc_auc"])
    assert answer(served) == ("unknown", "the newest window has too few rows (500) to judge by")


@pytest.mark.parametrize(
    ("low", "high", "greater", "expected"),
    [
        (0.05, 0.3, True, "yes"),
        (-0.3, -0.05, True, "no"),
        (-0.3, -0.05, False, "yes"),
        (-0.1, 0.1, True, "unknown"),
    ],
)
def test_a_replay_decides_where_its_interval_leaves_out_zero(
    served: Workspace, low: float, high: float, greater: bool, expected: str
) -> None:
    add_replay(served, low=low, high=high, difference=(low + high) / 2, greater_is_better=greater)
    help_, because = answer(served)
    assert help_ == expected
    if expected != "unknown":
        assert "on 800 labelled predictions version 1 would have reached roc_auc 0.930 against 0.710" in because


def test_without_an_alert_it_is_unknown(served: Workspace) -> None:
    found = plan(served, "payments")
    assert (found.would_help, found.reason, found.alert) == ("unknown", "", None)
    assert "no alert is open" in found.because


def test_the_cursor_stands_on_the_last_known_good_and_the_reason_comes_from_the_alert(served: Workspace) -> None:
    deploy(served, "payments", model="fraud", version=add_version(served))
    alert = add_alert(served, 3, AlertKind.QUALITY, columns=["roc_auc"])
    found = plan(served, "payments", alert=alert)
    assert (found.expected, found.version, found.cursor, found.target) == (3, 3, 1, 1)
    assert found.reason == f"alert {alert}: quality of roc_auc"
    assert [(row.revision, row.can_serve, row.last_known_good) for row in found.candidates] == [
        (2, True, False),
        (1, True, True),
    ]


def test_a_candidate_tells_how_it_served(served: Workspace) -> None:
    add_result(served, 1, END)
    (row,) = plan(served, "payments").candidates
    assert (row.version, row.by, row.reason, row.requests, row.health_then) == (
        1,
        "tester",
        "first",
        100,
        "inputs quiet",
    )
    assert row.served_seconds == pytest.approx(600, abs=1)


def test_a_candidate_that_cannot_serve_says_why(served: Workspace) -> None:
    roll_back(served, "payments", to=1, reason="worse")
    found = plan(served, "payments", to=2)
    assert found.cursor == 2
    assert [(row.revision, row.why_not) for row in found.candidates] == [
        (2, None),
        (1, "it serves version 1, as now"),
    ]


def test_the_first_deployment_has_nowhere_to_go(workspace: Workspace) -> None:
    deploy(workspace, "payments", model="fraud", version=add_version(workspace))
    found = plan(workspace, "payments")
    assert (found.candidates, found.cursor, found.would_help) == ((), None, "unknown")
    assert found.because == "there is no earlier revision that could serve"


def test_an_alert_of_another_deployment_is_refused(served: Workspace) -> None:
    alert = add_alert(served, 2, AlertKind.DRIFT)
    deploy(served, "other", model="fraud", version=1)
    with pytest.raises(NotFoundError, match="is about deployment 'payments'"):
        plan(served, "other", alert=alert)


def test_a_comparison_shows_what_differs_and_what_would_undo_it(served: Workspace) -> None:
    settings = {
        "models": {"fraud": {"deploy": "payments"}},
        "schedules": {"nightly": {"pipeline": "train", "cron": "0 3 * * *"}},
    }
    policy = dataclasses.replace(served, settings=Settings.model_validate(settings))
    with served.state.write("test") as tx:
        for run, strength in ((1, 0.5), (2, 1.0), (3, 1.0)):
            data = {"pipeline": "train", "parameters": {"estimator.C": strength}}
            served.record(tx, "run.queued", f"run/{run}", data)
            if run < 3:
                served.record(tx, "run.succeeded", f"run/{run}")
            lineage.connect(tx, f"data/payments@{run}", f"version/fraud@{run}")
    add_result(served, 1, END, served=False)
    add_result(served, 2, END, drifted={"amount": 0.4})
    add_traffic(served, "payments", 2, 2, 60)
    record_unanswered(served, "payments", 2, reason="failed", count=3)
    record_unanswered(served, "payments", 2, reason="rejected", count=20)
    detail = compare(policy, "payments", 1)
    assert (detail.from_version, detail.to_version, detail.compatible, detail.artifact_verified) == (2, 1, None, True)
    assert [(c.name, c.now, c.then) for c in detail.metrics] == [("roc_auc", "0.9500", "0.9000")]
    assert (detail.data.now, detail.data.then) == ("data/payments@2", "data/payments@1")
    assert [(c.name, c.now, c.then) for c in detail.settings] == [
        ("estimator.C", "1.0", "0.5"),
        ("package scikit-learn", "1.2", "1.1"),
    ]
    assert detail.drift.now == "found: amount (window to 2026-01-05 00:00)"
    assert detail.drift.then == "quiet (window to 2026-01-05 00:00)"
    assert (detail.p95_ms.now, detail.p95_ms.then) == ("1.1", "1.1")
    assert (detail.errors.now, detail.errors.then) == ("3 failed, 20 rejected", "none")
    assert detail.requests_per_second == pytest.approx(60 / 60, rel=0.01)
    assert [line.split(" ")[0] for line in detail.undone_by] == ["policy:", "schedule", "run/3"]
    assert detail.command == "quarterdeck rollback payments --to 1 --expected 2 --reason '...'"
    assert compare(served, "payments", 1).undone_by == ()


def test_a_damaged_artifact_is_seen_before_it_is_needed(served: Workspace) -> None:
    for path in served.artifacts.root.glob("??/*"):
        path.chmod(0o600)
        path.write_bytes(b"damaged")
    assert compare(served, "payments", 1).artifact_verified is False


def test_quality_then_is_told_with_its_figure(served: Workspace) -> None:
    add_result(served, 1, END, aspect=Aspect.INPUTS)
    add_alert(served, 1, AlertKind.DRIFT)  # opened while version 2 serves: says nothing about revision 1
    (row,) = plan(served, "payments").candidates
    assert row.health_then == "inputs quiet"


def test_the_reason_is_part_of_a_sentence_and_brings_no_full_stop_of_its_own(served: Workspace) -> None:
    for version in (1, 2):
        add_result(served, version, END, drifted={"amount": 0.4}, served=version == 2)
    add_alert(served, 2, AlertKind.QUALITY, columns=["roc_auc"])
    add_replay(served, error="Version 1 cannot answer. Mend it.")
    help_, because = answer(served)
    assert help_ == "unknown"
    assert because.endswith("the replay could not compare them: Version 1 cannot answer. Mend it")
