"""What does not fit in quarterdeck.toml, as a sentence that names the key, its line and the nearest key that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Place = tuple[str | int, ...]
"""A key with all the tables that it lies in: `("monitors", "fraud", "slices")`; in an array its number, too."""
_PARTS = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_UNABLE = re.compile(r", unable to parse .*")
_BEGINS = ("Value error, ", "Assertion failed, ")
"""How pydantic begins what a validator of ours said."""


def describe(
    error: ValidationError, settings: type[BaseModel], path: Path, text: str, content: Mapping[str, Any]
) -> str:
    """The first mistake, and how many more there are. `text` is the file and `content` what it holds."""
    first, *others = error.errors()
    place = tuple(part for part in first["loc"] if part != "[key]")
    line = _line_of(text, place)
    where = f"{path}{'' if line is None else f', line {line}'}"
    if first["type"] == "extra_forbidden" and not _holds(content, place):
        where = f"The environment variable QUARTERDECK_{'__'.join(map(str, place)).upper()}"
    more = f" {len(others)} more do not fit." if others else ""
    return f"{where}: {_named(place)}: {_words(first, place, settings)}{more} docs/settings.md lists every key."


def _named(place: Place) -> str:
    return ".".join(str(part) for part in place) or "(whole file)"


def _words(first: ErrorDetails, place: Place, settings: type[BaseModel]) -> str:
    if first["type"] == "extra_forbidden":
        *tables, name = place
        known = list(_keys(settings, tuple(tables)))
        near = get_close_matches(str(name), known, n=1)
        there = f"there is no such key {_under(tuple(tables))}" if tables else "there is no such table"
        return f"{there}; did you mean `{near[0]}`?" if near else f"{there}."
    if first["type"] == "missing":
        return "it has to be given."
    if first["type"] == "too_short":
        return f"it needs at least {first['ctx']['min_length']}, and has {first['ctx']['actual_length']}."
    words = first["msg"]
    for begin in _BEGINS:
        words = words.removeprefix(begin)
    if words.startswith("Input should"):
        given = first["input"]
        words = _UNABLE.sub("", words)
        words = f"it {words.removeprefix('Input ')}" + (
            f", not {given!r}" if isinstance(given, str | int | float) else ""
        )
    return words.rstrip(".") + "."


def _under(tables: Place) -> str:
    """Where a key stands, as the file writes it."""
    name = ".".join(part for part in tables if isinstance(part, str))
    return f"under [[{name}]]" if isinstance(tables[-1], int) else f"under [{name}]"


def _keys(settings: type[BaseModel], tables: Place) -> Iterator[str]:
    """The keys of the table at that place; none where it is no table of ours."""
    found: list[Any] = [settings]
    for part in tables:
        found = [one for kind in found for one in _below(kind, part)]
    for kind in found:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from kind.model_fields


def _below(kind: Any, part: str | int) -> Iterator[Any]:
    """What may lie under a key of a table, or at a place of an array."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(str(part))
        inside = () if field is None else (field.annotation,)
    else:
        inside = get_args(kind)
    for one in inside:
        # What may be left out is a union with None.
        yield from (one, *(other for other in get_args(one) if NoneType in get_args(one)))


def _holds(content: Any, place: Place) -> bool:
    for part in place:
        if isinstance(content, Mapping) and part in content:
            content = content[str(part)]
        elif isinstance(content, list) and isinstance(part, int) and part < len(content):
            content = content[part]
        else:
            return False
    return True


def _line_of(text: str, place: Place) -> int | None:
    """The line of a key, counted from 1, or of the table that it is missing from; None where it is unclear."""
    lines: dict[Place, int] = {}
    table: Place = ()
    arrays: dict[Place, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header is not None:
            table = _inside(arrays, _parts(header[2]))
            if header[1] == "[[":
                arrays[table] = arrays.get(table, -1) + 1
                table = (*table, arrays[table])
            for length in range(1, len(table) + 1):
                lines.setdefault(table[:length], number)
        elif key is not None:
            parts = _parts(key[1])
            for length in range(1, len(parts) + 1):
                lines.setdefault((*table, *parts[:length]), number)
    known = (lines.get(place[:length]) for length in range(len(place), 0, -1))
    return next((number for number in known if number is not None), None)


def _inside(arrays: Mapping[Place, int], parts: Place) -> Place:
    """The place of a table's name, with the number of the newest table of each array that it lies in."""
    place: Place = ()
    for position, part in enumerate(parts):
        place = (*place, part)
        if place in arrays and position < len(parts) - 1:
            place = (*place, arrays[place])
    return place


def _parts(name: str) -> Place:
    return tuple(part.strip("\"'") for part in _PARTS.findall(name))
