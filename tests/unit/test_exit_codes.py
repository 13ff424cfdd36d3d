"""What `quarterdeck VERB` exits with, however the verb ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from quarterdeck.errors import ConflictError, RefusedError, UsageError
from quarterdeck_console.cli import verbs
from quarterdeck_console.demo import play


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (0, 0),
        (1, 1),
        (3, 3),
        (UsageError("no"), 2),
        (RefusedError("no"), 3),
        (ConflictError("no"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_is_how_the_verb_ended(
    monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException, code: int
) -> None:
    def ended(folder: Path | None, *, auto: bool) -> int:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(play, "play", ended)
    monkeypatch.setattr(sys, "argv", ["quarterdeck", "demo"])
    assert verbs.run() == code


def test_a_verb_that_just_ends_exits_with_zero(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["quarterdeck", "init", str(tmp_path / "deck")])
    assert verbs.run() == 0
