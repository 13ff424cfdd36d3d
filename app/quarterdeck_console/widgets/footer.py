"""The last lines: where one is, what was just said, and the few keys that fit."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.strip import Strip

from quarterdeck_console.formatting import clean
from quarterdeck_console.keymap import Key
from quarterdeck_console.themes import ACCENT, BAD, FAINT, MUTED, STRONG, TEXT
from quarterdeck_console.widgets.line import Line

MOST_KEYS = 8
MOST_LINES = 4
GAPS = (3, 2)
"""Between keys; the narrower one where they do not all fit by the first."""


class Crumbs(Line):
    """`deployments > fraud > revisions`; in its place, until the next key, what was said last, on as many lines."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._path: Sequence[str] = ()
        self._said: tuple[str, bool] | None = None
        self._filter = ""
        self._said_lines: list[Text] = []

    def go(self, path: Sequence[str], filter: str = "") -> None:
        self._path, self._filter = tuple(path), filter
        self._compose_line()

    def say(self, words: str, *, bad: bool = False) -> None:
        self._said = (words, bad)
        self._compose_line()

    def hush(self) -> None:
        """Take back what was said: the person has read it and pressed a key."""
        if self._said is not None:
            self._said = None
            self._compose_line()

    def _show_said(self, words: str, bad: bool) -> None:
        room = max(20, self.size.width - 2)
        said = Text(clean(words), BAD if bad else STRONG)
        self._said_lines = list(said.wrap(self.app.console, room))[:MOST_LINES]
        self.styles.height = len(self._said_lines)
        self.show(said)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        if self._said is None:
            return super().render_line(y)
        return self.strip_of(Text(" ").append_text(self._said_lines[y]) if y < len(self._said_lines) else Text())

    def _compose_line(self) -> None:
        line = Text(" ")
        if self._said is not None:
            self._show_said(*self._said)
            return
        self.styles.height = 1
        for index, part in enumerate(self._path):
            if index:
                line.append(" > ", FAINT)
            line.append(clean(part), TEXT if index == len(self._path) - 1 else MUTED)
        if self._filter:
            line.append("   /", FAINT).append(clean(self._filter), ACCENT).append("  Esc clears", MUTED)
        self.show(line)


class Footer(Line):
    """At most eight keys that fit the context. The last one, which tells of all others, stays on any screen."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._keys: Sequence[Key] = ()

    def keys(self, keys: Sequence[Key]) -> None:
        self._keys = keys[:MOST_KEYS]
        self._compose_line()

    def on_resize(self, event: events.Resize) -> None:
        self._compose_line()

    def _compose_line(self) -> None:
        parts = [_part(key) for key in self._keys]
        gap = next((gap for gap in GAPS if _width(parts, gap) <= self.size.width), GAPS[-1])
        while len(parts) > 1 and _width(parts, gap) > self.size.width:
            del parts[-2]
        self.show(Text(" ").append_text(Text(" " * gap).join(parts)))


def _part(key: Key) -> Text:
    style = f"bold {BAD}" if key.id.startswith("write.") else f"bold {ACCENT}"
    return Text.assemble((key.key, style), (f" {key.label}", MUTED))


def _width(parts: Sequence[Text], gap: int) -> int:
    """With a blank at the left end."""
    return 1 + sum(part.cell_len for part in parts) + gap * (len(parts) - 1)
