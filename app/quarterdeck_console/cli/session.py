"""The workspace that a verb works on, and waiting for what the engine does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from quarterdeck_console.cli.output import say

if TYPE_CHECKING:
    from quarterdeck.workspace import Workspace

T = TypeVar("T")
LOOK_SECONDS = 0.05

_chosen: list[Path] = []


def choose(folder: Path | None) -> None:
    """Remember the folder that `--workspace` named, for this process."""
    _chosen[:] = [folder] if folder is not None else []


def root() -> Path:
    """The folder of the workspace: `--workspace`, or the nearest one upward from here.

    Raises:
        NotFoundError: there is none.
    """
    from quarterdeck.location import find_workspace

    return find_workspace(_chosen[0] if _chosen else Path.cwd())


@contextmanager
def opened() -> Iterator[Workspace]:
    """The workspace, opened for one verb."""
    from quarterdeck.bootstrap import open_workspace

    workspace = open_workspace(root(), warn=say)
    try:
        yield workspace
    finally:
        workspace.close()


def wait_until(workspace: Workspace, look: Callable[[], T | None], *, seconds: float) -> T | None:
    """Look after each change of state.db until `look` returns something; None when the time is over."""
    from quarterdeck.database import ChangeWatch

    watch = ChangeWatch(workspace.state.path)
    deadline = time.monotonic() + seconds
    try:
        while time.monotonic() < deadline:
            if watch.changed():
                found = look()
                if found is not None:
                    return found
            time.sleep(LOOK_SECONDS)
        return look()
    finally:
        watch.close()


def runner_is_alive(workspace: Workspace) -> bool:
    """Whether a runner works on this workspace; if not, say how to start one."""
    from quarterdeck.runner.queries import runner_state

    if runner_state(workspace).alive:
        return True
    say("No runner is alive: it waits in the queue. Start one with `quarterdeck up`.")
    return False
