"""Tables of the command line: a line for each row, and on a narrow terminal what does not fit below it."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from quarterdeck_console.cli.output import table

HEADINGS = ("alert", "severity", "what")
ROWS = [(3, "page", "amount moved in channel=app and goes on moving"), (12, "warning", None)]


def terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 24)))


def test_what_is_no_terminal_gets_one_line_for_each_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 24)))
    assert table(HEADINGS, ROWS).splitlines() == [
        "ALERT  SEVERITY  WHAT",
        "3      page      amount moved in channel=app and goes on moving",
        "12     warning   -",
    ]


def test_a_terminal_that_is_wide_enough_shows_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = table(HEADINGS, ROWS)
    terminal(monkeypatch, 63)
    assert table(HEADINGS, ROWS) == plain


def test_on_a_narrow_terminal_what_does_not_fit_stands_below_its_row_under_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal(monkeypatch, 40)
    assert table(HEADINGS, ROWS).splitlines() == [
        "ALERT  SEVERITY",
        "3      page",
        "       what: amount moved in channel=app",
        "         and goes on moving",
        "12     warning",
    ]
    terminal(monkeypatch, 3)
    assert table(HEADINGS, ROWS).splitlines()[0] == "ALERT"
