"""`b`: Evidently's full report of an alert, in a browser where there is one, else as a file."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck_console.reading import Reader

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace
    from quarterdeck_console.screens.console import ConsoleScreen
    from quarterdeck_console.screens.pane import Pane
    from quarterdeck_console.widgets.table import Row

FOLDER = "reports"
NO_RUNNER = (
    "The report is asked for, and needs a runner: `quarterdeck up` starts one; `quarterdeck report {}` makes it now."
)


class Reports:
    """One report at a time: shown if it is there, else asked for and shown once a job has made it."""

    def __init__(self, screen: ConsoleScreen) -> None:
        self._screen = screen
        self._reader = Reader(screen)
        self._waits_for: int | None = None

    def ask(self, pane: Pane | None, row: Row | None) -> None:
        alert_id = pane.alert(row.source) if pane is not None and row is not None else None
        if alert_id is None:
            self._screen.say("b shows the report of an alert: press 4 and choose one.", bad=True)
            return
        self._screen.console_app.ask_once(lambda workspace: written(workspace, alert_id), self._answered(alert_id))

    def _answered(self, alert_id: int) -> Callable[[Path | None], None]:
        def show(path: Path | None) -> None:
            if path is not None:
                self._show(path)
            else:
                self._screen.console_app.ask_once(lambda workspace: request(workspace, alert_id), asked)

        def asked(runner: bool) -> None:
            self._waits_for = alert_id
            if runner:
                self._screen.say("The report is being made, which takes some seconds: it opens by itself.")
            else:
                self._screen.say(NO_RUNNER.format(alert_id), bad=True)

        return show

    def state_changed(self) -> None:
        """Look whether the report is there that was asked for."""
        alert_id = self._waits_for
        if alert_id is not None:
            self._reader.ask(alert_id, lambda workspace: written(workspace, alert_id), self._arrived)

    def _arrived(self, path: Path | None) -> None:
        if path is not None and self._waits_for is not None:
            self._waits_for = None
            self._show(path)

    def _show(self, path: Path) -> None:
        if open_in_browser(path):
            self._screen.say(f"The report opens in the browser: {_short(path)}")
        else:
            self._screen.say(f"No browser here; the report is {_short(path)}")


def written(workspace: Workspace, alert_id: int) -> Path | None:
    """The alert's report as a file that a browser can open; None if none was made yet. Runs in a thread.

    Raises:
        UsageError: the file cannot be written.
    """
    from quarterdeck.errors import UsageError
    from quarterdeck.monitoring.queries import alert

    digest = alert(workspace, alert_id).report
    if digest is None:
        return None
    path = workspace.folder / FOLDER / f"alert-{alert_id}.html"
    page = workspace.artifacts.read(digest)
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(page)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}. `quarterdeck report {alert_id} --output FILE` writes another."
        ) from None
    return path


def request(workspace: Workspace, alert_id: int) -> bool:
    """Ask for a report; whether a runner is there to make it. Runs in a thread."""
    from quarterdeck.monitoring.reporting import request_report
    from quarterdeck.runner.queries import runner_state

    request_report(workspace, alert_id)
    return runner_state(workspace).alive


def _short(path: Path) -> Path:
    """From the current folder where it lies below it: there is one line for it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def open_in_browser(path: Path) -> bool:
    """Start the person's browser on a file; false where there is none. A browser in this terminal is none."""
    named = os.environ.get("BROWSER", "").split(os.pathsep)[0]
    desktop = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    command = shlex.split(named) if named else ["xdg-open"] if desktop and shutil.which("xdg-open") else []
    if not command:
        return False
    try:
        browser = subprocess.Popen(
            [*command, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    # Most hand the page to another process and end at once: somebody has to take note of that.
    threading.Thread(target=browser.wait, name="browser", daemon=True).start()
    return True
