"""The command line's own parts: parameters, text and JSON, and how a verb ends."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.errors import UsageError
from quarterdeck.monitoring.queries import MonitorRow
from quarterdeck_console.cli import verbs
from quarterdeck_console.cli.output import as_json, table
from quarterdeck_console.cli.pipelines import parse_parameters

HEAVY = ("pandas", "sklearn", "evidently", "numpy", "sqlmodel", "textual")


def test_parameters_are_json_where_they_can_be_and_text_otherwise() -> None:
    given = parse_parameters(["train.depth=8", "train.rate=0.5", "train.mode=fast", "train.on=true", "a.b=x=y"])
    assert given == {"train.depth": 8, "train.rate": 0.5, "train.mode": "fast", "train.on": True, "a.b": "x=y"}


@pytest.mark.parametrize("pair", ["depth=8", "train.depth", ".=1", "=8"])
def test_a_parameter_without_its_step_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match=r"STEP\.PARAMETER=VALUE"):
        parse_parameters([pair])


def test_rows_line_up_and_stay_on_one_line() -> None:
    text = table(("name", "value"), [("a\nb", 0.123456), ("long name", None)])
    assert text.splitlines() == ["NAME       VALUE", "a b        0.1235", "long name  -"]


def test_no_rows_say_so() -> None:
    assert table(("name",), []) == "none"


class Colour(StrEnum):
    RED = "red"


def test_json_holds_rows_times_and_paths_and_never_nan() -> None:
    row = MonitorRow("m", "d", "1d", datetime(2026, 1, 5, tzinfo=UTC), None, ("quiet",), (), 0, 0, 0, None)
    value: dict[str, Any] = {"row": row, "nan": float("nan"), "path": Path("/x"), "colour": Colour.RED}
    data = json.loads(as_json({**value, "span": timedelta(seconds=2)}))
    assert data["row"]["last_window_end"] == "2026-01-05T00:00:00+00:00"
    assert (data["nan"], data["path"], data["colour"], data["span"]) == (None, "/x", "red", 2.0)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["rollback", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from quarterdeck_console.cli import main\n"
        f"sys.argv = ['quarterdeck', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"sys.stderr.write(','.join(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip()
    assert done.stderr == ""


def test_an_unknown_verb_is_bad_usage_and_names_the_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["quarterdeck", "rolback"])
    assert verbs.run() == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "rolback" in captured.err
    assert "--help" in captured.err
