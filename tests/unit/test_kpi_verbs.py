"""The verbs on KPIs: what a person and a script are told, and how they end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck import bootstrap
from quarterdeck.traffic.series import add_points
from quarterdeck.workspace import Workspace
from tests.business import sell
from tests.fakes import fake_ports
from tests.integration.test_suspects import at, judged, moved, opened, put, score, version
from tests.unit.conftest import Run
from tests.watched import HOUR, START

SETTINGS = """\
[workspace]
name = "d"
[deployments.d.kpis.approval]
unit = "share"
better = "higher"
[deployments.d.kpis.sales]
unit = "EUR"
database = "sqlite:///shop.db"
query = "select at, amount from sales where at >= :since"
[deployments.d.kpis.broken]
database = "sqlite:///shop.db"
query = "select at, amount from nowhere"
"""


@pytest.fixture
def deck(tmp_path: Path, empty_workspace: Path) -> Iterator[Workspace]:
    folder = shutil.copytree(empty_workspace, tmp_path / "deck")
    (folder / "quarterdeck.toml").write_text(SETTINGS, encoding="utf-8")
    deck = bootstrap.open_workspace(folder, ports=fake_ports(), actor="tester")
    at(deck, -1)
    put(deck, version(deck))
    yield deck
    deck.close()


def shown(run: Run, name: str) -> list[tuple[str, float]]:
    found: list[dict[str, Any]] = json.loads(run("kpi", "show", "d", name, "--json")[1])
    return [(row["at"], row["value"]) for row in found]


def test_a_point_is_added_once_and_corrected_aloud(run: Run) -> None:
    assert run("kpi", "add", "d", "margin", "-3.5", "--at", "2026-01-01") == (0, "1 point added.\n", "")
    assert run("kpi", "add", "d", "margin", "-3.5", "--at", "2026-01-01T01:00+01:00")[1] == (
        "0 points added. 1 known already.\n"
    )
    assert run("kpi", "add", "d", "margin", "4", "--at", "2026-01-01T00:00Z")[1] == (
        "0 points added. 1 corrected: 2026-01-01 00:00:00 from -3.5 to 4.\n"
    )
    code, out, _ = run("kpi", "add", "d", "margin", "5", "--at", "2026-01-01T00:00Z", "--json")
    assert (code, json.loads(out)) == (
        0,
        {"added": 0, "known": 0, "corrected": [{"at": "2026-01-01T00:00:00+00:00", "before": 4.0, "value": 5.0}]},
    )
    assert shown(run, "margin") == [("2026-01-01T00:00:00+00:00", 5.0)]
    assert "twice" not in run("kpi", "show", "d", "margin")[1]
    assert "2 times" in run("kpi", "show", "d", "margin")[1]
    assert run("kpi", "add", "d", "margin", "7")[1] == "1 point added.\n"
    assert len(shown(run, "margin")) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("d", "margin", "nan"), "which is no figure"),
        (("d", "margin", "much"), "should be a valid number"),
        (("d", "margin", "1", "--at", "soon"), "--at takes a time as ISO 8601 text"),
        (("d", "margin", "1", "--at", "1950-01-01"), "before 1970"),
        (("d", "the margin", "1"), "'the margin' is not a name"),
        (("nobody", "margin", "1"), "There is no deployment 'nobody'"),
        (("d", "margin", "1", "--att", "2026-01-01"), "Got unexpected extra argument"),
    ],
)
def test_what_is_no_point_is_refused(run: Run, arguments: tuple[str, ...], says: str) -> None:
    code, out, said = run("kpi", "add", *arguments)
    assert (code, out) == (2, "")
    assert says in said


def test_a_table_is_imported_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    (tmp_path / "approval.csv").write_text("day,rate\n2026-01-01,0.91\n2026-01-02,0.92\n2026-01-03T12:00:00Z,0.93\n")
    arguments = ("kpi", "import", "d", "approval", "approval.csv", "--time", "day", "--value", "rate")
    assert run(*arguments) == (0, "3 points added.\n", "")
    assert run(*arguments)[1] == "0 points added. 3 known already.\n"
    assert shown(run, "approval")[0] == ("2026-01-03T12:00:00+00:00", 0.93)
    assert "93.0%" in run("kpi", "show", "d", "approval", "--limit", "1")[1]
    lines = [{"time": "2026-01-04T00:00:00Z", "value": 1}, {"time": "2026-01-05T00:00:00Z", "value": None}]
    (tmp_path / "more.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, _, said = run("kpi", "import", "d", "approval", "more.jsonl")
    assert (code, said) == (2, "Row 2 of more.jsonl has no value. Leave out what is not known.\n")
    assert "more.jsonl has no column day. It has: time, value" in run(*arguments[:4], "more.jsonl", "--time", "day")[2]
    assert len(shown(run, "approval")) == 3


def test_queries_are_asked_and_one_that_fails_does_not_hold_up_the_others(run: Run, deck: Workspace) -> None:
    sell(deck.root / "shop.db", [("2026-01-01T00:00Z", 1200), ("2026-01-02T00:00Z", 1300)])
    code, out, said = run("kpi", "fetch", "d")
    assert (code, out) == (1, "sales: 2 rows. 2 points added.\n")
    assert "KPI 'broken' of deployment 'd' was not fetched" in said
    assert run("kpi", "fetch", "d", "sales") == (0, "sales: 1 row. 0 points added. 1 known already.\n", "")
    assert run("kpi", "fetch", "d", "broken")[0] == 1
    (fetched,) = json.loads(run("kpi", "fetch", "d", "sales", "--json")[1])
    assert (fetched["rows"], fetched["since"]) == (1, "2026-01-02T00:00:00+00:00")
    rows = {row["name"]: row for row in json.loads(run("kpi", "list", "--json")[1])}
    assert list(rows) == ["approval", "broken", "sales"]
    assert (rows["sales"]["newest"], rows["sales"]["points"], rows["sales"]["every"]) == (1300, 2, "1h")
    assert "1,300 EUR" in run("kpi", "list", "d")[1]
    assert run("kpi", "list", "other")[0] == 2
    assert run("kpi", "fetch", "other")[0] == 2


def test_alerts_say_how_the_business_stood(run: Run, deck: Workspace) -> None:
    for window in range(6):
        judged(deck, window, 1, moved() if window >= 4 else score("amount"))
    at(deck, 7)
    rates = [0.91, 0.92, 0.91, 0.92, 0.84, 0.84]
    add_points(deck, "d", "approval", [(START + hour * HOUR, rate) for hour, rate in enumerate(rates)], verb="test")
    number = opened(deck, 4, 1, "amount")
    line = "approval 91.5% -> 84.0% since the onset (n=4, 2; higher is better)"
    assert f"alert/{number}: {line}\n" in run("alerts")[1]
    ((kpi,),) = [row["kpis"] for row in json.loads(run("alerts", "--json")[1])]
    assert (kpi["name"], kpi["before"]["n"], kpi["since"]) == ("approval", 4, {"n": 2, "value": 0.84})
    assert kpi["windows"][4] == {
        "start": "2026-01-05T04:00:00+00:00",
        "end": "2026-01-05T05:00:00+00:00",
        "n": 1,
        "value": 0.84,
    }
    assert line.replace(">", "\\>") in run("incident", str(number))[1]
    assert json.loads(run("incident", str(number), "--json")[1])["kpis"] == [kpi]


def test_a_workspace_that_is_read_only_takes_no_point(run: Run, deck: Workspace) -> None:
    deck.settings_file.write_text(SETTINGS.replace('name = "d"', 'name = "d"\nread_only = true'))
    (deck.root.parent / "x.csv").write_text("time,value\n2026-01-01,1\n")
    for arguments in (("add", "d", "x", "1"), ("import", "d", "x", "x.csv"), ("fetch", "d", "sales")):
        code, _, said = run("kpi", *arguments)
        assert code == 3
        assert "is refused" in said
