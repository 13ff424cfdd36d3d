"""One line of text that is drawn only when it changes."""

from __future__ import annotations

from rich.segment import Segment
from rich.text import Text
from textual.strip import Strip
from textual.widget import Widget


class Line(Widget):
    """Shows as much of a text as fits."""

    DEFAULT_CSS = "Line { height: 1; }"

    def __init__(self, words: Text | str = "", *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.words = Text(words) if isinstance(words, str) else words

    def show(self, words: Text | str) -> None:
        words = Text(words) if isinstance(words, str) else words
        if words != self.words or words.spans != self.words.spans:
            self.words = words
            self.refresh()

    def render_line(self, y: int) -> Strip:
        return self.strip_of(self.words if y == 0 else Text())

    def strip_of(self, words: Text) -> Strip:
        """`words` over the whole width."""
        line = words.copy()
        line.truncate(self.size.width, overflow="ellipsis")
        line.end = ""
        segments: list[Segment] = list(Segment.apply_style(line.render(self.app.console), self.rich_style))
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)
