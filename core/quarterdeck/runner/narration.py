"""What the runner and the supervisor tell on stderr."""

from __future__ import annotations

import contextlib
import sys


def say(who: str, message: str) -> None:
    """One line, at once: it must be in the log even if the process is killed in the next moment."""
    # On a full disk, or without the terminal, it goes unsaid: that is no reason to end what runs.
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{who}: {message}\n")
        sys.stderr.flush()
