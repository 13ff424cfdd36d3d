"""A real runner on a workspace in a folder of its own, without a gateway."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import is_at_rest, started, wait_for, wait_for_word
from quarterdeck import bootstrap
from quarterdeck.workspace import Workspace

# Byte code that is thrown away would be made anew in each process.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
START_SECONDS = 100.0
SETTLE_SECONDS = 30.0


def make_workspace(root: Path, settings: str, pipelines: str = "") -> Workspace:
    """A workspace with these settings and one module of pipelines."""
    (root / "pipelines").mkdir(parents=True)
    (root / "quarterdeck.toml").write_text(settings, encoding="utf-8")
    (root / "pipelines" / "bench.py").write_text(pipelines, encoding="utf-8")
    return bootstrap.create_workspace(root, actor="bench")


@contextmanager
def running_runner(workspace: Workspace, *, at_rest: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """`python -P -m quarterdeck runner`, ready, for the time of the block."""
    command = [sys.executable, "-P", "-m", "quarterdeck", "runner", "--workspace", str(workspace.root)]
    log = workspace.root / "runner.log"
    with started(command, log, environment=ENVIRONMENT) as process:
        wait_for_word(process, log, "ready", START_SECONDS)
        if at_rest:
            wait_for(lambda: is_at_rest(process.pid), SETTLE_SECONDS, "a runner at rest")
        yield process
