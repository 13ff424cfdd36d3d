"""`w`: what would the candidate have answered to the traffic that was recorded?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quarterdeck_console.reading import Reader
from quarterdeck_console.screens import rollback_plan, rollback_text
from quarterdeck_console.screens.frame import Frame


class WhatIf:
    """One replay at a time: asks for it, and shows its outcome once a job has made it."""

    def __init__(self, screen: Frame, answered: Callable[[], None]) -> None:
        self._screen = screen
        self._answered = answered
        self._reader = Reader(screen)
        self._waits_for: tuple[int, int, int] | None = None
        """The replay's number, the serving version and the other one."""

    def ask(self, deployment: str, serving: int, other: int) -> None:
        """Ask for a replay of `other`, and say what is needed when nobody is there to make it."""

        def asked(answer: tuple[int, bool]) -> None:
            number, runner = answer
            self._waits_for = (number, serving, other)
            if runner:
                self._screen.console_app.say(f"Replaying recorded traffic through v{other}: the outcome appears here.")
            else:
                self._screen.console_app.say(
                    "The replay is asked for, and needs a runner: `quarterdeck up` starts one.", bad=True
                )
            self.state_changed()

        self._screen.console_app.ask_once(
            lambda workspace: rollback_plan.start_replay(workspace, deployment, other), asked
        )

    def state_changed(self) -> None:
        """Look whether the outcome is there."""
        if self._waits_for is not None:
            number = self._waits_for[0]
            self._reader.ask(number, lambda workspace: rollback_plan.replay_outcome(workspace, number), self._show)

    def _show(self, outcome: dict[str, Any] | None) -> None:
        if outcome is None or self._waits_for is None:
            return
        _, serving, other = self._waits_for
        self._waits_for = None
        self._screen.console_app.say(rollback_text.replay(outcome, other, serving))
        self._answered()
