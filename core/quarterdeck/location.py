"""Where a workspace is. The console asks this before its first paint, so it imports the standard library alone."""

from __future__ import annotations

from pathlib import Path

from quarterdeck.errors import NotFoundError

SETTINGS_FILE = "quarterdeck.toml"


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
