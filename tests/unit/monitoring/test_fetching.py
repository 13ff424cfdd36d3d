"""Fetching KPIs from a real SQLite file: from the last point on, only to read, and every trouble in one message."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session

from quarterdeck.errors import DataError, FencedError, NotFoundError, ReadOnlyError, UsageError
from quarterdeck.monitoring.fetching import fetch
from quarterdeck.traffic import series
from quarterdeck.traffic.moments import EARLIEST
from quarterdeck.traffic.series import Taken
from quarterdeck.workspace import Workspace
from tests.business import fetching, sell
from tests.waiting import wait_for

START = datetime(2026, 1, 1, tzinfo=UTC)
ENDLESS = "with recursive n(i) as (select 1 union all select i + 1 from n) select '2026-01-01T00:00Z', max(i) from n"


def values(workspace: Workspace) -> list[tuple[datetime, float]]:
    with workspace.traffic.read() as tx:
        return list(series.points_of(tx, "shop", "sales", EARLIEST, START + timedelta(days=1000)))


def test_it_asks_from_the_last_known_point_on_and_takes_what_is_new(workspace: Workspace) -> None:
    deck, shop = fetching(workspace), workspace.root / "shop.db"
    sell(shop, [(f"2026-01-0{day}T00:00:00Z", day) for day in (1, 2)])
    first = fetch(deck, "shop", "sales")
    assert (first.since, first.rows, first.taken) == (EARLIEST, 2, Taken(2, 0, ()))
    sell(shop, [("2026-01-03T00:00:00Z", 3)])
    second = fetch(deck, "shop", "sales")
    assert second.since == START + timedelta(days=1)
    # The last point again, and the new one; what lies before is not asked for.
    assert (second.rows, second.taken) == (2, Taken(1, 1, ()))
    assert [value for _, value in values(deck)] == [1, 2, 3]


def test_without_since_all_is_asked_for_and_only_what_differs_is_changed(workspace: Workspace) -> None:
    deck, shop = fetching(workspace, query="select at, amount from sales where at <> ':since'"), "shop.db"
    sell(workspace.root / shop, [("2026-01-01T00:00:00Z", 1), ("2026-01-02T00:00:00Z", 2)])
    fetch(deck, "shop", "sales")
    connection = sqlite3.connect(workspace.root / shop)
    with connection:
        connection.execute("UPDATE sales SET amount = 1.5 WHERE amount = 1")
    connection.close()
    taken = fetch(deck, "shop", "sales").taken
    assert (taken.added, taken.known, [(one.before, one.value) for one in taken.corrected]) == (0, 1, [(1, 1.5)])


def test_times_without_a_zone_are_of_the_timezone_that_is_named(workspace: Workspace) -> None:
    deck = fetching(workspace, timezone="Europe/Berlin")
    shop = sell(workspace.root / "shop.db", [("2026-01-02 00:30:00", 1), ("2026-01-03", 2)])
    assert fetch(deck, "shop", "sales").rows == 2
    assert [at for at, _ in values(deck)] == [START + timedelta(hours=23.5), START + timedelta(days=1, hours=23)]
    # `:since` is in that zone as well: as UTC it would ask for an hour before it again.
    sell(shop, [("2026-01-03 00:30:00", 3)])
    assert (fetch(deck, "shop", "sales").rows, len(values(deck))) == (1, 3)


def test_a_path_is_relative_to_the_workspace(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.root / "data").mkdir()
    sell(workspace.root / "data" / "shop.db", [("2026-01-01T00:00:00Z", 1)])
    monkeypatch.chdir(tmp_path)
    assert fetch(fetching(workspace, database="sqlite:///data/shop.db"), "shop", "sales").rows == 1
    elsewhere = sell(tmp_path / "other.db", [("2026-01-02T00:00:00Z", 1)])
    assert fetch(fetching(workspace, database=f"sqlite:///{elsewhere}"), "shop", "sales").rows == 1


@pytest.mark.parametrize(
    ("changes", "rows", "says"),
    [
        ({"database": "sqlite:///gone.db"}, [], "there is no file"),
        ({"query": "select at, amount from nowhere"}, [], "refused the query: no such table: nowhere"),
        ({"query": "sell"}, [], 'refused the query: near "sell": syntax error'),
        ({"query": "delete from sales"}, [], "attempt to write a readonly database"),
        ({"query": "select amount from sales"}, [("2026-01-01T00:00Z", 1)], "answers 1 columns (amount); a point has"),
        ({"query": "select at, amount, 1 as n from sales"}, [], "answers 3 columns (at, amount, n)"),
        ({}, [("2026-01-01 00:00:00", 1)], "Row 1 of its query's answer has the time 2026-01-01 00:00:00, which names"),
        ({}, [("2026-01-01T00:00Z", 1), ("2026-01-02T00:00Z", None)], "Row 2 of its query's answer has no value"),
        ({}, [("2026-01-01T00:00Z", "a lot")], "'a lot', which is no number"),
        ({}, [("2026-01-01T00:00Z", 9e999)], "inf, which is no figure"),
        ({}, [("soon", 1)], "takes a time as ISO 8601 text"),
        ({"query": "select at, amount from sales"}, [(20260101, 1)], "not a value of type int"),
        ({}, [("2036-01-01T00:00Z", 1)], "more than a day ahead of now"),
        ({}, [("2026-01-01T00:00Z", 1), ("2026-01-01T01:00+01:00", 2)], "and a row before it 1"),
        ({"rows": 2}, [(f"2026-01-0{day}T00:00Z", day) for day in (1, 2, 3)], "answers more than 2 rows"),
        ({"query": ENDLESS, "timeout": "200ms"}, [], "did not answer within 0.2 s"),
        ({"database": "unheardof://reader@warehouse/shop"}, [], "unheardof://reader@warehouse/shop cannot be asked"),
    ],
)
def test_what_goes_wrong_is_one_message_with_place_and_next_step_and_takes_nothing(
    workspace: Workspace, changes: dict[str, Any], rows: list[tuple[Any, Any]], says: str
) -> None:
    sell(workspace.root / "shop.db", rows)
    deck = fetching(workspace, **changes)
    with pytest.raises(DataError) as raised:
        fetch(deck, "shop", "sales")
    message = str(raised.value)
    assert says in message
    assert message.startswith("KPI 'sales' of deployment 'shop' was not fetched: ")
    assert f"[deployments.shop.kpis.sales] in {workspace.settings_file}" in message
    assert message.endswith("`quarterdeck kpi fetch shop sales`.")
    assert values(deck) == []


def test_a_question_that_was_given_up_does_not_go_on(workspace: Workspace) -> None:
    sell(workspace.root / "shop.db", [])
    with pytest.raises(DataError, match="did not answer within"):
        fetch(fetching(workspace, query=ENDLESS, timeout="100ms"), "shop", "sales")
    wait_for(lambda: all(thread.name != "query" for thread in threading.enumerate()), seconds=30, what="its end")


def test_a_file_that_is_no_database_is_said_to_be_none(workspace: Workspace) -> None:
    (workspace.root / "shop.db").write_text("this is a letter, and it goes on for a while" * 50)
    with pytest.raises(DataError, match="file is not a database"):
        fetch(fetching(workspace), "shop", "sales")


def test_a_server_that_is_down_is_named_without_its_password(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    deck = fetching(workspace, database="postgresql+unheardof://reader@127.0.0.1:1/shop", secret="SHOP_PASSWORD")
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    with pytest.raises(UsageError, match=r"environment variable SHOP_PASSWORD, which .*kpis.sales.* is not set here"):
        fetch(deck, "shop", "sales")
    monkeypatch.setenv("SHOP_PASSWORD", "open-sesame")
    with pytest.raises(DataError, match="was not fetched: postgresql") as raised:
        fetch(deck, "shop", "sales")
    assert "open-sesame" not in str(raised.value)


def test_what_is_not_configured_is_told_with_what_is(workspace: Workspace) -> None:
    deck = fetching(workspace, query=None, database=None)
    with pytest.raises(UsageError, match=r"has no query. Give .*kpis.sales"):
        fetch(deck, "shop", "sales")
    with pytest.raises(NotFoundError, match=r"no KPI 'slaes' of deployment 'shop'. Known: sales"):
        fetch(deck, "shop", "slaes")


def test_an_attempt_that_was_given_up_writes_nothing(workspace: Workspace) -> None:
    sell(workspace.root / "shop.db", [("2026-01-01T00:00Z", 1)])

    def fence(tx: Session) -> None:
        raise FencedError

    with pytest.raises(FencedError):
        fetch(fetching(workspace), "shop", "sales", fence=fence)
    assert values(workspace) == []


def test_a_person_may_not_fetch_into_a_workspace_that_is_read_only_and_its_runner_may(workspace: Workspace) -> None:
    sell(workspace.root / "shop.db", [("2026-01-01T00:00Z", 1)])
    deck = fetching(workspace)
    deck.settings.__dict__["workspace"] = deck.settings.workspace.model_copy(update={"read_only": True})
    with pytest.raises(ReadOnlyError):
        fetch(deck, "shop", "sales")
    assert fetch(deck, "shop", "sales", fence=lambda tx: None).taken.added == 1
