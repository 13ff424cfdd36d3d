"""Text that can be scrolled: details, help, raw rows and logs."""

from __future__ import annotations

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from quarterdeck_console.keymap import TEXT, bindings

# A field's name takes 14 columns and a blank: see formatting.Page.
VALUE_COLUMN = 15


class TextView(Widget, can_focus=True):
    """Wraps `text` to its width. `follow` keeps the end in sight while the text grows."""

    BINDINGS = bindings(TEXT)

    def __init__(self, *, id: str | None = None, follow: bool = False, focusable: bool = True) -> None:
        super().__init__(id=id)
        self.can_focus = focusable
        self.follow = follow
        self.text = Text()
        self._lines: list[Text] = []
        self._top = 0

    def show(self, text: Text, *, keep_place: bool = True) -> None:
        """Put `text` in place of the one shown; nothing is drawn when it is the same."""
        if text == self.text and text.spans == self.text.spans:
            return
        self.text = text
        at_end = self._top >= self._last
        self._wrap()
        if self.follow and at_end:
            self._top = self._last
        elif not keep_place:
            self._top = 0
        self._top = min(self._top, self._last)
        self.refresh()

    def _wrap(self) -> None:
        width = max(10, self.size.width - 2)
        self._lines = []
        for line in self.text.split("\n", allow_blank=True):
            line.no_wrap = False
            self._lines += self._fold(line, width)

    def _fold(self, line: Text, width: int) -> list[Text]:
        if line.cell_len <= width:
            return [line]
        folded = list(line.wrap(self.app.console, width))
        rest = line[len(folded[0].plain) :]
        indent = _value_column(line.plain) if width > 2 * VALUE_COLUMN else 2
        rest = Text(rest.plain.lstrip(), style=rest.style) if not rest.spans else _stripped(rest)
        return [
            folded[0],
            *(Text(" " * indent).append_text(part) for part in rest.wrap(self.app.console, width - indent)),
        ]

    @property
    def line_count(self) -> int:
        """Lines that the text takes at this width."""
        return len(self._lines)

    @property
    def _last(self) -> int:
        return max(0, len(self._lines) - self.size.height)

    def on_resize(self, event: events.Resize) -> None:
        at_end = self._top >= self._last
        self._wrap()
        self._top = self._last if self.follow and at_end else min(self._top, self._last)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        index = y + self._top
        line = Text(" ", end="")
        if index < len(self._lines):
            line.append_text(self._lines[index])
        line.end = ""
        segments: list[Segment] = list(Segment.apply_style(line.render(self.app.console), self.rich_style))
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _go(self, top: int) -> None:
        top = min(max(0, top), self._last)
        if top != self._top:
            self._top = top
            self.refresh()

    def action_move(self, lines: int) -> None:
        self._go(self._top + lines)

    def action_page(self, pages: int) -> None:
        self._go(self._top + pages * max(1, self.size.height - 1))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(self._last)


def _value_column(line: str) -> int:
    """Where continuation lines begin: under the value of a field, also of one without a name, and not under its name.

    Other lines are continued two columns in.
    """
    return VALUE_COLUMN if line[VALUE_COLUMN - 3 : VALUE_COLUMN].isspace() and line.strip() else 2


def _stripped(line: Text) -> Text:
    blanks = len(line.plain) - len(line.plain.lstrip())
    return line[blanks:]
