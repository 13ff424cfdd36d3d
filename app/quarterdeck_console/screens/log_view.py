"""A log on the whole body, followed as it grows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical

from quarterdeck_console.keymap import Key, by_id
from quarterdeck_console.messages import Reported
from quarterdeck_console.reading import Reader
from quarterdeck_console.screens.log_tail import LogTail
from quarterdeck_console.screens.pane import LogPage
from quarterdeck_console.screens.view import View
from quarterdeck_console.themes import MUTED
from quarterdeck_console.widgets.text_view import TextView

if TYPE_CHECKING:
    from quarterdeck_console.app import QuarterdeckApp

LOG_SECONDS = 0.5


class LogView(View):
    """The end of a log. It is looked at twice a second; nothing is drawn while it does not grow."""

    DEFAULT_CSS = "LogView Vertical { height: 1fr; }"

    def __init__(self, page: LogPage) -> None:
        super().__init__()
        self._page = page
        self._path = page.path
        self._tail: LogTail | None = None
        self._finder = Reader(self)
        self._text = TextView(id="text", follow=True)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield self._text

    @property
    def crumb(self) -> str:
        return self._page.name

    @property
    def keys(self) -> Sequence[Key]:
        return by_id("text.down", "text.first", "text.last", "go.back", "go.help")

    def take_focus(self) -> None:
        self.screen.set_focus(self._text)

    def on_mount(self) -> None:
        self.set_interval(LOG_SECONDS, self._look)
        self.stand()

    def on_unmount(self) -> None:
        if self._tail is not None:
            self._tail.close()

    def reload(self) -> None:
        if self._page.find is not None:
            self._finder.ask("path", self._page.find, self._found)
        self._look()

    def _found(self, path: Path | None) -> None:
        self._path = path or self._path
        self._look()

    def _look(self) -> None:
        workspace = cast("QuarterdeckApp", self.app).workspace
        if self._path is None or workspace is None:
            self._text.show(Text("No log yet: the job has not started. It appears here when it is written.", MUTED))
            return
        if self._tail is None or self._tail.path != self._path:
            if self._tail is not None:
                self._tail.close()
            self._tail = LogTail(self._path, workspace)
        try:
            text = self._tail.read()
        except OSError as error:
            self.post_message(Reported(f"{self._path} cannot be read: {error.strerror}.", bad=True))
            return
        if text is not None:
            self._text.show(text)
