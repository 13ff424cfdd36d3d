"""The console's application: paints first, opens the engine in a thread, and tells the screens what changed."""

from __future__ import annotations

import getpass
import os
import socket
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from textual import events
from textual.app import App
from textual.binding import BindingType
from textual.screen import Screen
from textual.theme import Theme
from textual.widget import Widget

from quarterdeck_console import commands
from quarterdeck_console.formatting import moment
from quarterdeck_console.messages import (
    EngineFailed,
    EngineOpened,
    Liveness,
    LivenessChanged,
    ReadFinished,
    Reported,
    StateChanged,
    TrafficChanged,
)
from quarterdeck_console.reading import Reader
from quarterdeck_console.screens.console import ConsoleScreen
from quarterdeck_console.screens.frame import Frame
from quarterdeck_console.screens.pane import RollbackTarget
from quarterdeck_console.themes import QUARTERDECK
from quarterdeck_console.widgets.header import Status

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace
    from quarterdeck_console.watcher import Watcher

OpenWorkspace = Callable[[Path, Callable[[str], None]], "Workspace"]
BannerSource = Callable[[], str | None]


def open_engine(root: Path, warn: Callable[[str], None]) -> Workspace:
    """Import the engine (about a second) and open the workspace. Runs in a thread."""
    from quarterdeck.bootstrap import open_workspace

    return open_workspace(root, warn=warn)


