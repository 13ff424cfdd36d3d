"""A workspace of files with one monitor, and the command line on it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quarterdeck import bootstrap
from quarterdeck.workspace import Workspace
from quarterdeck_console.cli import verbs
from tests.fakes import fake_ports

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
