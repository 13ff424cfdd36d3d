"""The log in the console: followed live, in colour, and drawn only when it grows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from rich.text import Text
from textual.pilot import Pilot

from quarterdeck.logs import rotated
from quarterdeck.logs.lines import prefix
from quarterdeck.settings.host import LogSettings
from quarterdeck.workspace import Workspace
from quarterdeck_console.screens.pane import LogPage
from quarterdeck_console.themes import BAD, WARN
from quarterdeck_console.widgets.text_view import TextView
from tests.console.conftest import Console
from tests.console.driving import console_of, settled, words


def append(path: Path, level: str, text: str) -> None:
    with path.open("ab") as file:
        file.write(prefix(level) + f"{text}\n".encode())


def text_of(pilot: Pilot[int]) -> TextView:
    return console_of(pilot).view.query_one("#text", TextView)


async def test_a_log_is_followed_across_a_fresh_file_and_drawn_only_when_it_grows(
    seeded: Workspace, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = seeded.logs / "live.log"
    append(path, "OUT", "one")
    drawn: list[int] = []
    show = TextView.show
    async with console(seeded) as pilot:
        console_of(pilot).enter(LogPage("log", path))
        await settled(pilot, lambda: "one" in words(pilot))

        def counted(view: TextView, text: Text, *, keep_place: bool = True) -> None:
            drawn.append(1)
            show(view, text, keep_place=keep_place)

        monkeypatch.setattr(TextView, "show", counted)
        for _ in range(5):
            console_of(pilot).view.reload()
        assert drawn == []
        path.rename(rotated(path))
        append(path, "ERROR", "two [/bold]")
        await settled(pilot, lambda: "two [/bold]" in words(pilot))
        assert "one" in words(pilot)
        assert drawn == [1]


async def test_levels_have_their_colours_and_secrets_are_masked(
    seeded: Workspace, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "hunter2hunter2")
    settings = seeded.settings.model_copy(update={"logs": LogSettings(mask=("KEY",))})
    path = seeded.logs / "live.log"
    append(path, "OUT", "plain")
    append(path, "WARNING", "careful")
    append(path, "ERROR", "broken")
    with path.open("a") as file:
        file.write("raw hunter2hunter2")
    async with console(dataclasses.replace(seeded, settings=settings)) as pilot:
        console_of(pilot).enter(LogPage("log", path))
        await settled(pilot, lambda: "raw ***" in words(pilot))
        lines = text_of(pilot).text.split("\n")
        styles = {line.plain.split()[-1]: [str(span.style) for span in line.spans] for line in lines}
        assert WARN in styles["careful"]
        assert BAD in styles["broken"]
        assert not {WARN, BAD} & set(styles["plain"])


async def test_a_log_that_is_not_there_yet_appears(seeded: Workspace, console: Console) -> None:
    path = seeded.logs / "later.log"
    async with console(seeded) as pilot:
        page = LogPage("log", None, find=lambda _: path if path.exists() else None)
        console_of(pilot).enter(page)
        await settled(pilot, lambda: "No log yet" in words(pilot))
        append(path, "OUT", "here it is")
        console_of(pilot).view.reload()
        await settled(pilot, lambda: "here it is" in words(pilot))
