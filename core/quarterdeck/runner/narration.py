"""What the runner and the supervisor tell on stderr."""

from __future__ import annotations

import contextlib

from quarterdeck import logs


def say(who: str, message: str, *, level: str = "INFO") -> None:
    """One line, at once: it must be in the log even if the process is killed in the next moment.

    In a file it has its time and `level`; on a terminal it has not.
    """
    # On a full disk, or without the terminal, it goes unsaid: that is no reason to end what runs.
    with contextlib.suppress(OSError):
        logs.tell(level, f"{who}: {message}")
