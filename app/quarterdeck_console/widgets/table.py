"""A table that draws only what changed, pins its cursor to a row's key and drops columns that do not fit.

Textual's own DataTable measures every cell and moves its cursor when rows move: here a write key is under the finger.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from quarterdeck_console.keymap import TABLE, bindings
from quarterdeck_console.themes import ACCENT, CURSOR, FAINT, MUTED

GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """How one column reads a row."""

    title: str
    cell: Callable[[Any], Text]
    priority: int = 1
    """1 always stays; the highest go first when the screen is narrow."""
    right: bool = False
    least: int = 0
    """A column that may shrink to this width and takes what room is left; 0 keeps its natural width."""
    fair: int = 0
    """Of one that may shrink: as wide as it has to be before a less important column is shown."""


@dataclass(frozen=True, slots=True)
class Row:
    key: str
    cells: tuple[Text, ...]
    source: Any = field(compare=False)
    dim: bool = False

    def plain(self) -> str:
        return "  ".join(cell.plain for cell in self.cells).lower()


class Table(Widget, can_focus=True):
    """Rows under one line of titles."""

    BINDINGS = bindings(TABLE)

    class Highlighted(Message):
        """The cursor stands on another row, or on none."""

        def __init__(self, table: Table, row: Row | None) -> None:
            super().__init__()
            self.table = table
            self.row = row

    class Selected(Message):
        """Enter was pressed on a row."""

        def __init__(self, table: Table, row: Row) -> None:
            super().__init__()
            self.table = table
            self.row = row

    class EndReached(Message):
        """The cursor stands on the last row: there may be more to read."""

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        title: str = "",
        empty: str = "",
        follow: bool = False,
        id: str | None = None,
    ) -> None:
        """`follow` keeps a cursor that stands on the first row there, whichever row that is."""
        super().__init__(id=id)
        self.columns = tuple(columns)
        self.follow = follow
        self.title = title
        self.empty = empty
        self._filtered = ""
        self.rows: list[Row] = []
        self.cursor_key: str | None = None
        self.loaded = False
        self.passive = False
        self._index = 0
        self._top = 0
        self._natural = [len(column.title) for column in self.columns]
        self._layout: list[tuple[int, int]] = []

    # Rows ---------------------------------------------------------------------------------------------------------

    @property
    def current(self) -> Row | None:
        """The row under the cursor."""
        return self.rows[self._index] if self.rows and not self.passive else None

    @property
    def at_top(self) -> bool:
        """The cursor stands on the first row, or would if there were one."""
        return self._index == 0

    def show(self, rows: Sequence[Row], *, filtered: str = "") -> None:
        """Put `rows` in place of the ones shown. The cursor stays on its key; only lines that differ are drawn.

        `filtered`: what to say instead of `empty` where a filter left no row.
        """
        old, self.rows = self.rows, list(rows)
        if filtered != self._filtered:
            self._filtered = filtered
            self.refresh()
        first, self.loaded = not self.loaded, True
        before = self.cursor_key
        if self.follow and self.at_top and not first:
            self.cursor_key = self.rows[0].key if self.rows else None
        self._pin()
        top, layout, title = self._top, self._layout, self._title_line_needed(len(old))
        self._keep_visible()
        self._measure()
        if first or layout != self._layout or top != self._top or title or bool(rows) != bool(old):
            self.refresh()
        else:
            for index in range(max(len(old), len(rows))):
                if index >= len(old) or index >= len(rows) or old[index] != rows[index]:
                    self._refresh_row(index)
        if before != self.cursor_key or first:
            self.post_message(self.Highlighted(self, self.current))

    def _title_line_needed(self, old: int) -> bool:
        return bool(self.title) and old != len(self.rows)

    def _pin(self) -> None:
        for index, row in enumerate(self.rows):
            if row.key == self.cursor_key:
                moved, self._index = self._index != index, index
                if moved:
                    self.refresh()
                return
        self._index = min(self._index, max(0, len(self.rows) - 1))
        key = self.rows[self._index].key if self.rows else None
        if key != self.cursor_key:
            self.cursor_key = key
            self.refresh()

    def move_to(self, key: str) -> bool:
        """Put the cursor on the row with that key; false when there is none yet (it will go there once it is)."""
        for index, row in enumerate(self.rows):
            if row.key == key:
                self._go(index)
                return True
        self.cursor_key = key
        return False

    # Layout -------------------------------------------------------------------------------------------------------

    @property
    def _head(self) -> int:
        return 2 if self.title else 1

    @property
    def _page(self) -> int:
        return max(1, self.size.height - self._head)

    def _measure(self) -> None:
        for row in self.rows:
            for i, cell in enumerate(row.cells):
                self._natural[i] = max(self._natural[i], cell.cell_len)
        least = [min(c.least, self._natural[i]) if c.least else self._natural[i] for i, c in enumerate(self.columns)]
        room = self.size.width - 2
        shown = self._shown(least, room)
        left = max(0, room - _needed(least[i] for i in shown))
        widths = {i: least[i] for i in shown}
        for i in shown:
            more = min(left, self._natural[i] - widths[i])
            widths[i] += more
            left -= more
        self._layout = [(i, widths[i]) for i in shown]

    def _shown(self, least: Sequence[int], room: int) -> list[int]:
        """The columns that fit: the least important go, until those that are left have what they need."""
        fair = [
            max(width, min(c.fair, self._natural[i]))
            for i, (c, width) in enumerate(zip(self.columns, least, strict=True))
        ]
        shown = list(range(len(self.columns)))
        while len(shown) > 1:
            worst = max(shown, key=lambda i: (self.columns[i].priority, i))
            lowest = self.columns[worst].priority
            if lowest == 1:
                break
            more_important = [i for i in shown if self.columns[i].priority < lowest]
            widths = {i: fair[i] if i in more_important else least[i] for i in shown}
            if _needed(widths.values()) <= room:
                break
            shown.remove(worst)
        return shown

    def _keep_visible(self) -> None:
        last = max(0, len(self.rows) - self._page)
        self._top = min(max(self._top, self._index - self._page + 1), self._index, last)

    def on_resize(self, event: events.Resize) -> None:
        self._keep_visible()
        self._measure()
        self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return self._head + max(1, len(self.rows))

    # Drawing ------------------------------------------------------------------------------------------------------

    def _refresh_row(self, index: int) -> None:
        y = index - self._top + self._head
        if self._head <= y < self.size.height:
            self.refresh(Region(0, y, self.size.width, 1))

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if self.title and y == 0:
            return self._rule(width)
        if y < self._head:
            titles = [Text(column.title if self.rows else "", style=MUTED) for column in self.columns]
            return self._line(titles, "", width)
        index = y - self._head + self._top
        if not self.rows:
            return self._empty_line(y - self._head, width)
        if index >= len(self.rows):
            return Strip.blank(width, self.rich_style)
        row = self.rows[index]
        here = index == self._index and not self.passive
        background = (f"on {CURSOR}" if self.has_focus else "on #1b2633") if here else ""
        return self._line(row.cells, background, width, dim=row.dim)

    def _rule(self, width: int) -> Strip:
        style = ACCENT if self.has_focus else MUTED
        words = Text.assemble(("─ ", FAINT), (self.title, style), " ")
        if self.loaded:
            words.append(f"{len(self.rows)} ", MUTED)
        words.append("─" * max(0, width - words.cell_len), FAINT)
        return self._strip(words, width)

    def _empty_line(self, y: int, width: int) -> Strip:
        words = self._filtered or self.empty if self.loaded else "reading ..."
        lines = [part for line in words.split("\n") for part in textwrap.wrap(line, max(10, width - 2)) or [""]]
        offset = y if self.size.height < 6 else y - 1
        return self._strip(Text(" " + lines[offset] if 0 <= offset < len(lines) else "", style=MUTED), width)

    def _line(self, cells: Sequence[Text], style: str, width: int, *, dim: bool = False) -> Strip:
        line = Text(" ", style=style, end="")
        for position, (i, column_width) in enumerate(self._layout):
            cell = cells[i].copy()
            if cell.cell_len > column_width:
                cell.truncate(column_width, overflow="ellipsis")
            blank = " " * (column_width - cell.cell_len)
            if position:
                line.append(" " * GAP)
            if self.columns[i].right:
                line.append(blank).append_text(cell)
            else:
                line.append_text(cell).append(blank)
        if dim:
            line.stylize(MUTED)
        return self._strip(line, width, style)

    def _strip(self, line: Text, width: int, style: str = "") -> Strip:
        line.end = ""
        base = self.rich_style + Style.parse(style)
        segments: list[Segment] = list(Segment.apply_style(line.render(self.app.console), self.rich_style))
        return Strip(segments).adjust_cell_length(width, base)

    # Moving -------------------------------------------------------------------------------------------------------

    def _go(self, index: int) -> None:
        if not self.rows:
            return
        index = min(max(index, 0), len(self.rows) - 1)
        old, self._index = self._index, index
        self.cursor_key = self.rows[index].key
        top = self._top
        self._keep_visible()
        if top != self._top:
            self.refresh()
        else:
            self._refresh_row(old)
            self._refresh_row(index)
        if index != old:
            self.post_message(self.Highlighted(self, self.current))
        if index == len(self.rows) - 1:
            self.post_message(self.EndReached())

    def action_move(self, lines: int) -> None:
        self._go(self._index + lines)

    def action_page(self, pages: int) -> None:
        self._go(self._index + pages * self._page)

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self.rows) - 1)

    def action_enter(self) -> None:
        if self.current is not None:
            self.post_message(self.Selected(self, self.current))

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()


def _needed(widths: Iterable[int]) -> int:
    """The room that columns so wide take, with the gaps between them."""
    known = list(widths)
    return sum(known) + GAP * max(0, len(known) - 1)
