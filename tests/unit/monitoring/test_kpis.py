"""KPIs beside an alert: means of the same windows, before and since the onset, and one line that claims no cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import AlertKind, find_alert
from quarterdeck.monitoring.incident import as_markdown, incident
from quarterdeck.monitoring.kpis import BEFORE, KpiAround, figure, kpis, words
from quarterdeck.monitoring.timeline import WINDOWS, kpis_around, timeline
from quarterdeck.settings import Settings
from quarterdeck.traffic.series import Mean, add_points
from quarterdeck.workspace import Workspace
from tests.integration.test_suspects import at, judged, moved, opened, put, score, version
from tests.watched import HOUR, START, watch


@pytest.fixture
def deck(workspace: Workspace) -> Workspace:
    """Forty windows of an hour; from number 30 on `amount` has moved."""
    deck = watch(workspace)
    at(deck, -1)
    put(deck, version(deck))
    for window in range(40):
        judged(deck, window, 1, moved() if window >= 30 else score("amount"))
    at(deck, 41)
    return deck


def told(deck: Workspace, **kpis: Any) -> Workspace:
    """The deck with those settings of KPIs of deployment `d`."""
    sections = {"monitors": deck.settings.monitors, "deployments": {"d": {"kpis": kpis}}}
    return replace(deck, settings=Settings.model_validate(sections))


def add(deck: Workspace, name: str, points: Iterable[tuple[float, float]], deployment: str = "d") -> None:
    """Points by their hours after the first window's start."""
    add_points(deck, deployment, name, [(START + hour * HOUR, value) for hour, value in points], verb="test")


def test_the_timeline_has_the_mean_of_each_of_its_windows(deck: Workspace) -> None:
    deck = told(deck, approval={"unit": "share", "better": "higher"})
    add(deck, "approval", [(hour + half, 0.9 - half / 5) for hour in range(28) for half in (0.0, 0.5)])
    add(deck, "approval", [(31, 0.5)])
    add(deck, "approval", [(20, 0.1)], deployment="other")
    (found,) = timeline(deck, opened(deck, 30, 1, "amount")).kpis
    assert len(found.windows) == WINDOWS
    # The first window shown is number 14; a point at the border of two belongs to the later one.
    assert [one.start for one in found.windows] == [START + hour * HOUR for hour in range(14, 38)]
    assert [one.n for one in found.windows] == [2] * 14 + [0, 0] + [0, 1] + [0] * 6
    assert [one.value for one in found.windows[:14]] == pytest.approx([0.85] * 14)
    assert [one.value for one in found.windows[14:]] == [None] * 3 + [0.5] + [None] * 6
    assert found.before.n == 28
    assert found.before.value == pytest.approx(0.85)
    assert found.since == Mean(1, 0.5)
    assert words(found) == "approval 85.0% -> 50.0% since the onset (n=28, 1; higher is better)"


def test_the_incident_says_it_in_one_line(deck: Workspace) -> None:
    add(deck, "chargebacks", [(29, 12), (29.5, 14), (30, 40), (33, 50)])
    add(deck, "orders", [(1, 7)])
    number = opened(deck, 30, 1, "amount")
    found = incident(deck, number)
    assert [words(one) for one in found.kpis] == ["chargebacks 13 -> 45 since the onset (n=2, 2)"]
    assert "- **KPI:** chargebacks 13 -\\> 45 since the onset (n=2, 2)\n" in as_markdown(found)


def test_an_alert_that_is_over_ends_with_its_last_window(deck: Workspace) -> None:
    add(deck, "chargebacks", [(29, 10), (30, 40), (31.9, 60), (32, 1000), (39, 1000)])
    number = opened(deck, 30, 1, "amount")
    with deck.state.write("test") as tx:
        alert = find_alert(tx, number)
        alert.resolve(deck.now())
        tx.add(alert)
    (found,) = kpis_around(deck, number)
    assert (found.since, found.until) == (Mean(2, 50.0), START + 32 * HOUR)
    assert words(found) == "chargebacks 10 -> 50 from the onset to the end (n=1, 2)"


def test_without_windows_four_weeks_lie_before(workspace: Workspace) -> None:
    at(workspace, 1)
    add(workspace, "chargebacks", [(-BEFORE / HOUR - 0.1, 1000), (-BEFORE / HOUR, 10), (-1, 20), (0, 3)])
    number = opened(workspace, 0, 1, "availability", kind=AlertKind.SLO)
    found = timeline(workspace, number)
    assert found.windows == ()
    assert [words(one) for one in found.kpis] == ["chargebacks 15 -> 3 since the onset (n=2, 1)"]


def test_no_alert_is_asked_for_that_there_is_not(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError):
        kpis_around(workspace, 7)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9123, "share", "91.2%"),
        (91.23, "%", "91.23%"),
        (1240.4, "EUR", "1,240 EUR"),
        (-3.5, "EUR", "-3.5 EUR"),
        (12, None, "12"),
        (0.00012, None, "0.00012"),
    ],
)
def test_a_figure_stands_with_its_unit(value: float, unit: str | None, text: str) -> None:
    assert figure(value, unit) == text


def test_what_is_not_known_is_not_made_up() -> None:
    one = KpiAround("orders", None, None, Mean(0, None), Mean(2, 5.0), None, ())
    assert words(one) == "orders 5 since the onset, nothing before it (n=0, 2)"
    assert words(replace(one, before=Mean(3, 4.0), since=Mean(0, None))) == (
        "orders 4 before the onset, nothing since (n=3, 0)"
    )


def test_kpis_are_listed_whether_they_come_by_a_query_or_by_hand(deck: Workspace) -> None:
    query = {"query": "select 1, 2", "database": "sqlite:///shop.db", "every": "90m"}
    deck = told(deck, approval={"unit": "share", **query}, refunds={"better": "lower"})
    add(deck, "refunds", [(1, 10), (2, 12)])
    add(deck, "orders", [(1, 7)])
    orders, approval, refunds = sorted(kpis(deck, "d"), key=lambda row: (row.points != 1, row.name))
    assert (orders.name, orders.points, orders.newest, orders.unit, orders.every) == ("orders", 1, 7, None, None)
    assert (approval.points, approval.last, approval.every, approval.unit) == (0, None, "1h30m", "share")
    assert (refunds.points, refunds.newest, refunds.better) == (2, 12, "lower")
    assert refunds.last == START + timedelta(hours=2)
    assert len(kpis(deck)) == 3
    with pytest.raises(NotFoundError, match="Deployment 'other' has no KPIs"):
        kpis(deck, "other")
