"""Values as people read them. Text is built, never parsed: a name may contain anything, markup and escapes included."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from quarterdeck_console.themes import ACCENT, BAD, BUSY, FAINT, GOOD, MUTED, STRONG, WARN

DASH = "-"
_BARS = " ▁▂▃▄▅▆▇█"
_SIGNS = {
    GOOD: ("●", ("succeeded", "verified", "passed", "quiet", "resolved", "alive", "up", "yes", "intact", "holds")),
    BUSY: ("◐", ("running", "planned", "routed")),
    MUTED: (
        "○",
        (
            "queued",
            "pending",
            "cancelled",
            "skipped",
            "superseded",
            "unproven",
            "none",
            "informational",
            "never",
            "waiting",
            "paused",
            "unknown",
            "no data",
        ),
    ),
    WARN: ("▲", ("held", "warning", "inconclusive", "acknowledged", "silenced", "overdue")),
    BAD: ("✖", ("failed", "lost", "page", "found", "down", "no", "open", "contradicted", "withheld", "missed")),
}
_STATES = {state: (sign, style) for style, (sign, states) in _SIGNS.items() for state in states} | {"dead": ("■", BAD)}


def clean(value: object) -> str:
    """`value` on one line with its control characters made visible: they must not reach the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))


def text(value: object, style: str = "") -> Text:
    """`value` as it is, in one style; a dash when there is none."""
    if value is None or value == "":
        return Text(DASH, style=FAINT, no_wrap=True)
    return Text(clean(value), style=style, no_wrap=True)


def state(value: object) -> Text:
    """A state with its sign and colour."""
    word = clean(value)
    sign, style = _STATES.get(word, ("·", ""))
    return Text(f"{sign} {word}", style=style, no_wrap=True)


def moment(at: datetime | None, *, now: datetime | None = None) -> str:
    """Local clock time, with the day when it is not today. Never an age: an idle console must not change."""
    if at is None:
        return ""
    local = at.astimezone()
    today = (now or datetime.now(UTC)).astimezone().date()
    return local.strftime("%H:%M:%S") if local.date() == today else local.strftime("%Y-%m-%d %H:%M")


def day(at: datetime | None) -> str:
    """A moment of event time, in UTC to the minute: windows are aligned in UTC."""
    if at is None:
        return ""
    at = at.astimezone(UTC)
    return at.strftime("%Y-%m-%d") if (at.hour, at.minute) == (0, 0) else at.strftime("%Y-%m-%d %H:%M")


def duration(seconds: float | None) -> str:
    """`840 ms`, `12.4 s`, `5 m 10 s`, `3 h 20 m`, `12 d`."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} m {int(seconds % 60)} s"
    if seconds < 86400:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} m"
    return f"{int(seconds // 86400)} d {int(seconds % 86400 // 3600)} h"


def between(start: datetime | None, end: datetime | None) -> str:
    return "" if start is None or end is None else duration((end - start).total_seconds())


def number(value: object) -> str:
    """A figure to four significant digits; counts with thousands separators."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value) or math.isinf(value):
        return str(value)
    if value and (abs(value) >= 1e6 or abs(value) < 1e-4):
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 10000 else f"{value:.4g}"


def metrics(values: Mapping[str, Any] | None, limit: int = 3) -> str:
    """The first few metrics on one line."""
    return "  ".join(f"{clean(name)} {number(value)}" for name, value in list((values or {}).items())[:limit])


def bars(counts: Sequence[int]) -> str:
    """Counts as a line of bars, the highest as high as a line; blank where there is nothing."""
    most = max(counts, default=0)
    return "".join(_BARS[math.ceil(count / most * (len(_BARS) - 1))] if most else " " for count in counts)


def raw(row: object) -> str:
    """A row as JSON, as scripts see it."""
    value = asdict(row) if is_dataclass(row) and not isinstance(row, type) else row
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)


class Page:
    """Builds the text of a detail: headings, fields in two columns, paragraphs and small tables."""

    def __init__(self) -> None:
        self.text = Text()

    def title(self, words: object, note: Text | str = "") -> Page:
        self.text.append(clean(words), STRONG)
        if note:
            self.text.append("  ")
            self.text.append_text(note if isinstance(note, Text) else Text(note, MUTED))
        return self._line()

    def heading(self, words: str) -> Page:
        self._line()
        self.text.append(words, ACCENT)
        return self._line()

    def field(self, name: str, value: object, style: str = "", *, width: int = 14) -> Page:
        self.text.append(f"{clean(name):<{width}} ", MUTED)
        self.text.append_text(value if isinstance(value, Text) else text(value, style))
        return self._line()

    def fields(self, values: Mapping[str, Any]) -> Page:
        wide = max((len(clean(name)) for name in values), default=0)
        for name, value in values.items():
            self.field(name, number(value), width=max(14, wide))
        return self

    def line(self, words: object, style: str = "") -> Page:
        self.text.append_text(words if isinstance(words, Text) else Text(clean(words), style))
        return self._line()

    def table(self, titles: Iterable[str], rows: Iterable[Iterable[object]]) -> Page:
        """Columns as wide as their widest value; the first to the left, the others to the right."""
        cells = [[clean(cell) for cell in row] for row in rows]
        titles = list(titles)
        widths = [max(len(line[i]) for line in [titles, *cells]) for i in range(len(titles))]
        for index, line in enumerate([titles, *cells]):
            parts = [
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            self.line("  ".join(parts), "" if index else MUTED)
        return self

    def _line(self) -> Page:
        self.text.append("\n")
        return self
