"""Where the answers got worse, and since when: from recorded traffic with labels to alerts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from quarterdeck.errors import SettingsError
from quarterdeck.monitoring import queries
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.holdout import Holdout
from quarterdeck.statistics.quality import metric
from quarterdeck.workspace import Workspace
from quarterdeck_console.alert_words import cost as words_of_cost
from quarterdeck_console.screens.monitors import describe
from tests.watched import close, label, rows, send, serve, watch

Floats = NDArray[np.float64]


def chances(frame: pd.DataFrame) -> Floats:
    """What the model of these tests answers: it goes by `amount` alone."""
    return np.asarray(1 / (1 + np.exp(-(frame["amount"].to_numpy() - 100) / 4)))


def truth(frame: pd.DataFrame, seed: int, wrong_in: str | None = None) -> NDArray[np.int64]:
    """As the model has it; in one channel the other way round."""
    scores = chances(frame)
    scores = np.where(frame["channel"] == wrong_in, 1 - scores, scores)
    return (np.random.default_rng(seed).random(len(frame)) < scores).astype(np.int64)


def serving(workspace: Workspace, **settings: Any) -> Workspace:
    watched = watch(workspace, **{"slices": ("channel",), **settings})
    frame = rows(2_000, seed=3)
    scores, known = chances(frame), truth(frame, 3)
    answers = Predictions((scores > 0.5).astype(np.int64), np.column_stack([1 - scores, scores]))
    metrics = {"roc_auc": metric("roc_auc", known, scores)}
    serve(watched, rows(2_000, seed=1), metrics=metrics, holdout=Holdout(frame, known.astype(float), answers))
    return watched


def send_labelled(workspace: Workspace, window: int, *, wrong_in: str | None = None, **change: Any) -> None:
    frame = rows(600, seed=200 + window, **change)
    ids = send(workspace, frame, window, scores=chances(frame))
    label(workspace, ids, truth(frame, window, wrong_in).tolist())


def quality_of(workspace: Workspace) -> dict[str, Any]:
    found = [row for row in queries.results(workspace, monitor="m") if row.aspect == "quality"]
    return found[0].scores[0]


def test_a_change_of_what_inputs_mean_pages_after_one_window_and_names_the_metric_and_the_slice(
    workspace: Workspace,
) -> None:
    watched = serving(workspace)
    send_labelled(watched, 0)
    send_labelled(watched, 1, wrong_in="app")
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns, alert.slice, alert.severity) == ("quality", ("roc_auc",), "channel=app", "page")
    assert "most of it in channel=app" in alert.summary
    row = alert.evidence["roc_auc"]
    assert (row["about"], row["measure"], row["slices"][0]["slice"]) == ("metric", "log_loss", "channel=app")
    assert row["slices"][0]["carries"] > 0.9
    # The detector names the moment, not only the window.
    assert "2026-01-05T01:0" in row["change"]["at"]
    # No column of the inputs has moved: that is what the change consists of.
    assert {row.verdict for row in queries.results(watched, monitor="m") if row.aspect == "inputs"} == {"quiet"}


def test_without_a_change_no_slice_and_no_moment_is_named(workspace: Workspace) -> None:
    watched = serving(workspace, slices=("channel", "age"))
    for window in range(3):
        send_labelled(watched, window)
    close(watched, 2)
    evaluate(watched, "m")
    row = quality_of(watched)
    assert (row["verdict"], row["slice"], row["change"]) == ("quiet", None, None)
    assert {one["slice"].partition("=")[0].partition("<")[0] for one in row["slices"]} >= {"channel", "age"}
    assert len(row["slices"]) == 3 + 4  # The levels of the text, and the quarters of the number.
    assert queries.alerts(watched, all=True) == []


def test_a_slice_that_a_good_metric_hides_is_found_and_weighs_by_its_share_of_the_traffic(workspace: Workspace) -> None:
    watched = serving(workspace, tolerance=0.5)
    for window in range(2):
        send_labelled(watched, window, wrong_in="shop")
    close(watched, 1)
    evaluate(watched, "m")
    row = quality_of(watched)
    assert (row["about"], row["slice"], row["verdict"]) == ("slice", "channel=shop", "worse")
    assert row["severity"] == pytest.approx(1 / 3, abs=0.05)
    (alert,) = queries.alerts(watched)
    assert alert.slice == "channel=shop"
    assert "log loss of version 1 in channel=shop" in alert.summary


def test_errors_of_inputs_that_moved_are_no_alert_of_their_own(workspace: Workspace) -> None:
    watched = serving(workspace, tolerance=0.5, slices=())
    for window in range(3):
        # Shop's rows are answered as before, and come with values for which that is wrong.
        send_labelled(watched, window, wrong_in="shop", shift=12, only="shop")
    close(watched, 2)
    evaluate(watched, "m")
    row = quality_of(watched)
    assert (row["about"], row["verdict"]) == ("errors", "worse")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.columns, alert.slice) == ("drift", ("amount",), "channel=shop")
    assert alert.evidence["roc_auc"]["about"] == "errors"


def test_errors_alone_warn_once_they_last(workspace: Workspace) -> None:
    watched = serving(workspace, tolerance=0.5, slices=())
    send_labelled(watched, 0, wrong_in="shop")
    close(watched, 0)
    evaluate(watched, "m")
    assert queries.alerts(watched) == []
    send_labelled(watched, 1, wrong_in="shop")
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.severity, alert.slice) == ("quality", "warning", None)
    assert "log loss of version 1 rose to" in alert.summary


def test_a_slice_that_is_no_feature_is_named(workspace: Workspace) -> None:
    watched = serving(workspace, slices=("county",))
    send_labelled(watched, 0)
    close(watched, 0)
    with pytest.raises(SettingsError, match="county"):
        evaluate(watched, "m")


def test_what_was_found_in_the_answers_first_ends_when_the_inputs_explain_it(workspace: Workspace) -> None:
    watched = serving(workspace, columns=("amount", "age", "channel"), persistence=(1, 3))
    # The answers of one window, on inputs that are quiet.
    frame = rows(600, seed=300)
    send(watched, frame, 0, scores=np.clip(chances(frame) + 0.3, 0, 1))
    close(watched, 0)
    evaluate(watched, "m")
    (answers,) = queries.alerts(watched)
    assert answers.kind in ("predictions", "estimate")
    send_labelled(watched, 1, shift=15)
    close(watched, 1)
    evaluate(watched, "m")
    active = {alert.kind for alert in queries.alerts(watched)}
    assert "drift" in active
    assert not active & {"predictions", "estimate"}
    drift = next(alert for alert in queries.alerts(watched) if alert.kind == "drift")
    assert drift.onset == answers.onset


COSTS = {"matrix": {"1": {"0": 120.0}, "0": {"1": 4.0}}}


def test_what_wrong_answers_cost_stands_beside_the_metric_expected_first_and_known_with_the_labels(
    workspace: Workspace,
) -> None:
    watched = serving(workspace, costs=COSTS)
    frame = rows(600, seed=200)
    ids = send(watched, frame, 0, scores=chances(frame))
    close(watched, 0)
    evaluate(watched, "m")
    (estimate,) = (row for row in queries.results(watched, monitor="m") if row.aspect == "estimate")
    expected = estimate.scores[0]["cost"]
    assert expected["low"] < 0 < expected["high"]
    wrong = truth(frame, 200, "app")
    label(watched, ids, wrong.tolist())
    evaluate(watched, "m")
    cost = quality_of(watched)["cost"]
    answered = chances(frame) > 0.5
    per_row = np.where(wrong & ~answered, 120.0, np.where(~wrong.astype(bool) & answered, 4.0, 0.0))
    assert cost["now"] == pytest.approx(per_row.mean())
    assert cost["a_day"] == pytest.approx(600 * 24 * (per_row.mean() - cost["before"]))
    assert cost["low"] > 0
    (alert,) = queries.alerts(watched)
    assert alert.cost is not None
    assert alert.cost.currency == "EUR"
    assert alert.cost.a_day == pytest.approx(cost["a_day"])
    assert words_of_cost(alert) == f"EUR {cost['a_day']:,.0f} a day"
    (window,) = (row for row in queries.results(watched, monitor="m") if row.aspect == "quality")
    assert f"EUR {cost['a_day']:,.0f} a day more than on its holdout" in describe(window).plain


@pytest.mark.parametrize("page", [1e9, 5e5])
def test_severity_goes_by_money_where_the_settings_say_what_a_day_may_cost(workspace: Workspace, page: float) -> None:
    watched = serving(workspace, costs={**COSTS, "page": page})
    for window in range(2):
        send_labelled(watched, window, wrong_in="app")
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    row = alert.evidence["roc_auc"]
    assert row["loss"] > 0.2  # By that it would page. A metric that is worse is worth a word, however little it costs.
    assert alert.severity == "warning"
    assert alert.score == pytest.approx(max(0.1 * row["cost"]["a_day"] / page, 0.02))


def test_answers_that_cost_more_are_a_finding_though_the_metric_is_no_worse(workspace: Workspace) -> None:
    watched = serving(workspace, slices=(), tolerance=0.9, costs={**COSTS, "page": 1_000.0})
    for window in range(2):
        send_labelled(watched, window, wrong_in="app")
    close(watched, 1)
    evaluate(watched, "m")
    (alert,) = queries.alerts(watched)
    assert (alert.kind, alert.severity) == ("quality", "page")
    assert "answers of version 1 cost EUR" in alert.summary


@pytest.mark.parametrize(
    ("costs", "says"),
    [
        ({"matrix": {"fraud": {"0": 1.0}}}, "has costs of fraud; the model answers 0, 1"),
        ({"under": 1.0}, "the model answers classes: name a `matrix`"),
    ],
)
def test_costs_that_the_model_cannot_have_are_named(workspace: Workspace, costs: dict[str, Any], says: str) -> None:
    watched = serving(workspace, costs=costs)
    send_labelled(watched, 0)
    close(watched, 0)
    with pytest.raises(SettingsError, match=says):
        evaluate(watched, "m")


@pytest.mark.parametrize("measure", ["demographic_parity_difference", "equal_opportunity_difference"])
def test_groups_that_are_treated_more_differently_than_allowed_are_a_finding(
    workspace: Workspace, measure: str
) -> None:
    watched = serving(workspace, fairness={"columns": ["channel"], "measure": measure, "bound": 0.15})
    for window in range(3):
        frame = rows(900, seed=500 + window)
        scores = chances(frame)
        known = truth(frame, window)
        if window:  # The model takes the app's customers for bad ones.
            scores = np.where(frame["channel"] == "app", np.clip(scores + 0.4, 0, 1), scores)
        label(watched, send(watched, frame, window, scores=scores), known.tolist())
    close(watched, 2)
    evaluate(watched, "m")
    found = {row.window_start: row for row in queries.results(watched, monitor="m") if row.aspect == "fairness"}
    verdicts = [str(found[start].verdict) for start in sorted(found)]
    assert verdicts == ["quiet", "found", "found"]
    alert = next(one for one in queries.alerts(watched) if one.kind == "fairness")
    assert alert.columns == ("channel",)
    assert "of channel=app" in alert.summary
    assert "allowed are 0.15" in alert.summary
    page = describe(found[max(found)]).plain
    assert "channel=app" in page
    assert "difference" in page
