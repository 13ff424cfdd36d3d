"""What every view that a body can hold answers to."""

from __future__ import annotations

from collections.abc import Sequence

from textual.message import Message
from textual.widget import Widget

from quarterdeck_console.keymap import Key, by_id
from quarterdeck_console.screens.pane import Pane
from quarterdeck_console.widgets.table import Row


class View(Widget):
    """Fills the body. It is read again when the watcher says that something changed."""

    DEFAULT_CSS = "View { height: 1fr; width: 1fr; }"
    filter_words = ""
    stands = False
    live_traffic = False

    class Ready(Message):
        """The view stands and can take the keyboard."""

    class Renamed(Message):
        """The crumb reads differently now."""

    @property
    def crumb(self) -> str:
        return ""

    @property
    def keys(self) -> Sequence[Key]:
        return by_id("go.back", "go.command", "go.help")

    @property
    def pane(self) -> Pane | None:
        """The pane whose row stands under the cursor."""
        return None

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return None

    def stand(self) -> None:
        """The parts are there: fill them, and say so."""
        self.stands = True
        self.reload()
        self.post_message(self.Ready())

    def reload(self) -> None:
        """Ask for what is shown again."""

    def catch_up(self) -> None:
        """Something changed, or one has come back: ask again for what is to follow by itself."""
        self.reload()

    def take_focus(self) -> None:
        """Put the keyboard where it belongs."""

    def set_filter(self, words: str) -> None:
        """Show only the rows that match."""
