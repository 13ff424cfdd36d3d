"""From a deployment down to one prediction: what is listed, found, followed and explained."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.text import Text
from sqlmodel import select

from quarterdeck.deployments import explaining
from quarterdeck.deployments.deployment import Deployment, ServedBy
from quarterdeck.deployments.rollout import deploy
from quarterdeck.registry.version import ModelVersion
from quarterdeck.traffic.labelling import add_labels
from quarterdeck.traffic.queries import Sought
from quarterdeck.traffic.recording import record, record_unanswered
from quarterdeck.workspace import Workspace
from quarterdeck_console.formatting import clean
from quarterdeck_console.messages import StateChanged
from quarterdeck_console.screens.deployments import DeploymentsPane, RevisionsPane
from quarterdeck_console.screens.prediction import PredictionPage, described
from quarterdeck_console.screens.predictions import PredictionsPane, searches_of
from quarterdeck_console.widgets.footer import MOST_KEYS
from quarterdeck_console.widgets.text_view import TextView
from tests.console.conftest import Console
from tests.console.driving import app_of, console_of, go, said, settled, table_of, words
from tests.console.seeding import add_version, clock_of, predict
from tests.explained import NAME, serve_member

MARKUP = "[/bold]x[link=y]\x1b[31m\nred"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def arrive(workspace: Workspace, count: int, name: str = "new", **changes: Any) -> None:
    """Predictions of `fraud` that arrive now."""
    now = workspace.now()
    row = {"deployment": "fraud", "version": 2, "revision": 2, "inputs": [1.0, 41, "app"], "prediction": 0}
    record(
        workspace,
        [
            {**row, "id": f"{name}-{i}", "received_at": now + timedelta(microseconds=i), "latency_us": 900, **changes}
            for i in range(count)
        ],
    )


async def open_predictions(pilot: Any, deployment: str = "fraud") -> Any:
    table = await go(pilot, "5")
    assert table.move_to(f"deployment/{deployment}")
    await pilot.press("v")
    await settled(pilot, lambda: console_of(pilot).view.crumb == "predictions" and table_of(pilot).has_focus)
    await settled(pilot, lambda: table_of(pilot).loaded)
    return table_of(pilot)


def page_text(pilot: Any) -> str:
    return console_of(pilot).view.query_one(TextView).text.plain


async def test_enter_leads_from_a_deployment_to_the_predictions_of_one_revision_and_to_one_of_them(
    seeded: Workspace, console: Console
) -> None:
    async with console(seeded, (80, 24)) as pilot:
        table = await go(pilot, "5")
        assert table.move_to("deployment/fraud")
        await pilot.press("enter")
        await settled(pilot, lambda: console_of(pilot).view.crumb == "fraud" and table_of(pilot).loaded)
        await settled(pilot, lambda: table_of(pilot).has_focus)
        await pilot.press("j", "enter")
        await settled(pilot, lambda: console_of(pilot).view.crumb == "predictions of revision 1")
        await settled(pilot, lambda: table_of(pilot).loaded and table_of(pilot).has_focus)
        assert {row.source.revision for row in table_of(pilot).rows} == {1}
        assert len(table_of(pilot).rows) == 240
        await pilot.press("enter")
        await settled(pilot, lambda: "Not explained" in page_text(pilot))
        shown = page_text(pilot)
        assert "fraud@1, revision 1, champion" in shown
        assert "card-239" in shown
        assert "channel" in shown


async def test_v_shows_the_newest_predictions_of_a_deployment_and_of_an_alerts_one_and_says_so_elsewhere(
    seeded: Workspace, console: Console
) -> None:
    async with console(seeded) as pilot:
        table = await open_predictions(pilot)
        times = [row.source.received_at for row in table.rows]
        assert len(times) == 420
        assert times == sorted(times, reverse=True)
        await go(pilot, "4")
        await pilot.press("v")
        await settled(pilot, lambda: console_of(pilot).view.crumb == "predictions")
        await go(pilot, "2")
        await pilot.press("v")
        assert "press 5 and choose one" in said(pilot)


async def test_rows_follow_what_arrives_at_the_top_and_stand_still_where_somebody_reads_them(
    seeded: Workspace, console: Console
) -> None:
    async with console(seeded) as pilot:
        table = await open_predictions(pilot)
        arrive(seeded, 1, "first")
        await settled(pilot, lambda: table.cursor_key == "prediction/first-0")
        await pilot.press("j", "j")
        assert console_of(pilot).view.crumb == "predictions (held: g follows)"
        key, before = table.cursor_key, [row.key for row in table.rows]
        clock_of(seeded).advance(seconds=1)
        arrive(seeded, 600, "flood")
        app_of(pilot).on_state_changed(StateChanged())
        await pilot.pause(1.5)
        assert (table.cursor_key, [row.key for row in table.rows]) == (key, before)
        await pilot.press("enter")
        await settled(pilot, lambda: bool(console_of(pilot).view.query("#text")))
        await pilot.press("escape")
        await settled(pilot, lambda: table.has_focus)
        assert (table.cursor_key, [row.key for row in table.rows]) == (key, before)
        await pilot.press("g")
        await settled(pilot, lambda: table.cursor_key == "prediction/flood-599")
        assert console_of(pilot).view.crumb == "predictions"


async def test_the_end_of_a_page_reads_further(seeded: Workspace, console: Console) -> None:
    arrive(seeded, 700)
    async with console(seeded) as pilot:
        table = await open_predictions(pilot)
        assert len(table.rows) == 500
        await pilot.press("G")
        await settled(pilot, lambda: len(table.rows) == 1000)
        await pilot.press("G")
        await settled(pilot, lambda: len(table.rows) == 1120)
        await pilot.press("g")
        await settled(pilot, lambda: len(table.rows) == 500)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("card-7", {"fraud-1-7", "fraud-2-7"}),
        ("fraud-1-7", {"fraud-1-7"}),
        ("key:card-7", {"fraud-1-7", "fraud-2-7"}),
        ("id:card-7", set()),
        ("2001-01-01", set()),
    ],
)
async def test_find_searches_everything_that_is_recorded_of_the_deployment(
    seeded: Workspace, console: Console, typed: str, found: set[str]
) -> None:
    async with console(seeded) as pilot:
        table = await go(pilot, "5")
        assert table.move_to("deployment/fraud")
        await pilot.press("colon", *f"find {typed}", "enter")
        await settled(pilot, lambda: console_of(pilot).view.crumb == f"find {typed}" and table_of(pilot).loaded)
        assert {row.source.id for row in table_of(pilot).rows} == found
        if not found:
            assert f"Nothing is recorded for {typed}." in words(pilot)


async def test_find_by_time_walks_back_from_there(seeded: Workspace, console: Console) -> None:
    arrive(seeded, 3, "old", event_time=NOON)
    arrive(seeded, 2, "older", event_time=NOON - timedelta(days=1))
    async with console(seeded) as pilot:
        table = await go(pilot, "5")
        assert table.move_to("deployment/fraud")
        for typed, found in (
            ("2026-01-05T12:00", ["old-2", "old-1", "old-0", "older-1", "older-0"]),
            ("2026-01-04..2026-01-04", ["older-1", "older-0"]),
        ):
            await pilot.press("colon", *f"find {typed}", "enter")
            await settled(pilot, lambda typed=typed: console_of(pilot).view.crumb == f"find {typed}")  # type: ignore[misc]
            await settled(pilot, lambda: table_of(pilot).loaded)
            assert [row.source.id for row in table_of(pilot).rows] == found
        await pilot.press("colon", *"find 2026-01-05..2026-01-03", "enter")
        await settled(pilot, lambda: "the start comes first" in words(pilot))
        assert console_of(pilot).view.crumb == "find 2026-01-04..2026-01-04"


@pytest.mark.parametrize(
    ("typed", "searches"),
    [
        ("2026-01-05", [Sought(end=NOON + timedelta(hours=12))]),
        ("2026-01-05T12:00", [Sought(end=NOON + timedelta(minutes=1))]),
        ("2026-01-05 12:00:30", [Sought(end=NOON + timedelta(seconds=31))]),
        ("2026-01-05T13:00+01:00", [Sought(end=NOON + timedelta(minutes=1))]),
        (
            "2026-01-05..2026-01-06",
            [Sought(start=NOON - timedelta(hours=12), end=NOON + timedelta(hours=36))],
        ),
        ("key:2026-01-05", [Sought(key="2026-01-05")]),
        ("2026-13-45", [Sought(id="2026-13-45"), Sought(key="2026-13-45")]),
        ("a b:0", [Sought(id="a b:0"), Sought(key="a b:0")]),
        ("x..2026-01-05", [Sought(id="x..2026-01-05"), Sought(key="x..2026-01-05")]),
        ("id:", [Sought(id="id:"), Sought(key="id:")]),
    ],
)
def test_what_is_looked_for_is_a_time_where_it_reads_as_one(typed: str, searches: list[Sought]) -> None:
    assert searches_of(typed) == searches


async def test_one_prediction_is_explained_while_its_facts_are_read_already(empty: Workspace, console: Console) -> None:
    serve_member(empty)
    async with console(empty, (80, 24)) as pilot:
        await open_predictions(pilot, NAME)
        await pilot.press("enter")
        await settled(pilot, lambda: "interventional difference" in page_text(pilot), seconds=60)
        lines = page_text(pilot).splitlines()
        heading = next(number for number, line in enumerate(lines) if line.startswith("Probability of "))
        assert lines[heading + 1].split() == ["INPUT", "VALUE", "IN", "REFERENCE", "INFLUENCE"]
        assert max(len(line) for line in lines[: heading + 7]) <= 78
        assert {lines[heading + 2].split()[0], lines[heading + 3].split()[0]} == {"amount", "channel"}
        assert "quarterdeck explain member m11" in page_text(pilot)


def test_the_model_is_asked_once_and_a_label_that_came_meanwhile_is_shown(
    empty: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_member(empty)
    asked: list[str] = []
    real = explaining.explain_row

    def watched(workspace: Workspace, deployment: str, row: Any) -> Any:
        asked.append(row.id)
        return real(workspace, deployment, row)

    monkeypatch.setattr(explaining, "explain_row", watched)
    pane = PredictionsPane(NAME)
    page = PredictionPage(NAME, pane.read(empty, 1)[0])
    assert "Explaining ..." in page.read(empty).plain
    explained = page.explain(empty)
    assert page.explain(empty) == explained == page.read(empty)
    add_labels(empty, NAME, [{"reference": "m11", "value": "yes"}])
    assert "label          yes" in page.explain(empty).plain
    assert asked == ["m11"]


async def test_reading_an_explained_prediction_again_draws_nothing(
    empty: Workspace, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve_member(empty)
    async with console(empty) as pilot:
        await open_predictions(pilot, NAME)
        await pilot.press("enter")
        await settled(pilot, lambda: "interventional difference" in page_text(pilot), seconds=60)
        await pilot.pause(0.5)
        drawn: list[object] = []
        view = console_of(pilot).view.query_one(TextView)
        monkeypatch.setattr(view, "refresh", lambda *regions, **_: drawn.append(regions))
        app_of(pilot).on_state_changed(StateChanged())
        await pilot.pause(0.5)
        assert drawn == []


def test_names_and_values_with_markup_and_control_characters_are_shown_as_they_are(seeded: Workspace) -> None:
    with seeded.state.write("test") as tx:
        for version in tx.exec(select(ModelVersion)):
            features = [{**feature, "name": f"{MARKUP}{feature['name']}"} for feature in version.signature["features"]]
            version.signature = {**version.signature, "features": features, "target": MARKUP, "classes": [0, MARKUP]}
            tx.add(version)
    arrive(seeded, 1, MARKUP, key=MARKUP, inputs=[1.0, 41, MARKUP], prediction=MARKUP, probabilities=[0.2, 0.8])
    pane = PredictionsPane("fraud")
    row = pane.read(seeded, 1)[0]
    cells = "  ".join(cell.plain for cell in pane.table_row(row).cells)
    shown = described(seeded, "fraud", row, "no [b]explanation[/b]").plain
    for written in (cells, shown, pane.enter(row).name):
        assert "\x1b" not in written
    assert clean(MARKUP) in cells
    assert clean(MARKUP)[:10] in shown
    assert "no [b]explanation[/b]" in shown


def test_a_deployment_tells_who_serves_how_fast_with_which_errors_and_what_each_worker_runs(
    seeded: Workspace,
) -> None:
    record_unanswered(seeded, "fraud", 2, reason="rejected", count=7)
    record_unanswered(seeded, "fraud", 2, reason="overload", count=2)
    add_version(seeded, "fraud", 0.95)
    deploy(seeded, "fraud", model="fraud", version=3, reason="", actor="carol")
    pane = DeploymentsPane()
    (row,) = [row for row in pane.read(seeded, 10) if row.name == "fraud"]
    cells = dict(zip([column.title for column in pane.columns], pane.table_row(row).cells, strict=True))
    assert cells["ERRORS"].plain == "9"
    assert cells["SERVED BY"].plain == "gateway"
    told = fields(pane.detail(seeded, row))
    assert told["serves"] == "fraud@3"
    assert told["runtime"] == "scikit-learn"
    assert told["errors"] == "2 overload, 7 rejected"
    assert told["predictions"].startswith("180, ")
    assert told["latency"].startswith("p50 ")
    assert told["worker 0"].startswith("revision 2 since ")


@pytest.mark.parametrize(
    ("served_by", "words_"),
    [
        (ServedBy.EXTERNAL, "a system elsewhere"),
        (ServedBy.BATCH, "`quarterdeck score`"),
        (ServedBy.PROCESS, "a process of its own"),
    ],
)
def test_what_is_served_otherwise_says_by_whom_and_lists_by_version_where_no_revision_is_known(
    seeded: Workspace, served_by: ServedBy, words_: str
) -> None:
    with seeded.state.write("test") as tx:
        for deployment in tx.exec(select(Deployment).where(Deployment.name == "fraud")):
            deployment.served_by = served_by
    arrive(seeded, 4, "reported", revision=None)
    pane = DeploymentsPane()
    (row,) = [row for row in pane.read(seeded, 10) if row.name == "fraud"]
    shown = pane.detail(seeded, row).plain
    assert words_ in shown
    behind = served_by is ServedBy.PROCESS
    assert ("Gateway workers" in shown) == behind
    assert ("answers at" in shown) == (served_by is not ServedBy.BATCH)
    revisions = pane.enter(row)
    newest = revisions.enter(revisions.read(seeded, 10)[0])
    assert isinstance(newest, PredictionsPane)
    assert newest.crumb == ("predictions of revision 2" if behind else "predictions of v2")
    assert len(newest.read(seeded, 1000)) == (180 if behind else 184)


def test_a_revision_tells_how_much_it_has_answered(seeded: Workspace) -> None:
    record_unanswered(seeded, "fraud", 1, reason="failed", count=3)
    pane = RevisionsPane("fraud")
    told = fields(pane.detail(seeded, pane.read(seeded, 10)[-1]))
    assert told["predictions"] == "240"
    assert told["errors"] == "3 failed"


@pytest.mark.parametrize("pane", [DeploymentsPane, RevisionsPane, PredictionsPane])
def test_the_footer_has_room_for_every_key_of_these_panes(pane: Any) -> None:
    assert len(pane.keys) <= MOST_KEYS


def fields(text: Text) -> dict[str, str]:
    """The fields of a page by their names."""
    return {line[:14].strip(): line[15:] for line in text.plain.splitlines() if line[14:15] == " "}


def test_labels_that_agree_and_labels_that_do_not_differ_in_colour(seeded: Workspace) -> None:
    predict(seeded, "churn", 1, 1, 2)
    add_labels(seeded, "churn", [{"reference": "churn-1-0", "value": 0}, {"reference": "churn-1-1", "value": 0}])
    pane = PredictionsPane("churn")
    place = [column.title for column in pane.columns].index("LABEL")
    styles = {row.id: pane.columns[place].cell(row).style for row in pane.read(seeded, 10)}
    assert styles["churn-1-0"] != styles["churn-1-1"]
