"""What an alert's page draws: reference against current, the timeline, how sure it is and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlmodel import select

from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import AlertKind, find_alert
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.portrait import LEVELS, OTHERS, portraits
from quarterdeck.monitoring.queries import alert, alerts
from quarterdeck.monitoring.reporting import report_of, report_of_window
from quarterdeck.monitoring.result import Aspect, Result
from quarterdeck.monitoring.timeline import WINDOWS, timeline
from quarterdeck.traffic.prediction import NO_VERSION
from quarterdeck.workspace import Workspace
from tests.integration.test_suspects import add_data, at, judged, moved, opened, put, score, version
from tests.watched import HOUR, START, close, label, rows, send, serve, watch


def shifted(workspace: Workspace, current: Any, reference: Any = None, **settings: Any) -> Workspace:
    """A workspace whose second window in a row came in as `current`: it has an alert."""
    deck = watch(workspace, **settings)
    serve(deck, rows(1000, seed=1) if reference is None else reference)
    for window in range(2):
        send(deck, current, window)
    close(deck, 1)
    evaluate(deck, "m")
    return deck


def test_numbers_are_shares_of_common_bins_that_hold_every_row(workspace: Workspace) -> None:
    current = rows(400, seed=2, shift=30)
    current.loc[:39, "amount"] = np.nan
    current.loc[40, "amount"] = 1e9
    deck = shifted(workspace, current)
    (found,) = [one for one in portraits(deck, 1).values() if one.column == "amount"]
    assert (found.n_reference, found.n_current, found.version) == (1000, 360, 1)
    assert found.missing_current == pytest.approx(0.1)
    assert found.window == (START + HOUR, START + 2 * HOUR)
    assert sum(found.reference) == pytest.approx(1)
    assert sum(found.current) == pytest.approx(1)
    assert len(found.edges) == len(found.current) + 1 == len(found.reference) + 1
    # One value of 1e9 makes nobody's bins wide.
    assert found.edges[-1] < 200
    assert found.median_current == pytest.approx(130, abs=3)
    assert found.median_reference == pytest.approx(100, abs=2)
    assert not found.logarithmic


def test_the_slice_of_the_alert_is_what_is_drawn(workspace: Workspace) -> None:
    current = rows(900, seed=2, shift=40, only="app")
    deck = shifted(workspace, current)
    assert alert(deck, 1).slice == "channel=app"
    found = portraits(deck, 1)["amount"]
    assert found.slice == "channel=app"
    assert found.n_current == (current["channel"] == "app").sum()
    assert found.median_current == pytest.approx(140, abs=3)


def test_values_over_several_magnitudes_are_binned_by_their_logarithm(workspace: Workspace) -> None:
    cents = rows(400, seed=2)
    cents["amount"] = np.geomspace(1, 50_000, 400)
    found = portraits(shifted(workspace, cents), 1)["amount"]
    assert found.logarithmic
    ratios = np.divide(found.edges[1:], found.edges[:-1])
    assert ratios == pytest.approx(ratios[0])


def test_a_few_whole_numbers_have_a_bin_each(workspace: Workspace) -> None:
    reference, current = rows(1000, seed=1), rows(400, seed=2)
    reference["age"], current["age"] = np.arange(1000) % 3, np.arange(400) % 2 + 4
    found = portraits(shifted(workspace, current, reference), 1)["age"]
    assert len(found.reference) == 6
    assert found.reference == pytest.approx((1 / 3, 1 / 3, 1 / 3, 0, 0, 0), abs=0.01)
    assert found.current == pytest.approx((0, 0, 0, 0, 0.5, 0.5))


def test_categories_are_shares_of_the_rows_that_have_one_and_the_rare_ones_stand_together(workspace: Workspace) -> None:
    reference, current = rows(1000, seed=1), rows(400, seed=2)
    reference["channel"] = [f"shop-{i % 12}" if i % 2 else "web" for i in range(1000)]
    current["channel"] = ["phone" if i % 4 else None for i in range(400)]
    found = portraits(shifted(workspace, current, reference), 1)["channel"]
    assert found.missing_current == pytest.approx(0.25)
    assert (found.levels[0].name, found.levels[0].reference, found.levels[0].current) == ("web", 0.5, 0.0)
    phone = next(one for one in found.levels if one.name == "phone")
    assert (phone.reference, phone.current) == (0.0, 1.0)
    assert len(found.levels) <= LEVELS + 1
    assert sum(one.reference for one in found.levels) == pytest.approx(1)


def test_more_levels_than_fit_end_in_one_line(workspace: Workspace) -> None:
    reference, current = rows(1000, seed=1), rows(400, seed=2)
    reference["channel"] = [f"shop-{i % 10}" for i in range(1000)]
    current["channel"] = [f"kiosk-{i % 10}" for i in range(400)]
    found = portraits(shifted(workspace, current, reference), 1)["channel"]
    assert found.levels[-1].name == OTHERS
    assert sum(one.current for one in found.levels) == pytest.approx(1)


def test_a_column_without_one_value_is_no_crash(workspace: Workspace) -> None:
    empty = rows(400, seed=2)
    empty["amount"] = np.nan
    deck = shifted(workspace, empty)
    (number,) = [row.id for row in alerts(deck) if row.kind == "missing"]
    found = portraits(deck, number)["amount"]
    assert (found.n_current, found.missing_current, found.median_current) == (0, 1.0, None)
    assert sum(found.current) == 0


def test_what_a_fallback_answered_is_drawn_and_another_versions_rows_are_not(workspace: Workspace) -> None:
    deck = watch(workspace)
    serve(deck, rows(1000, seed=1))
    for window in range(2):
        send(deck, rows(300, seed=10 + window, shift=30), window)
        send(deck, rows(50, seed=20 + window, shift=30), window, version=NO_VERSION)
        send(deck, rows(70, seed=30 + window), window, version=9)
    close(deck, 1)
    evaluate(deck, "m")
    assert portraits(deck, 1)["amount"].n_current == 350


def test_an_alert_on_a_metric_has_no_portrait(workspace: Workspace) -> None:
    deck = watch(workspace)
    assert portraits(deck, opened(deck, 1, 1, "roc_auc", kind=AlertKind.QUALITY)) == {}
    with pytest.raises(NotFoundError):
        portraits(deck, 99)


def test_the_timeline_shows_windows_around_the_onset_with_changes_in_their_places(workspace: Workspace) -> None:
    deck = watch(workspace)
    at(deck, -0.5)
    data = add_data(deck, "payments", rows(50, seed=1))
    version(deck, data)
    put(deck, 1)
    for window in range(40):
        judged(deck, window, 1 if window < 33 else 2, moved() if window >= 30 else score("amount"))
    at(deck, 29.5)
    version(deck, add_data(deck, "payments", rows(50, seed=2)))
    add_data(deck, "weather", rows(50, seed=3))
    at(deck, 32.9)
    put(deck, 2)
    found = timeline(deck, opened(deck, 30, 1, "amount"))
    assert len(found.windows) == WINDOWS
    # Two thirds of them lie before the onset; there are enough after it to fill the rest.
    assert found.windows[0].start == START + 14 * HOUR
    assert [window.verdicts["inputs"] for window in found.windows] == ["quiet"] * 16 + ["found"] * 8
    assert [window.version for window in found.windows] == [1] * 19 + [2] * 5
    assert [(mark.kind, mark.what) for mark in found.marks] == [
        ("data", "data/payments@2 added"),
        ("revision", "version 2 was deployed"),
    ]
    assert timeline(deck, opened(deck, 60, 1, deployment="other")).windows[-1].start == START + 39 * HOUR


def test_how_sure_an_alert_is_and_what_it_costs(workspace: Workspace) -> None:
    deck = watch(workspace, tolerance=0.5)
    serve(deck, rows(1000, seed=1), metrics={"roc_auc": 0.8})
    for window in range(2):
        # The scores say little: the area under the curve is about 0.6, a quarter less than 0.8.
        scores = np.tile([0.2, 0.8, 0.4, 0.6, 0.5], 80)
        ids = send(deck, rows(400, seed=10 + window, shift=30), window, scores=scores)
        label(deck, ids, [int(value) for value in np.tile([0, 1, 1, 0, 0], 80)])
    close(deck, 1)
    evaluate(deck, "m")
    (row,) = alerts(deck)
    assert row.q_value is not None
    assert row.q_value < 0.001
    assert row.interval is None
    assert row.cost is not None
    (judged_window,) = [one for one in _results(deck, Aspect.QUALITY) if one.window_start == START + HOUR]
    assert (row.cost.how, row.cost.metric) == ("realised", "roc_auc")
    assert row.cost.loss == judged_window.scores[0]["loss"]


def test_a_metrics_alert_says_where_it_lies(workspace: Workspace) -> None:
    deck = watch(workspace)
    number = opened(deck, 1, 1, "roc_auc", kind=AlertKind.ESTIMATE)
    assert (alert(deck, number).interval, alert(deck, number).cost) == (None, None)
    with deck.state.write("test") as tx:
        found = find_alert(tx, number)
        found.evidence = {"roc_auc": {"metric": "roc_auc", "low": 0.61, "value": 0.64, "high": 0.68, "loss": 0.2}}
        tx.add(found)
    row = alert(deck, number)
    assert row.interval == (0.61, 0.68)
    assert row.cost is not None
    assert (row.cost.how, row.cost.loss) == ("estimated", 0.2)


def test_a_report_of_a_window_compares_that_window(workspace: Workspace) -> None:
    deck = shifted(workspace, rows(400, seed=2, shift=30))
    assert report_of_window(deck, "m", START + HOUR) == "<html>1000 against 400</html>"
    assert report_of(deck, 1) == "<html>1000 against 800</html>"
    with pytest.raises(NotFoundError, match="the newest begins at 2026-01-05T01:00:00"):
        report_of_window(deck, "m", START + 7 * HOUR)
    with pytest.raises(NotFoundError, match="no monitor 'other'"):
        report_of_window(deck, "other", START)


def _results(workspace: Workspace, aspect: Aspect) -> list[Result]:
    with workspace.state.read() as tx:
        return list(tx.exec(select(Result).where(Result.aspect == aspect)))
