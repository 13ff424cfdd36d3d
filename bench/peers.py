"""Programs to compare with, each in an environment of its own below bench/.peers: never a dependency."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.rows import REPOSITORY

FOLDER = REPOSITORY / "bench" / ".peers"
INSTALL_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Peer:
    """An installed program, or the reason why it is not."""

    name: str
    program: Path | None
    why_not: str = ""


def install(package: str, version: str) -> Peer:
    """The package's program of the same name, installed by uv unless it is there already."""
    name, environment = f"{package} {version}", FOLDER / f"{package}-{version}"
    program = environment / "bin" / package
    if not program.exists():
        uv, python = str(Path(sys.executable).parent / "uv"), str(environment / "bin" / "python")
        try:
            for command in (
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
                [uv, "pip", "install", "--quiet", "--python", python, f"{package}=={version}.*"],
            ):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or str(error)
            return Peer(name, None, f"{name} could not be installed: {output.strip().splitlines()[-1]}")
    return Peer(name, program)
