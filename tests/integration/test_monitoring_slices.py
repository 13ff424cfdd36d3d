"""Slices of what is known before labels come: the quality that is estimated, and the answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quarterdeck.monitoring import queries
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.registry.answers import Predictions
from quarterdeck.registry.holdout import Holdout
from quarterdeck.statistics.quality import metric
from quarterdeck.workspace import Workspace
from tests.watched import close, rows, send, serve, watch


def chances(frame: pd.DataFrame) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-(frame["amount"].to_numpy() - 100) / 4)))


def serving(workspace: Workspace, *, known_quality: bool = True, **settings: Any) -> Workspace:
    watched = watch(workspace, **{"slices": ("channel",), "columns": ("age",), **settings})
    frame = rows(3_000, seed=3)
    scores = chances(frame)
    known = (np.random.default_rng(3).random(len(frame)) < scores).astype(np.int64)
    answers = Predictions((scores > 0.5).astype(np.int64), np.column_stack([1 - scores, scores]))
    metrics = {"roc_auc": metric("roc_auc", known, scores)} if known_quality else {}
    serve(watched, rows(2_000, seed=1), metrics=metrics, holdout=Holdout(frame, known.astype(float), answers))
    return watched


def judged(workspace: Workspace, aspect: str) -> tuple[dict[str, Any], ...]:
    return next(row for row in queries.results(workspace, monitor="m") if row.aspect == aspect).scores


def test_an_estimated_loss_names_the_slice_that_it_comes_from(workspace: Workspace) -> None:
    watched = serving(workspace, tolerance=0.05)
    for window in range(2):
        frame = rows(1_500, seed=20 + window)
        app = frame["channel"] == "app"
        # There the amounts lie closer to where the model cannot tell.
        frame.loc[app, "amount"] = 100 + (frame.loc[app, "amount"] - 100) / 8
        send(watched, frame, window, scores=chances(frame))
    close(watched, 1)
    evaluate(watched, "m")
    (row,) = judged(watched, "estimate")
    assert (row["about"], row["verdict"], row["slice"], row["measure"]) == (
        "metric",
        "worse",
        "channel=app",
        "log_loss",
    )
    assert row["slices"][0]["slice"] == "channel=app"
    alert = next(alert for alert in queries.alerts(watched) if alert.kind == "estimate")
    assert alert.slice == "channel=app"
    assert "on its holdout, most of it in channel=app; 1,500 rows, labels not needed" in alert.summary


def test_a_slice_that_a_good_estimate_hides_is_found(workspace: Workspace) -> None:
    watched = serving(workspace, tolerance=0.3)
    for window in range(2):
        frame = rows(1_500, seed=20 + window)
        app = frame["channel"] == "app"
        frame.loc[app, "amount"] = 100 + (frame.loc[app, "amount"] - 100) / 3
        send(watched, frame, window, scores=chances(frame))
    close(watched, 1)
    evaluate(watched, "m")
    (row,) = judged(watched, "estimate")
    assert (row["about"], row["verdict"], row["slice"]) == ("slice", "worse", "channel=app")
    alert = next(alert for alert in queries.alerts(watched) if alert.kind == "estimate")
    assert "log loss of version 1 in channel=app is estimated at" in alert.summary


def test_where_nothing_moved_no_slice_is_named(workspace: Workspace) -> None:
    watched = serving(workspace, slices=("channel", "age"))
    for window in range(3):
        frame = rows(1_500, seed=20 + window)
        send(watched, frame, window, scores=chances(frame))
    close(watched, 2)
    evaluate(watched, "m")
    for result in queries.results(watched, monitor="m"):
        if result.aspect == "estimate":
            assert (result.scores[0]["verdict"], result.scores[0]["slice"]) == ("quiet", None)
            assert len(result.scores[0]["slices"]) == 3 + 4
        if result.aspect == "predictions":
            assert [(row["verdict"], row["slice"]) for row in result.scores] == [("quiet", None)] * 2
    assert queries.alerts(watched, all=True) == []


def test_answers_that_moved_name_the_slice_in_which_they_did(workspace: Workspace) -> None:
    watched = serving(workspace)
    frame = rows(1_500, seed=20)
    scores = chances(frame)
    scores[frame["channel"] == "web"] **= 0.2
    send(watched, frame, 0, scores=scores)
    close(watched, 0)
    evaluate(watched, "m")
    probability = judged(watched, "predictions")[1]
    assert (probability["verdict"], probability["slice"]) == ("drifted", "channel=web")
    assert "n_slice" not in probability


def test_answers_that_moved_in_a_small_slice_alone_are_found_there(workspace: Workspace) -> None:
    watched = serving(workspace, known_quality=False)  # There is nothing to hold an estimate to.
    for window in range(2):
        frame = rows(3_000, seed=20 + window)
        scores = chances(frame)
        web = (frame["channel"] == "web").to_numpy()
        scores[web] = np.clip(scores[web] + 0.08, 0, 1)
        send(watched, frame, window, scores=scores)
    close(watched, 1)
    evaluate(watched, "m")
    probability = judged(watched, "predictions")[1]
    assert (probability["verdict"], probability["slice"]) == ("drifted", "channel=web")
    assert probability["n_slice"] == int(web.sum())
    (alert,) = queries.alerts(watched)
    assert alert.slice == "channel=web"
    assert alert.summary.startswith("probability of 1 moved in the answers of version 1 in channel=web: ")
    assert alert.summary.endswith(f"{int(web.sum()):,} of 3,000 rows")
