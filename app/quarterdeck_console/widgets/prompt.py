"""The line at the bottom for `:` commands and `/` filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input

from quarterdeck_console.themes import ACCENT
from quarterdeck_console.widgets.line import Line

Completer = Callable[[str], Sequence[str]]


class Prompt(Horizontal):
    """Asks for one line. Tab completes, Up and Down walk the history, Esc gives up."""

    DEFAULT_CSS = """
    Prompt { height: 1; display: none; }
    Prompt #sign { width: 3; }
    Prompt Input { width: 1fr; height: 1; border: none; padding: 0; background: $surface; }
    Prompt Input:focus { border: none; background-tint: $foreground 0%; }
    Prompt #choices { width: 2fr; }
    """

    class Changed(Message):
        """The filter reads differently now."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    class Submitted(Message):
        """Enter was pressed."""

        def __init__(self, sign: str, value: str) -> None:
            super().__init__()
            self.sign = sign
            self.value = value

    class Left(Message):
        """Esc was pressed."""

        def __init__(self, sign: str) -> None:
            super().__init__()
            self.sign = sign

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.sign = ":"
        self._complete: Completer = lambda _: ()
        self._history: list[str] = []
        self._place = 0
        self._choices: Sequence[str] = ()
        self._choice = -1

    def compose(self) -> ComposeResult:
        yield Line(id="sign")
        field = Input(id="field", select_on_focus=False)
        field.cursor_blink = False
        yield field
        yield Line(id="choices")

    def ask(self, sign: str, value: str = "", complete: Completer = lambda _: ()) -> None:
        """Show the line and take the focus, at once: the next key may be here already."""
        self.sign, self._complete, self._place, self._choice = sign, complete, len(self._history), -1
        self.query_one("#sign", Line).show(Text(f" {sign}", ACCENT))
        self.display = True
        field = self.query_one(Input)
        field.value = value
        field.cursor_position = len(value)
        self.screen.set_focus(field)
        self._offer(value)

    def close(self) -> None:
        self.display = False

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._choice < 0 or event.value != self._choices[self._choice]:
            self._offer(event.value)
        if self.sign == "/" and self.display:
            self.post_message(self.Changed(event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if self.sign == ":" and event.value.strip():
            self._history.append(event.value)
        self.post_message(self.Submitted(self.sign, event.value))

    async def on_key(self, event: events.Key) -> None:
        moves = {"tab": 1, "shift+tab": -1}
        if event.key == "escape":
            self.post_message(self.Left(self.sign))
        elif event.key in moves:
            self._next_choice(moves[event.key])
        elif event.key in ("up", "down") and self.sign == ":":
            self._recall(-1 if event.key == "up" else 1)
        else:
            return
        event.stop()
        event.prevent_default()

    def _offer(self, value: str) -> None:
        self._choices, self._choice = list(self._complete(value)), -1
        self._show_choices()

    def _show_choices(self) -> None:
        line = Text()
        for index, choice in enumerate(self._choices[:8]):
            line.append(choice, f"bold {ACCENT}" if index == self._choice else "dim").append("  ")
        self.query_one("#choices", Line).show(line)

    def _next_choice(self, step: int) -> None:
        if not self._choices:
            return
        self._choice = (self._choice + step) % len(self._choices) if self._choice >= 0 else 0
        self._put(self._choices[self._choice])
        self._show_choices()

    def _recall(self, step: int) -> None:
        self._place = min(max(self._place + step, 0), len(self._history))
        self._put(self._history[self._place] if self._place < len(self._history) else "")

    def _put(self, value: str) -> None:
        field = self.query_one(Input)
        field.value = value
        field.cursor_position = len(value)
