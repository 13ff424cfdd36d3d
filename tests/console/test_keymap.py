"""Every key is documented, and keys that write are upper-case letters."""

from __future__ import annotations

from pathlib import Path

import pytest

from quarterdeck_console.commands import PANES
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
