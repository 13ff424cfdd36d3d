"""Programs to compare with, each in an environment of its own below bench/.peers: never a dependency."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version as version_of
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

    @property
    def python(self) -> str:
        """The interpreter of its environment; only for a peer that is installed."""
        assert self.program is not None
        return str(self.program.parent / "python")


def install(package: str, version: str, *, program: str | None = None, beside: Sequence[str] = ()) -> Peer:
    """The package's program (of the same name unless given), installed by uv unless it is there already.

    `beside`: what else its environment needs, as requirements.
    """
    name, environment = f"{package} {version}", FOLDER / f"{package}-{version}"
    executable = environment / "bin" / (program or package)
    if not executable.exists():
        uv, python = str(Path(sys.executable).parent / "uv"), str(environment / "bin" / "python")
        try:
            for command in (
                [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)],
                [uv, "pip", "install", "--quiet", "--python", python, f"{package}=={version}.*", *beside],
            ):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or str(error)
            return Peer(name, None, f"{name} could not be installed: {output.strip().splitlines()[-1]}")
    return Peer(name, executable)


def ours_of(*packages: str) -> list[str]:
    """Requirements of the versions that run here, so that a peer's tasks import the same."""
    return [f"{package}=={version_of(package)}" for package in packages]


def name_with_version(package: str) -> str:
    """A package of our own environment, with its version: `apscheduler 3.11.3`."""
    return f"{package} {version_of(package)}"


@dataclass(slots=True)
class Attempt:
    """What became of dealing with a peer."""

    why_not: str = ""


@contextmanager
def forgiving(name: str) -> Iterator[Attempt]:
    """What a peer does wrong is told in a note, and never ends our benchmark."""
    attempt = Attempt()
    try:
        yield attempt
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        last = (str(getattr(error, "stderr", None) or error).strip().splitlines() or [type(error).__name__])[-1]
        attempt.why_not = f"{name}: {last}"
