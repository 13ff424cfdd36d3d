"""The real console in a real pseudo-terminal, on a real deck: looked around in, rolled back, undone, left alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quarterdeck.deployments.queries import deployments, operations
from tests.deck import QUARTERDECK, Deck, serving_deck
from tests.terminal import DEAF_SECONDS, ENTER, ESCAPE, Terminal

pytestmark = pytest.mark.timeout(300)
PANES = {
    "2": "pipelines",
    "3": "registry",
    "4": "alerts",
    "5": "deployments",
    "8": "jobs",
    "0": "audit",
    "1": "pulse",
}
IDLE_SECONDS = 3.0


@pytest.fixture(scope="module")
def deck(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deck]:
    with serving_deck(tmp_path_factory.mktemp("console") / "deck") as deck:
        yield deck


def crumbs(console: Terminal, path: str) -> None:
    """Wait until the line above the footer says where one is."""
    console.until(lambda words: words.splitlines()[-2].split("   ")[0].strip() == path)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
def test_the_console_by_keys(deck: Deck, size: tuple[int, int]) -> None:
    command = [QUARTERDECK, "-w", str(deck.root)]
    with Terminal(command, size=size, folder=deck.root, environment=deck.environment) as console:
        console.until("fraud v2")
        console.until("● gateway")
        look_around(console)
        roll_back(deck, console)
        undo(deck, console)
        console.press(ESCAPE)
        crumbs(console, "deployments")
        console.until("fraud@2")
        console.until_quiet(1.0)
        assert console.listen(IDLE_SECONDS) == 0
        console.press("q")
        status, _ = console.until_ended()
        assert status == 0


def look_around(console: Terminal) -> None:
    for key, pane in PANES.items():
        console.press(key)
        crumbs(console, pane)
    console.press("3")
    crumbs(console, "registry")
    console.until("fraud  v2")
    console.press(ENTER)
    crumbs(console, "registry > fraud")
    console.until("skops")
    console.press(ESCAPE)
    crumbs(console, "registry")

    console.press("0", "/", "verified")
    console.until(lambda words: "deployment.verified" in words and "deployment.deployed" not in words)
    console.press(ENTER, ESCAPE)
    console.until("deployment.deployed")

    console.press("?")
    console.until("what one does here")
    console.press(ESCAPE)
    crumbs(console, "audit")
    console.press(":", "dep", ENTER)
    crumbs(console, "deployments")
    console.until("fraud@2")


def confirm(console: Terminal, key: str) -> None:
    """Open the confirm strip and answer it, once it listens."""
    console.press(ENTER)
    console.until("Enter and Esc cancel")
    console.listen(DEAF_SECONDS)
    console.press(key)
    console.until(lambda words: "Enter and Esc cancel" not in words)


def roll_back(deck: Deck, console: Terminal) -> None:
    before = len(operations(deck.workspace))
    console.press("R")
    console.until("Would it help?")
    console.until("last known-good")
    confirm(console, ENTER)
    assert len(operations(deck.workspace)) == before
    confirm(console, "y")
    words = console.until("It serves. U undoes it")
    assert "Rollback of fraud to v1" in words
    assert "● verified" in words
    (row,) = deployments(deck.workspace)
    assert (row.version, row.state) == (1, "verified")


def undo(deck: Deck, console: Terminal) -> None:
    console.press("U")
    console.until("Undo revision")
    console.until("v1 -> v2")
    confirm(console, "y")
    words = console.until(lambda words: "Undo of fraud to v2" in words and "It serves." in words)
    assert "● verified" in words
    (row,) = deployments(deck.workspace)
    assert (row.version, row.state) == (2, "verified")