class QuarterdeckApp(App[int], inherit_bindings=False):
    """One workspace, seen from the keyboard."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []
    CSS = "Screen { overflow: hidden; }"

    def __init__(
        self,
        root: Path,
        *,
        open_at: str | None = None,
        banner_source: BannerSource | None = None,
        open_workspace: OpenWorkspace = open_engine,
    ) -> None:
        super().__init__()
        self.animation_level = "none"
        self.register_theme(QUARTERDECK)
        self.theme = QUARTERDECK.name
        self.root = root
        self.workspace: Workspace | None = None
        self.liveness: Liveness | None = None
        self._open_at = open_at
        self._banner: str | None = None
        self._banner_source = banner_source
        self._open_workspace = open_workspace
        self._watcher: Watcher | None = None
        self._status = first_status(root)
        self._status_reader = Reader(self)
        self._aimed: WeakKeyDictionary[events.Key, Widget | None] = WeakKeyDictionary()

    def get_theme(self, theme_name: str) -> Theme | None:
        # Textual asks for it once a line and copies its table of themes each time; there is one.
        return QUARTERDECK

    def get_default_screen(self) -> Screen[Any]:
        return ConsoleScreen()

    def on_mount(self) -> None:
        # The engine is imported once the first screen has been painted, not before.
        self.call_after_refresh(lambda: self.set_timer(0.01, self._start_engine))

    def on_unmount(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()

    async def on_event(self, event: events.Event) -> None:
        """Keys that were typed ahead go to the widget that an earlier one of them gave the keyboard to.

        Textual aims a key when it arrives, which for a burst is before any of it was obeyed.
        """
        if isinstance(event, events.Key):
            if not event.is_forwarded:
                self._aimed[event] = self.focused
            elif (now := self.focused) is not None and self._aimed.get(event, now) is not now:
                again = events.Key(event.key, event.character)
                self._aimed[again] = now
                now._forward_event(again)
                return
        await super().on_event(event)

    # The engine ---------------------------------------------------------------------------------------------------

    def _start_engine(self) -> None:
        if (frame := self._frame) is not None:
            frame.mount_tools()

        def load() -> None:
            from quarterdeck.errors import QuarterdeckError

            warnings: list[str] = []
            try:
                workspace = self._open_workspace(self.root, warnings.append)
                self.post_message(EngineOpened(workspace))
                for warning in warnings:
                    self.post_message(Reported(warning, bad=True))
            except QuarterdeckError as error:
                self.post_message(EngineFailed(str(error)))

        self.run_worker(load, thread=True, name="engine", exit_on_error=True)

    def on_engine_opened(self, message: EngineOpened) -> None:
        from quarterdeck_console.watcher import Watcher

        self.workspace = message.workspace
        settings = message.workspace.settings.workspace
        self._set_status(
            replace(
                self._status,
                environment=settings.environment,
                read_only=settings.read_only,
                workspace=settings.name,
                person=message.workspace.actor,
            )
        )
        self._watcher = Watcher(message.workspace, self.post_message)
        self._watcher.start()
        self._everything_changed()
        frame = self._frame
        if self._open_at is not None and isinstance(frame, ConsoleScreen):
            frame.obey(commands.place_of(self._open_at))

    def on_engine_failed(self, message: EngineFailed) -> None:
        self._set_status(replace(self._status, trouble="not open"))
        self.say(message.error, bad=True)

    @property
    def _frame(self) -> Frame | None:
        """The screen in front; none while the app closes, when news may still arrive."""
        stack = self.screen_stack if self.is_running else []
        return stack[-1] if stack and isinstance(stack[-1], Frame) else None

    # News ---------------------------------------------------------------------------------------------------------

    def on_state_changed(self, message: StateChanged) -> None:
        self._everything_changed()

    def on_traffic_changed(self, message: TrafficChanged) -> None:
        self._refresh_banner()
        if (frame := self._frame) is not None:
            frame.traffic_changed()

    def on_liveness_changed(self, message: LivenessChanged) -> None:
        self.liveness = message.liveness
        self._set_status(replace(self._status, runner=message.liveness.runner, workers=message.liveness.workers))
        if (frame := self._frame) is not None:
            frame.state_changed()

    def on_reported(self, message: Reported) -> None:
        self.say(message.words, bad=message.bad)

    def on_read_finished(self, message: ReadFinished) -> None:
        if self.is_running:
            message.finish()

    def _everything_changed(self) -> None:
        self._refresh_banner()
        self.read_status()
        if (frame := self._frame) is not None:
            frame.state_changed()

    def read_status(self) -> None:
        """Ask for the counts of the first line."""
        from quarterdeck_console.summary import read_summary, with_summary

        self._status_reader.ask(
            "status", read_summary, lambda summary: self._set_status(with_summary(self._status, summary))
        )

    def _refresh_banner(self) -> None:
        if self._banner_source is not None:
            self._banner = self._banner_source()
            self._set_status(self._status)

    def _set_status(self, status: Status) -> None:
        self._status = status
        if (frame := self._frame) is not None:
            self.show_status_on(frame)

    def show_status_on(self, screen: Frame) -> None:
        screen.show_status(self._status, self._banner)

    def say(self, words: str, *, bad: bool = False) -> None:
        if (frame := self._frame) is not None:
            frame.say(words, bad=bad)

    # Threads ------------------------------------------------------------------------------------------------------

    def in_thread(self, work: Callable[[Workspace], Any], finish: Callable[[Any, Exception | None], None]) -> None:
        """Run `work` in a thread; `finish` gets its value or its error, in the screen's thread."""
        workspace = self.workspace
        assert workspace is not None

        def run() -> None:
            value: Any = None
            problem: Exception | None = None
            try:
                value = work(workspace)
            except Exception as error:
                problem = error
            self.post_message(ReadFinished(lambda: finish(value, problem)))

        self.run_worker(run, thread=True, group="threads", exit_on_error=False)

    def ask_once(
        self,
        work: Callable[[Workspace], Any],
        deliver: Callable[[Any], None],
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Run a verb or one read in a thread. What went wrong is said on the screen, unless `failed` takes it."""
        if self.workspace is None:
            self.say("The workspace is being opened: one moment.")
            return

        def finish(value: Any, error: Exception | None) -> None:
            if error is None:
                deliver(value)
            elif failed is not None:
                failed(error)
            else:
                self.say(words_of(error), bad=True)

        self.in_thread(work, finish)

    def readable(self) -> None:
        """A read succeeded: what is shown is true."""
        if self._status.trouble:
            self._set_status(replace(self._status, trouble=""))

    def unreadable(self, error: Exception) -> None:
        """A read failed: say since when the screen may be out of date."""
        if not self._status.trouble:
            self._set_status(replace(self._status, trouble=f"stale since {moment(datetime.now(UTC))}"))
        self.say(words_of(error), bad=True)

    # The rollback -------------------------------------------------------------------------------------------------

    def open_rollback(self, target: RollbackTarget, *, undo: bool) -> None:
        """Open the plan for `target` on a screen of its own."""
        from quarterdeck_console.screens.rollback import RollbackScreen

        self.push_screen(RollbackScreen(target, undo=undo))


def words_of(error: Exception) -> str:
    """An error in one line. Quarterdeck's own say what to do next; others are named, never traced."""
    from quarterdeck.errors import QuarterdeckError

    if isinstance(error, QuarterdeckError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def first_status(root: Path) -> Status:
    """What the first line can say before the engine is there: read by the standard library alone."""
    section: dict[str, Any] = {}
    try:
        with (root / "quarterdeck.toml").open("rb") as file:
            section = tomllib.load(file).get("workspace", {})
    except (OSError, tomllib.TOMLDecodeError):
        # The engine says what is wrong with it, in a moment.
        pass
    return Status(
        environment=str(section.get("environment", "development")),
        read_only=section.get("read_only") is True,
        workspace=str(section.get("name", "quarterdeck")),
        person=os.environ.get("SUDO_USER") or getpass.getuser(),
        host=socket.gethostname().partition(".")[0],
    )


def run_console(
    root: Path,
    *,
    open_at: str | None = None,
    banner_source: BannerSource | None = None,
) -> int:
    """Open the console on the workspace in `root` until the person quits; the exit status.

    `open_at` names the row to stand on (`alert/3`, `deployment/fraud`). `banner_source` is asked for a
    line below the first whenever something changed; None hides it.
    """
    app = QuarterdeckApp(root, open_at=open_at, banner_source=banner_source)
    return app.run(mouse=False) or 0
