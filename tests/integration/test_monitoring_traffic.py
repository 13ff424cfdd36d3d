"""Whether what should come comes: requests, their labels, answers; and how old the model is."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from quarterdeck.monitoring import queries
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.queries import AlertRow
from quarterdeck.settings.serving import DeploymentSettings
from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.prediction import FALLBACK, NO_VERSION
from quarterdeck.traffic.recording import record_unanswered
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens.monitors import describe
from tests.fakes import FakeClock
from tests.watched import HOUR, START, close, label, rows, send, serve, watch


@pytest.fixture
def watched(workspace: Workspace) -> Workspace:
    watched = watch(workspace, label_coverage=0.5)
    serve(watched, rows(2_000, seed=1), metrics={"roc_auc": 0.5})
    return watched


def signal(workspace: Workspace, name: str) -> dict[str, Any]:
    """The newest of that name."""
    found = [row for row in queries.results(workspace, monitor="m") if row.aspect == "traffic"]
    return next(one for row in found for one in row.scores if one["column"] == name)


def of_traffic(workspace: Workspace) -> list[AlertRow]:
    return [alert for alert in queries.alerts(workspace) if alert.kind == "traffic"]


def at(workspace: Workspace, after: timedelta) -> None:
    assert isinstance(workspace.ports.clock, FakeClock)
    workspace.ports.clock.moment = START + after


def judged(workspace: Workspace, windows: range, n: int = 300) -> None:
    for window in windows:
        send(workspace, rows(n + window % 3, seed=window), window)
    close(workspace, windows[-1])
    evaluate(workspace, "m")


def test_half_of_the_usual_volume_is_a_finding_once_it_is_known_what_is_usual(watched: Workspace) -> None:
    judged(watched, range(4))
    assert signal(watched, "volume")["verdict"] == "inconclusive"
    judged(watched, range(4, 7))
    assert signal(watched, "volume")["verdict"] == "quiet"
    judged(watched, range(7, 9), n=120)
    assert signal(watched, "volume")["verdict"] == "drifted"
    (alert,) = of_traffic(watched)
    assert (alert.columns, alert.severity) == (("volume",), "warning")
    assert alert.summary == "122 predictions came, usually 300"
    newest = next(row for row in queries.results(watched, monitor="m") if row.aspect == "traffic")
    assert "volume" in describe(newest).plain


def test_a_volume_that_always_swings_is_not_a_finding(watched: Workspace) -> None:
    for window, n in enumerate((100, 300, 900, 200, 500, 120, 800, 250)):
        send(watched, rows(n, seed=window), window)
    close(watched, 7)
    evaluate(watched, "m")
    assert signal(watched, "volume")["verdict"] == "quiet"
    assert of_traffic(watched) == []


def test_the_same_hour_of_past_weeks_says_what_is_usual(workspace: Workspace) -> None:
    watched = watch(workspace)
    serve(watched, rows(2_000, seed=1))
    at(watched, timedelta(weeks=6))
    week = 7 * 24
    # At this hour few come, in every week; a day later many do.
    for number in range(5):
        send(watched, rows(60, seed=number), number * week)
        for later in range(24, 29):
            send(watched, rows(600, seed=later), number * week + later)
    close(watched, 4 * week + 28)
    evaluate(watched, "m")
    found = [row for row in queries.results(watched, monitor="m") if row.aspect == "traffic"]
    (quiet_hour,) = (row for row in found if row.window_start == START + 4 * week * HOUR)
    assert quiet_hour.scores[0]["verdict"] == "quiet"
    assert quiet_hour.scores[0]["usual"] == pytest.approx(60)


def test_a_rise_of_rejections_is_a_finding_as_large_as_the_rise(watched: Workspace) -> None:
    assert isinstance(watched.ports.clock, FakeClock)
    now = watched.ports.clock.moment
    for window in range(4):
        watched.ports.clock.moment = START + window * HOUR + timedelta(minutes=30)
        record_unanswered(watched, "d", 1, reason="rejected", count=3 if window < 2 else 100)
    watched.ports.clock.moment = now
    judged(watched, range(4))
    (alert,) = of_traffic(watched)
    assert alert.columns == ("rejections",)
    assert (alert.severity, round(alert.score, 2)) == ("page", 0.24)
    assert alert.summary.startswith("rejections: 25.0% of 400 requests, usually 1.0%")
    assert signal(watched, "errors")["verdict"] == "quiet"


def test_a_rise_of_what_the_fallback_answers_is_a_finding_wherever_the_predictions_are(workspace: Workspace) -> None:
    watched = watch(workspace)
    stands_in = {"d": DeploymentSettings.model_validate({"fallback": {"constant": 0}})}
    changed = watched.settings.model_copy(update={"deployments": stands_in})
    watched = dataclasses.replace(watched, settings=changed)
    serve(watched, rows(2_000, seed=1))
    for window in range(4):
        frame, answered_instead = rows(300, seed=window), 3 if window < 2 else 60
        send(watched, frame[answered_instead:], window)
        send(watched, frame[:answered_instead], window, version=NO_VERSION, variant=FALLBACK)
    close(watched, 3)
    at(watched, timedelta(days=3))
    assert compact(watched).files
    evaluate(watched, "m")
    (alert,) = of_traffic(watched)
    assert (alert.columns, alert.severity) == (("fallbacks",), "page")
    assert alert.summary.startswith("fallbacks: 20.0% of 300 predictions, usually 1.0%")


def test_without_a_fallback_there_is_nothing_to_count(watched: Workspace) -> None:
    judged(watched, range(1))
    assert "fallbacks" not in {one["column"] for one in queries.results(watched, monitor="m")[0].scores}


def test_labels_that_no_longer_come_are_a_finding(watched: Workspace) -> None:
    for window in range(10):
        ids = send(watched, rows(300, seed=window), window)
        if window < 5:
            label(watched, ids, [0, 1] * 150)
        close(watched, window)
        evaluate(watched, "m")
    assert signal(watched, "labels")["verdict"] == "drifted"
    (alert,) = of_traffic(watched)
    assert (alert.columns, alert.severity) == (("labels",), "warning")
    assert "labels are" in alert.summary


def test_traffic_that_comes_no_more_pages_at_once_and_ends_with_the_next_window(watched: Workspace) -> None:
    for window in range(3):
        at(watched, (window + 1) * HOUR + timedelta(minutes=1))
        judged(watched, range(window, window + 1))
    at(watched, 3 * HOUR + timedelta(minutes=50))
    evaluate(watched, "m")
    assert of_traffic(watched) == []
    at(watched, 5 * HOUR)
    evaluate(watched, "m")
    evaluate(watched, "m")  # It is one silence, however often it is looked at.
    (alert,) = of_traffic(watched)
    assert (alert.columns, alert.severity) == (("silence",), "page")
    assert alert.summary.startswith("nothing has come for 1 h 30 min, since 2026-01-05 03:30 UTC")
    at(watched, 6 * HOUR + timedelta(minutes=1))
    judged(watched, range(5, 6))
    assert of_traffic(watched) == []


def test_events_of_the_past_are_never_silent(watched: Workspace) -> None:
    judged(watched, range(3))
    at(watched, timedelta(days=30))
    evaluate(watched, "m")
    assert of_traffic(watched) == []


def test_a_model_that_is_too_old_is_a_finding(workspace: Workspace) -> None:
    watched = watch(workspace, oldest=timedelta(days=30))
    serve(watched, rows(2_000, seed=1))
    at(watched, timedelta(days=40))
    judged(watched, range(3))
    (alert,) = of_traffic(watched)
    assert (alert.columns, alert.severity) == (("age",), "warning")
    assert alert.summary == "version 1 is 39 d 12 h old, more than 30 d"
