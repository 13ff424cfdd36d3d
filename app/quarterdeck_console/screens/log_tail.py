"""The end of a log as text, read on as it grows."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from quarterdeck_console.formatting import clean, moment
from quarterdeck_console.themes import BAD, MUTED, WARN

if TYPE_CHECKING:
    from quarterdeck.logs import Line
    from quarterdeck.workspace import Workspace

TAIL_BYTES = 128 * 1024
TAIL_LINES = 1500
STYLES = {"ERR": WARN, "WARNING": WARN, "ERROR": BAD, "CRITICAL": BAD}
"""By level. What is written to stderr need not be an error."""


class LogTail:
    """The last lines of one log, also when it is continued in a fresh file, with secrets masked."""

    def __init__(self, path: Path, workspace: Workspace) -> None:
        from quarterdeck import logs

        self.path = path
        secrets = logs.secrets_of(workspace.settings.logs.mask)
        self._follower = logs.Follower(path, secrets=secrets, window=TAIL_BYTES)
        self._lines: deque[Line] = deque(maxlen=TAIL_LINES)
        self._shown: list[Line] | None = None

    def read(self) -> Text | None:
        """The text when it has changed since the last call.

        Raises:
            OSError: the file cannot be read.
        """
        self._lines.extend(self._follower.read())
        lines = [*self._lines, *self._follower.rest()]
        if lines == self._shown:
            return None
        self._shown = lines
        if not lines:
            return Text("Nothing was written yet, or housekeeping has removed the log.", MUTED)
        return Text("\n").join(map(_text, lines))

    def close(self) -> None:
        self._follower.close()


def _text(line: Line) -> Text:
    """Clock time and level before the words, in the level's colour; what a subprocess wrote as it is."""
    words = clean(line.text.expandtabs(4))
    if line.time is None:
        return Text(words)
    style = STYLES.get(line.level or "", "")
    level = "" if line.level == "OUT" else line.level
    return Text.assemble((f"{moment(line.time)} ", MUTED), (f"{level:<8} ", style or MUTED), (words, style))
