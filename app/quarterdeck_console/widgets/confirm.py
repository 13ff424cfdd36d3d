"""The confirm strip: asks before a write. Cancel has the focus, key repeat cannot say yes, nothing is dimmed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from quarterdeck_console.formatting import clean
from quarterdeck_console.themes import BAD, GOOD, MUTED, STRONG, WARN
from quarterdeck_console.widgets.line import Line

DEAF_SECONDS = 0.3
CHOSEN = "bold #0e131a on #c8d1dc"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what an answer does."""

    words: str
    verb: str
    """On the button: `Roll back`."""
    answered: Callable[[str, str], None]
    """Gets the answering key and the reason."""
    answers: tuple[tuple[str, str], ...] = (("y", "yes"),)
    """The keys that answer, and what each means. Empty for a protected deployment: name, reason, button."""
    name: str = ""
    """To be typed when protected."""
    reason: str = ""


class ConfirmStrip(Vertical, can_focus=True):
    """Asks one Question at the bottom of the screen."""

    DEFAULT_CSS = """
    ConfirmStrip { height: auto; display: none; background: #2a2015; }
    ConfirmStrip Horizontal { height: 1; }
    ConfirmStrip .label { width: 26; }
    ConfirmStrip Input { width: 1fr; height: 1; border: none; padding: 0; background: #3a2d1c; }
    ConfirmStrip Input:focus { border: none; background-tint: $foreground 0%; }
    """

    class Closed(Message):
        """The question was answered or left."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, id: str | None = None) -> None:
        super().__init__(id=id)
        self.question: Question | None = None
        self._clock = clock
        self._deaf_until = 0.0
        self._stage = "choose"
        self._return_to: Widget | None = None

    def compose(self) -> ComposeResult:
        yield Line(id="ask")
        for name in ("name", "reason"):
            with Horizontal(id=f"{name}-row"):
                label = Line(id=f"{name}-label")
                label.add_class("label")
                yield label
                field = Input(id=f"{name}-field", select_on_focus=False)
                field.cursor_blink = False
                yield field
        yield Line(id="buttons")

    def ask(self, question: Question) -> None:
        """Show the question and take the focus, deaf for the first 300 ms."""
        self.question = question
        self._deaf_until = self._clock() + DEAF_SECONDS
        self._return_to = self.screen.focused
        self.query_one("#ask", Line).show(Text(f" {clean(question.words)}", STRONG))
        for name, value in (("name", ""), ("reason", question.reason)):
            self.query_one(f"#{name}-row").display = bool(question.name)
            field = self.query_one(f"#{name}-field", Input)
            field.value = value
            field.cursor_position = len(value)
        self.query_one("#name-label", Line).show(Text(" Type the name to confirm:", MUTED))
        self.query_one("#reason-label", Line).show(Text(" Reason:", MUTED))
        self.display = True
        self._go("choose")
        if question.name:
            self._stage = "opening"
            self.set_timer(DEAF_SECONDS, self._open_fields)

    def _open_fields(self) -> None:
        if self.question is not None and self._stage == "opening":
            self._go("name")

    def _go(self, stage: str) -> None:
        self._stage = stage
        fields = stage in ("name", "reason")
        self.screen.set_focus(self.query_one(f"#{stage}-field", Input) if fields else self)
        self._draw_buttons()

    def _draw_buttons(self) -> None:
        question = self.question
        if question is None:
            return
        line = Text(" ")
        if not question.name:
            line.append(" Cancel ", CHOSEN).append("   ")
            for key, meaning in question.answers:
                words = question.verb if meaning == "yes" else meaning
                line.append(f" {key} ", f"bold {WARN}").append(f"{words}   ")
            line.append("Enter and Esc cancel", MUTED)
        elif self._stage == "button":
            matches = self._typed("name") == question.name
            line.append(f" {question.verb} ", CHOSEN if matches else f"{MUTED} reverse").append("   ")
            line.append("Enter does it", GOOD) if matches else line.append("the name does not match", BAD)
            line.append("   Esc cancels", MUTED)
        else:
            line.append(f" {question.verb} ", MUTED).append("   Enter goes on   Esc cancels", MUTED)
        self.query_one("#buttons", Line).show(line)

    def _typed(self, name: str) -> str:
        return self.query_one(f"#{name}-field", Input).value.strip()

    @property
    def listens(self) -> bool:
        """Whether a key would be taken now."""
        return self.question is not None and self._stage != "opening" and self._clock() >= self._deaf_until

    def on_key(self, event: events.Key) -> None:
        """Every key but those that the two fields take for themselves."""
        question = self.question
        if question is None:
            return
        typing = self._stage in ("name", "reason")
        if typing and event.key not in ("enter", "escape", "tab"):
            return
        event.stop()
        event.prevent_default()
        if not self.listens:
            # A key that is held down keeps the strip deaf until it is let go.
            self._deaf_until = self._clock() + DEAF_SECONDS
        elif event.key == "escape" or (event.key == "enter" and self._stage == "choose"):
            self.close()
        elif typing:
            self._go({"name": "reason", "reason": "button"}[self._stage])
        elif self._stage == "button" and event.key == "enter":
            self._press_button(question)
        elif self._stage == "choose" and event.character in dict(question.answers):
            self._answer(event.character or "")

    def _press_button(self, question: Question) -> None:
        if self._typed("name") != question.name:
            self._go("name")
        elif not self._typed("reason"):
            self._go("reason")
        else:
            self._answer("enter")

    def _answer(self, key: str) -> None:
        question, reason = self.question, self._typed("reason")
        assert question is not None
        self.close()
        question.answered(key, reason or question.reason)

    def close(self) -> None:
        """Leave without an answer."""
        self.question = None
        self.display = False
        if self._return_to is not None and self._return_to.is_attached:
            self.screen.set_focus(self._return_to)
        self.post_message(self.Closed())
