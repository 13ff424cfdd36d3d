"""What is said of a version's answers before their labels come, and of windows that are cut or compared otherwise."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sqlmodel import select

from quarterdeck.errors import ArtifactError
from quarterdeck.monitoring import queries
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.result import Result
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.holdout import Holdout
from quarterdeck.registry.version import ModelVersion
from quarterdeck.statistics.quality import metric
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens.monitors import describe
from tests.fakes import FakeClock
from tests.watched import HOUR, START, close, judged_rows, label, rows, send, serve, watch

Floats = NDArray[np.float64]
UNIMPORTANT = {"amount": 0.0, "age": 0.5, "channel": 0.5}


def chances(frame: pd.DataFrame) -> Floats:
    """What the model of these tests answers: it goes by `amount` alone."""
    return np.asarray(1 / (1 + np.exp(-(frame["amount"].to_numpy() - 100) / 6)))


def truth(scores: Floats, seed: int) -> NDArray[np.int64]:
    return (np.random.default_rng(seed).random(scores.size) < scores).astype(np.int64)


def holdout(seed: int = 2, n: int = 3_000) -> Holdout:
    frame = rows(n, seed=seed)
    scores = chances(frame)
    shares = np.column_stack([1 - scores, scores])
    return Holdout(frame, truth(scores, seed).astype(float), Predictions((scores > 0.5).astype(np.int64), shares))


def judged(workspace: Workspace, held: Holdout | None = None, importances: Any = None) -> dict[str, float]:
    """Serve a version that was measured on its holdout."""
    held = held or holdout()
    assert held.predictions.probabilities is not None
    metrics = {"roc_auc": metric("roc_auc", held.truth, held.predictions.probabilities[:, 1])}
    serve(workspace, rows(2_000, seed=1), metrics=metrics, holdout=held, importances=importances)
    return metrics


def send_scored(workspace: Workspace, window: int, **change: Any) -> tuple[list[str], Floats]:
    frame = rows(600, seed=70 + window, **change)
    return send(workspace, frame, window, scores=chances(frame)), chances(frame)


def at(workspace: Workspace, moment: datetime) -> None:
    assert isinstance(workspace.ports.clock, FakeClock)
    workspace.ports.clock.moment = moment


def of(results: list[Result], aspect: str) -> list[Result]:
    return [result for result in results if result.aspect == aspect]


def test_quality_is_estimated_before_any_label_comes_and_holds_when_they_do(workspace: Workspace) -> None:
    watched = watch(workspace, label_coverage=0.5)
    baseline = judged(watched)["roc_auc"]
    ids, scores = send_scored(watched, 0, shift=2)
    close(watched, 0)
    (estimate,) = of(judged_rows(watched), "estimate")
    (score,) = estimate.scores
    assert (score["metric"], score["how"], score["baseline"], score["verdict"]) == (
        "roc_auc",
        "cbpe",
        baseline,
        "quiet",
    )
    assert (estimate.n_reference, estimate.n_current, estimate.n_labelled) == (3_000, 600, 0)
    label(watched, ids, truth(scores, 5).tolist())
    (quality,) = of(judged_rows(watched), "quality")
    assert score["low"] <= quality.scores[0]["value"] <= score["high"]
    found = quality.scores[0]["reliability"]
    assert found["calibrated"]
    assert sum(one["rows"] for one in found["bins"]) == 600
    pages = {str(row.aspect): describe(row).plain for row in queries.results(watched, monitor="m")}
    assert "It cannot see that inputs mean something else now" in pages["estimate"]
    assert "from the probabilities alone (CBPE)" in pages["estimate"]
    assert "calibrated" in pages["quality"]
    assert "probability of 1" in pages["predictions"]


def test_an_estimated_loss_opens_an_alert_where_no_input_explains_it(workspace: Workspace) -> None:
    watched = watch(workspace)
    judged(watched, importances=UNIMPORTANT)
    for window in range(2):
        # All amounts are close to where the model cannot tell: it ranks no better than chance.
        frame = rows(600, seed=80 + window).assign(amount=lambda t: 100 + (t["amount"] - 100) / 8)
        send(watched, frame, window, scores=chances(frame))
    close(watched, 1)
    evaluate(watched, "m")
    found = {alert.kind: alert for alert in queries.alerts(watched)}
    alert = found["estimate"]
    assert (alert.columns, alert.severity, alert.version) == (("roc_auc",), "page", 1)
    assert "is estimated at 0.5" in alert.summary
    assert "on its holdout" in alert.summary
    # The drift of a column of no importance is told to nobody; that the answers moved is explained by the estimate.
    assert (found["drift"].severity, "predictions" in found) == ("informational", False)


def test_what_follows_from_an_alert_on_inputs_weighs_there_and_opens_no_other(workspace: Workspace) -> None:
    watched = watch(workspace)
    judged(watched, importances={"amount": 0.05, "age": 0.5, "channel": 0.45})
    for window in range(2):
        frame = rows(600, seed=80 + window).assign(amount=lambda t: 100 + (t["amount"] - 100) / 8)
        send(watched, frame, window, scores=chances(frame))
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns) == ("drift", ("amount",))
    # Distance times importance makes it a warning; what the estimate says makes it a page.
    assert alert.evidence["amount"]["severity"] < watched.settings.monitors["m"].page
    assert (alert.severity, alert.score) == ("page", alert.evidence["roc_auc"]["loss"])


def test_answers_that_moved_are_found_and_end_with_their_version(workspace: Workspace) -> None:
    watched = watch(workspace, threshold=0.1, page=0.5, warning=0.01)
    held = holdout()
    judged(watched, held)
    for window in range(2):
        frame = rows(600, seed=90 + window)
        send(watched, frame, window, scores=np.clip(chances(frame) * 0.6 + 0.2, 0, 1))
    close(watched, 1)
    predictions = of(judged_rows(watched), "predictions")
    assert {row["column"]: row["verdict"] for row in predictions[0].scores}["probability of 1"] == "drifted"
    assert {alert.kind for alert in queries.alerts(watched)} & {"predictions", "estimate"}
    serve(watched, rows(2_000, seed=1), holdout=held, metrics={"roc_auc": 0.9})
    send(watched, rows(600, seed=95), 2, version=2, scores=chances(rows(600, seed=95)))
    close(watched, 2)
    evaluate(watched, "m")
    assert {alert.state for alert in queries.alerts(watched, all=True)} == {"resolved"}


def test_a_change_of_what_inputs_mean_leaves_the_estimate_blind_and_the_labels_show_it(workspace: Workspace) -> None:
    watched = watch(workspace, label_coverage=0.5)
    judged(watched)
    for window in range(2):
        ids, scores = send_scored(watched, window)
        label(watched, ids, truth(1 - scores, window).tolist())
    close(watched, 1)
    results = judged_rows(watched)
    assert {str(one.verdict) for one in of(results, "estimate")} == {"quiet"}
    assert {str(one.verdict) for one in of(results, "quality")} == {"found"}
    (alert,) = queries.alerts(watched)
    assert alert.kind == "quality"


def test_a_damaged_holdout_stops_what_rests_on_it_and_nothing_else(workspace: Workspace) -> None:
    watched = watch(workspace, label_coverage=0.5)
    judged(watched)
    with watched.state.read() as tx:
        digest = tx.exec(select(ModelVersion.holdout)).one()
    assert digest is not None
    path = watched.artifacts.path(digest)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-7] + b"damaged")
    ids, scores = send_scored(watched, 0)
    label(watched, ids, truth(scores, 3).tolist())
    close(watched, 0)
    done = evaluate(watched, "m")
    assert {result.aspect for result in done.results} == {"inputs", "across", "traffic", "quality"}
    (trouble,) = done.troubles
    assert trouble.startswith(f"The holdout of version 1 cannot be read. Artifact {digest[:12]} ")
    assert "Restore it from a backup" in trouble
    with pytest.raises(ArtifactError, match=r"Monitor m cannot judge everything\. The holdout of version 1"):
        done.raise_for_troubles()


def test_a_lost_reference_leaves_its_windows_for_later_and_the_rest_is_judged(workspace: Workspace) -> None:
    watched = watch(workspace, label_coverage=0.5)
    judged(watched)
    ids, scores = send_scored(watched, 0)
    close(watched, 0)
    evaluate(watched, "m")
    with watched.state.read() as tx:
        reference = tx.exec(select(ModelVersion.reference)).one()
    assert reference is not None
    content = watched.artifacts.read(reference)
    watched.artifacts.path(reference).unlink()
    send_scored(watched, 1)
    close(watched, 1)
    label(watched, ids, truth(scores, 3).tolist())
    done = evaluate(watched, "m")
    assert [result.aspect for result in done.results] == ["quality"]
    assert f"Artifact {reference[:12]} is missing" in done.troubles[0]
    watched.artifacts.put(content)
    assert "inputs" in {result.aspect for result in evaluate(watched, "m").results}


def test_without_a_holdout_nothing_is_estimated(workspace: Workspace) -> None:
    watched = watch(workspace)
    serve(watched, rows(2_000, seed=1), metrics={"roc_auc": 0.9})
    send_scored(watched, 0)
    close(watched, 0)
    assert {str(result.aspect) for result in judged_rows(watched)} == {"inputs"}


def test_past_weeks_are_compared_with_by_weekday_and_hour(workspace: Workspace) -> None:
    week = 7 * 24
    busy = 9  # In this hour of every Monday amounts are higher.
    for reference, verdicts in (("calendar", ["quiet", "quiet"]), ("training", ["found", "found"])):
        watched = watch(workspace, reference=reference, reference_weeks=2)
        if reference == "calendar":
            serve(watched, rows(2_000, seed=1))
            for number in range(4):
                send(watched, rows(300, seed=number, shift=9), busy + number * week)
        at(watched, START + timedelta(weeks=5))
        close(watched, busy + 3 * week)
        if reference == "training":
            watched = watch(workspace, reference=reference)
            with watched.state.write("test") as tx:
                for result in tx.exec(select(Result)).all():
                    tx.delete(result)
        found = of(judged_rows(watched), "inputs")
        assert [str(one.verdict) for one in found][2:4] == verdicts
        if reference == "calendar":
            assert [one.n_reference for one in found[:4]] == [0, 300, 600, 600]
            assert str(found[0].verdict) == "inconclusive"


def test_a_fixed_period_is_compared_with(workspace: Workspace) -> None:
    watched = watch(workspace, reference="period", reference_period=(START, START + 2 * HOUR))
    serve(watched, rows(2_000, seed=1))
    for window in range(4):
        send(watched, rows(400, seed=window, shift=9 if window < 3 else 0), window)
    close(watched, 3)
    found = judged_rows(watched)
    assert [str(one.verdict) for one in found] == ["quiet", "quiet", "quiet", "found"]
    assert {one.n_reference for one in found} == {800}


def test_windows_of_so_many_rows_are_judged_and_persist(workspace: Workspace) -> None:
    watched = watch(workspace, rows=300, window=HOUR)
    serve(watched, rows(2_000, seed=1), importances={"amount": 1.0})
    for window in range(3):
        send(watched, rows(250, seed=window, shift=9), window)
    close(watched, 5)
    found = judged_rows(watched)
    assert [one.n_current for one in found] == [300, 300]
    (alert,) = queries.alerts(watched)
    assert alert.columns == ("amount",)
    assert judged_rows(watched) == []


def test_hours_that_are_not_watched_are_left_out(workspace: Workspace) -> None:
    watched = watch(workspace, window=timedelta(days=1), hours=(2, 4))
    serve(watched, rows(2_000, seed=1))
    for hour in range(6):
        send(watched, rows(200, seed=hour, shift=0 if hour in (2, 3) else 30), hour)
    at(watched, START + timedelta(days=2))
    close(watched, 24)
    (result,) = judged_rows(watched)
    assert (result.n_current, str(result.verdict)) == (400, "quiet")


@pytest.mark.parametrize("shape", ["one row", "all missing", "infinite", "outlier"])
def test_odd_windows_of_answers_are_defined(workspace: Workspace, shape: str) -> None:
    watched = watch(workspace)
    judged(watched)
    frame = rows(1 if shape == "one row" else 400, seed=5)
    scores = chances(frame)
    if shape == "all missing":
        frame = frame.assign(amount=np.nan)
    elif shape == "infinite":
        frame.loc[frame.index[:5], "amount"] = np.inf
    elif shape == "outlier":
        frame.loc[frame.index[0], "amount"] = 1e9
    send(watched, frame, 0, scores=scores)
    close(watched, 0)
    results = judged_rows(watched)
    # Of one row there is no ranking to estimate.
    assert {str(one.aspect) for one in results} == {"inputs", "predictions", *["estimate"] * (shape != "one row")}
    if shape == "one row":
        assert {str(one.verdict) for one in results} == {"inconclusive"}
