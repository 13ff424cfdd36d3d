"""A version that was never loaded here is loaded first in a process that is thrown away, and breaks only that.

Once for each artifact and machine: a version that was loaded before is loaded at once, as a rollback wants it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from quarterdeck.errors import QuarterdeckError
from quarterdeck.registry.isolation import IsolatedProcess
from quarterdeck.registry.trial import find_trial, write_trial
from quarterdeck.registry.version import ModelVersion
from quarterdeck.workspace import Workspace

log = logging.getLogger("quarterdeck.gateway")


class TrialFailedError(QuarterdeckError):
    """The version did not survive being loaded, in a process that is thrown away; what serves was not touched."""


def try_once(workspace: Workspace, model: str, version: ModelVersion) -> None:
    """Load and warm a version in a process of its own, unless that was done on this machine before.

    Raises:
        TrialFailedError: it could not be loaded; the message says what became of it.
        ArtifactError: its artifact is missing or damaged.
    """
    if _known(workspace, version):
        return
    if version.artifact is not None and not workspace.artifacts.verify(version.artifact):
        workspace.artifacts.read(version.artifact)  # It says what is wrong; no process is needed for that.
    with _one_at_a_time(workspace):
        if _known(workspace, version):  # Another worker was first.
            return
        keep_trial(workspace, version, _try(workspace, model, version))


def keep_trial(workspace: Workspace, version: ModelVersion, memory_bytes: int) -> None:
    """Write down that a version was loaded here, and what it took. Where that cannot be written, it is tried again."""
    try:
        with workspace.state.write("trial") as tx:
            write_trial(tx, version, memory_bytes, workspace.now())
    except (QuarterdeckError, SQLAlchemyError) as error:
        log.warning("that version %s was tried could not be written: %s", version.number, error)


def _known(workspace: Workspace, version: ModelVersion) -> bool:
    with workspace.state.read() as tx:
        return find_trial(tx, version) is not None


@contextmanager
def _one_at_a_time(workspace: Workspace) -> Iterator[None]:
    # Several workers want the same version at the same moment, and one look at it is enough for all.
    handle = os.open(workspace.folder / "trial.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _try(workspace: Workspace, model: str, version: ModelVersion) -> int:
    """Bytes of memory that the version takes."""
    settings, name = workspace.settings.model(model), f"{model}@{version.number}"
    seconds = settings.load_timeout.total_seconds()
    # -P: modules that lie in the current folder must not stand in for installed ones.
    program = [sys.executable, "-P", "-m", "quarterdeck", "trial", "--workspace", str(workspace.root)]
    command = [*program, "--model", model, "--number", str(version.number), "--link"]
    process = IsolatedProcess(command, f"trial of {name}", memory=settings.memory)
    why = "it was ended"
    try:
        found: dict[str, Any] = process.receive(seconds)
        if "memory" in found:
            return int(found["memory"])
        raise TrialFailedError(str(found["error"]))
    except TimeoutError:
        why = f"it did not load and answer its example within {seconds:g} s"
    except (EOFError, OSError, ValueError):
        pass
    finally:
        why = process.end(why)
        process.close()
    raise TrialFailedError(f"its trial in a process of its own failed: {why}")
