"""The verbs that look into an alert: its suspects and its report."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest

from quarterdeck.monitoring.alert import AlertKind
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.queries import alert
from quarterdeck.workspace import Workspace
from tests.integration.test_suspects import at, judged, moved, opened, put, score, version
from tests.unit.conftest import SETTINGS, Run
from tests.watched import START, close, rows, send, serve


class Terminal(StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        return True


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


def test_whoever_takes_an_alert_on_has_to_say_whether_it_is_real(
    deck: Workspace, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = opened(deck, 4, 2, "amount")
    code, said, told = run("ack", str(number))
    assert (code, said) == (2, "")
    assert told == f"Was alert/{number} real, or noise? Say --real or --noise: that is what a monitor is judged by.\n"
    assert (alert(deck, number).state, alert(deck, number).judgement) == ("open", None)
    monkeypatch.setattr(sys, "stdin", Terminal("maybe\n\nn\n"))
    code, said, told = run("ack", str(number))
    assert (code, said.splitlines()[-1]) == (0, f"alert/{number} is yours, judged noise.")
    assert told.count("Was it real, or noise? [r/n]") == 3
    assert told.startswith(f"alert/{number}: something moved\n")
    assert run("ack", str(number), "--real")[0] == 0
    assert alert(deck, number).judgement == "real"
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert run("ack", "99")[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ("suspects", "ALERT"),
        ("incident", "ALERT"),
        ("note", "ALERT", "seen"),
        ("ticket", "ALERT", "OPS-1"),
        ("silence", "ALERT", "--for", "1h", "--reason", "known"),
        ("ack", "ALERT", "--real"),
        ("reactions", "--alert", "ALERT"),
    ],
    ids=lambda words: words[0],
)
def test_an_alert_is_named_by_its_number_or_as_pages_name_it(deck: Workspace, run: Run, words: tuple[str, ...]) -> None:
    number = opened(deck, 4, 2, "amount")
    for name in (str(number), f"alert/{number}"):
        assert run(*(name if word == "ALERT" else word for word in words))[0] == 0, name
    for name in ("run/1", "alert/", "alert/x", "x", "1.5"):
        code, said, told = run(*(name if word == "ALERT" else word for word in words))
        assert (code, said) == (2, "")
        assert f"'{name}' is no alert: write 3 or alert/3. `quarterdeck alerts --all` lists them." in told


def test_a_silence_is_ended_and_a_report_is_made_by_the_name_of_pages(deck: Workspace, run: Run) -> None:
    number = opened(deck, 4, 2, "amount")
    assert run("silence", str(number), "--for", "1h", "--reason", "known")[0] == 0
    assert run("unsilence", f"alert/{number}")[0] == 0
    assert "There is no alert 99" in run("report", "alert/99")[2]


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
