"""Every key is documented, and keys that write are upper-case letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from quarterdeck_console.commands import PANES, WRITES, Freeze, Pause, Resume, Thaw, Unknown, complete, parse
from quarterdeck_console.keymap import Key, everything

DOCUMENT = Path(__file__).parents[2] / "docs" / "console.md"
KEYS = [key for keys in everything().values() for key in keys]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.id)
def test_every_key_is_documented(key: Key) -> None:
    written = key.key
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if f"`{key.id}`" in line]
    assert len(rows) == 1, f"{key.id} wants one row in docs/console.md"
    assert f"`{written}`" in rows[0].split("|")[1]


def test_ids_are_unique() -> None:
    assert len({key.id for key in KEYS}) == len(KEYS)


def test_keys_that_write_are_upper_case_letters_and_no_other_writes() -> None:
    for key in KEYS:
        if key.id.startswith("write."):
            assert len(key.keys) == 1
            assert key.keys.isupper()


def test_every_command_is_documented() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert all(f"`:{words[0]}`" in document for words in PANES.values())


def test_every_command_that_writes_is_documented_and_completed() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    for word, written in WRITES.items():
        assert f"| `:{written}` |" in document
        assert complete(word) == [word]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("freeze 2h", Freeze("2h", "")),
        ("freeze 1h30m release of the shop", Freeze("1h30m", "release of the shop")),
        ("thaw", Thaw()),
        ("pause schedule/nightly the source moves", Pause("schedule/nightly", "the source moves")),
        ("pause pipeline/nightly", Pause("pipeline/nightly", "")),
        ("resume schedule/nightly", Resume("schedule/nightly")),
    ],
)
def test_commands_that_write_are_understood(typed: str, meant: object) -> None:
    assert parse(typed) == meant


@pytest.mark.parametrize("typed", ["freeze", "pause", "resume", "pause nightly", "resume job/3", "thaw 2h"])
def test_half_a_command_is_told_how_it_goes_on(typed: str) -> None:
    answer = parse(typed)
    assert isinstance(answer, Unknown)
    assert f"`:{typed.split()[0]}" in answer.words


def test_only_what_can_be_paused_is_offered_to_pause() -> None:
    rows = ["job/7", "schedule/nightly", "schedule/noon", "pipeline/nightly"]
    assert complete("pause schedule/n", rows) == ["pause schedule/nightly", "pause schedule/noon"]
    assert complete("resume ", rows) == [f"resume {row}" for row in rows[1:]]
    assert complete("open job", rows) == ["open job/7"]
