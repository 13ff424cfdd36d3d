"""Where a workspace is. The console asks this before its first paint, so it imports the standard library alone."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from quarterdeck.errors import NotFoundError

SETTINGS_FILE = "quarterdeck.toml"
SETTINGS_IN_FORCE = "quarterdeck.toml.in-force"
"""In the state folder: a copy of the settings by which the runner or the gateway worked last."""


def find_workspace(start: Path) -> Path:
    """The folder of the workspace that holds `start`: the nearest one upward with a quarterdeck.toml.

    Raises:
        NotFoundError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder
    raise NotFoundError(
        f"No {SETTINGS_FILE} in {start} or any folder above it. Make a workspace with `quarterdeck init`, "
        "or see one with `quarterdeck demo`."
    )


def keep_in_force(file: Path, state_folder: Path) -> None:
    """Keep a copy of the settings file, which fits, for whoever finds one later that does not.

    On a full disk the copy before it goes on to be the last one.
    """
    copy = state_folder / SETTINGS_IN_FORCE
    temporary = copy.with_name(f"{copy.name}.{os.getpid()}")
    with suppress(OSError):
        content = file.read_bytes()
        if not copy.exists() or copy.read_bytes() != content:
            temporary.write_bytes(content)
            os.replace(temporary, copy)
