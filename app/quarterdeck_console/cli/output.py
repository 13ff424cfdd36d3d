"""stdout is data, stderr is narration."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once instead of waiting for the end.")]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the history.")]


GAP, INDENT = 2, 7


def say(text: str) -> None:
    """Tell the person something, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def as_json(value: Any) -> str:
    """`value` (rows, dataclasses, paths, times) as one JSON document. Non-finite numbers become null."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def emit(value: Any, text: str, *, as_data: bool) -> None:
    """Print the result of a verb: `value` as JSON when asked for, else `text`."""
    out = as_json(value) if as_data else text
    if out:
        sys.stdout.write(out + "\n")
        sys.stdout.flush()


def table(headings: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str = "none") -> str:
    """Rows as aligned text; `empty` when there are none.

    On a terminal the columns that do not fit its width stand below their row, each after its name. What is not a
    terminal gets one line for each row.
    """
    if not rows:
        return empty
    cells = [[heading.upper() for heading in headings], *[[cell(value) for value in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    fit = len(widths) if room is None else _fitting(widths, room)
    lines = []
    for row in cells:
        lines.append("  ".join(text.ljust(width) for text, width in zip(row[:fit], widths, strict=False)).rstrip())
        if room is not None and row is not cells[0]:
            for heading, text in zip(headings[fit:], row[fit:], strict=True):
                lines += _below(heading, text, room)
    return "\n".join(lines)


def _fitting(widths: Sequence[int], room: int) -> int:
    """How many of the first columns fit; one at least."""
    ends = itertools.accumulate(width + GAP for width in widths)
    return max(1, sum(end - GAP <= room for end in ends))


def _below(heading: str, text: str, room: int) -> list[str]:
    """A cell below its row, wrapped; nothing where it says nothing."""
    if text in ("", "-"):
        return []
    indent = " " * INDENT
    return textwrap.wrap(f"{heading}: {text}", max(room, 20), initial_indent=indent, subsequent_indent=indent + "  ")


def cell(value: Any) -> str:
    """One value as short text on one line."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    return " ".join(str(value).split())


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
