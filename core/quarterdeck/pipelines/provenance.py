"""Where a run comes from: the state of the code in git, and the environment it ran in."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from typing import Any

from quarterdeck.workspace import STATE_FOLDER, Workspace

GIT_PATIENCE_SECONDS = 20


def git_state(workspace: Workspace) -> dict[str, Any]:
    """`commit`, `branch` (None when detached), `dirty` and `diff`, the digest of the uncommitted changes if any.

    Empty where there is no git, no repository, or no commit yet. Our own state folder does not count as a change.
    """
    commit = _git(workspace, "rev-parse", "HEAD")
    if commit is None:
        return {}
    # From the top of the repository: code beside the workspace counts too.
    ours = (":/", f":(exclude){STATE_FOLDER}")
    branch = (_git(workspace, "symbolic-ref", "--short", "--quiet", "HEAD") or b"").decode().strip()
    changed = _git(workspace, "status", "--porcelain", "--", *ours) or b""
    diff = _git(workspace, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "--binary", "HEAD", "--", *ours)
    state: dict[str, Any] = {
        "commit": commit.decode().strip(),
        "branch": branch or None,
        "dirty": bool(changed.strip()),
    }
    if diff:
        state["diff"] = workspace.artifacts.put(diff)
    return state


def environment() -> dict[str, str]:
    """Python, platform and host, and the version of every installed package by its name."""
    machine = {"python": platform.python_version(), "platform": platform.platform(), "host": platform.node()}
    return {**machine, **_packages(tuple((folder, _changed(folder)) for folder in sys.path))}


@lru_cache(maxsize=1)
def _packages(path: tuple[tuple[str, int], ...]) -> dict[str, str]:
    """Reading them takes longer than many a step: the fork server does it once, for all jobs of the same `path`."""
    packages: dict[str, str] = {}
    for distribution in metadata.distributions():
        # A half-removed package has a folder and no metadata; the first one on the path is the one imported.
        about = distribution.metadata
        name = about["Name"] if about else None
        if name:
            packages.setdefault(name, about["Version"])
    return dict(sorted(packages.items(), key=lambda item: item[0].lower()))


def _changed(folder: str) -> int:
    """When something was last installed into or removed from a folder of the path."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def _git(workspace: Workspace, *arguments: str) -> bytes | None:
    """What git prints, or None when it cannot answer."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(workspace.root), *arguments],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=GIT_PATIENCE_SECONDS,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
