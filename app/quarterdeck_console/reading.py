"""Reads in threads. Textual cannot stop a thread: an answer to a question nobody asks any more is dropped."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from textual.dom import DOMNode

    from quarterdeck.workspace import Workspace
    from quarterdeck_console.app import QuarterdeckApp


class Reader:
    """One place that shows answers: at most one read runs for it, and the newest question wins."""

    def __init__(self, owner: DOMNode) -> None:
        self._owner = owner
        self._question: Hashable = None
        self._epoch = 0
        self._busy = False
        self._next: tuple[int, Callable[[Workspace], Any], Callable[[Any], None]] | None = None

    def ask(self, question: Hashable, work: Callable[[Workspace], Any], deliver: Callable[[Any], None]) -> None:
        """Run `work` in a thread and hand its value to `deliver`.

        Asking the same `question` again is a refresh: the answer that is under way is shown too, or a database that
        changes faster than it can be read would show nothing.
        """
        if question != self._question:
            self._question = question
            self._epoch += 1
        self._next = (self._epoch, work, deliver)
        if not self._busy:
            self._start()

    def forget(self) -> None:
        """Drop what is under way."""
        self._question, self._next = None, None
        self._epoch += 1

    def _start(self) -> None:
        app = cast("QuarterdeckApp", self._owner.app)
        if self._next is None or app.workspace is None:
            return
        (epoch, work, deliver), self._next = self._next, None
        self._busy = True
        app.in_thread(work, lambda value, error: self._finish(app, epoch, deliver, value, error))

    def _finish(
        self, app: QuarterdeckApp, epoch: int, deliver: Callable[[Any], None], value: Any, error: Exception | None
    ) -> None:
        self._busy = False
        if epoch == self._epoch and self._owner.is_attached:
            if error is None:
                app.readable()
                deliver(value)
            else:
                app.unreadable(error)
        self._start()
