"""The verbs that look into an alert: its suspects and its report."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from quarterdeck import bootstrap
from quarterdeck.monitoring.alert import AlertKind
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.queries import alert
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import verbs
from tests.fakes import fake_ports
from tests.integration.test_suspects import at, judged, moved, opened, put, score, version
from tests.watched import START, close, rows, send, serve

Run = Callable[..., tuple[int, str, str]]
SETTINGS = """\
[workspace]
name = "d"
[monitors.m]
deployment = "d"
window = "1h"
origin = "2026-01-05T00:00:00Z"
grace = "1s"
"""


@pytest.fixture
def deck(tmp_path: Path, empty_workspace: Path) -> Iterator[Workspace]:
    folder = shutil.copytree(empty_workspace, tmp_path / "deck")
    (folder / "quarterdeck.toml").write_text(SETTINGS, encoding="utf-8")
    deck = bootstrap.open_workspace(folder, ports=fake_ports(), actor="tester")
    yield deck
    deck.close()


@pytest.fixture
def run(deck: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`quarterdeck ARGUMENTS`: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["quarterdeck", "--workspace", str(deck.root), *arguments])
        code = verbs.run()
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_suspects_are_listed_for_people_and_for_scripts(deck: Workspace, run: Run) -> None:
    at(deck, -1)
    version(deck)
    put(deck, 1)
    at(deck, 3.8)
    version(deck)
    put(deck, 2)
    at(deck, 6)
    judged(deck, 4, 2, moved())
    judged(deck, 4, 1, score("amount"), served=False)
    number = opened(deck, 4, 2, "amount")
    code, said, _ = run("suspects", str(number))
    assert code == 0
    assert "0.94   revision/d@2  2026-01-05 03:48  amount   version 2 was deployed" in said
    assert "amount is strange to version 2 and familiar to version 1" in said
    code, said, _ = run("suspects", str(number), "--json")
    (row,) = json.loads(said)
    assert (row["kind"], row["reference"], row["columns"]) == ("revision", "revision/d@2", ["amount"])
    assert row["seconds_before"] == pytest.approx(timedelta(hours=0.2).total_seconds())
    quiet = opened(deck, 30, 9, kind=AlertKind.QUALITY)
    assert "Nothing is known that was changed" in run("suspects", str(quiet))[1]
    assert run("suspects", "99")[0] == 2


def test_a_report_is_made_when_there_is_none_and_read_when_there_is_one(
    deck: Workspace, run: Run, tmp_path: Path
) -> None:
    serve(deck, rows(300, seed=1))
    for window in range(2):
        send(deck, rows(200, seed=2, shift=30), window)
    close(deck, 1)
    evaluate(deck, "m")
    code, said, told = run("report", "1", "--json")
    assert (code, json.loads(said)) == (0, {"file": "alert-1.html"})
    assert "takes some seconds" in told
    page = (tmp_path / "alert-1.html").read_text()
    assert "<html" in page
    digest = alert(deck, 1).report
    assert digest is not None
    assert deck.artifacts.read(digest).decode() == page
    code, said, told = run("report", "1", "--output", "again.html")
    assert (code, told) == (0, "")
    assert (tmp_path / "again.html").read_text() == page
    assert run("report", "--monitor", "m", "--window", f"{START:%Y-%m-%dT%H:%M}Z")[0] == 0
    assert (tmp_path / "m-2026-01-05T0000.html").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "A report is of an alert"),
        (("--monitor", "m"), "--monitor NAME --window START"),
        (("1", "--monitor", "m", "--window", "2026-01-05"), "A report is of an alert"),
        (("--monitor", "m", "--window", "noon"), "takes a time as ISO 8601 text"),
        (("--monitor", "other", "--window", "2026-01-05"), "There is no monitor 'other'"),
        (("--monitor", "m", "--window", "2026-01-05"), "none yet"),
        (("7",), "There is no alert 7"),
    ],
)
def test_what_cannot_be_reported_is_refused_with_the_next_step(run: Run, arguments: tuple[str, ...], says: str) -> None:
    code, said, told = run("report", *arguments)
    assert (code, said) == (2, "")
    assert says in told


def test_a_read_only_workspace_reports_and_keeps_nothing(deck: Workspace, run: Run, tmp_path: Path) -> None:
    serve(deck, rows(300, seed=1))
    for window in range(2):
        send(deck, rows(200, seed=2, shift=30), window)
    close(deck, 1)
    evaluate(deck, "m")
    deck.settings_file.write_text(SETTINGS.replace('name = "d"\n', 'name = "d"\nread_only = true\n'))
    assert run("report", "1")[0] == 0
    assert (tmp_path / "alert-1.html").exists()
    assert alert(deck, 1).report is None
