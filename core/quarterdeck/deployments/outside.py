"""Programs of the user's that act or tell elsewhere: argument lists, never a shell, with a limit of time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from quarterdeck.errors import QuarterdeckError
from quarterdeck.workspace import Workspace

STOP_PATIENCE_SECONDS = 8.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended."""

    status: int
    """Its exit status; negative for the signal that ended it."""
    output: str
    """What it wrote to stdout, where that was asked for."""

    @property
    def words(self) -> str:
        return f"status {self.status}" if self.status >= 0 else f"signal {-self.status}"


def filled(arguments: Sequence[str], **values: object) -> list[str]:
    """The arguments with `{name}` replaced by each value; other braces stay as they are."""
    words = list(arguments)
    for name, value in values.items():
        words = [word.replace(f"{{{name}}}", str(value)) for word in words]
    return words


def run_outside(workspace: Workspace, words: Sequence[str], *, seconds: float, capture: bool = False) -> Ended:
    """Run a program to its end, in the workspace's folder. What it writes goes where our own output goes.

    Raises:
        QuarterdeckError: it cannot be started, or takes longer than `seconds` and was ended.
    """
    try:
        process = subprocess.Popen(
            list(words),
            cwd=workspace.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
        )
    except OSError as error:
        raise QuarterdeckError(f"{words[0]!r} cannot be started: {error.strerror}. Check the path.") from error
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _stop(process)
        raise QuarterdeckError(
            f"{words[0]!r} took longer than {seconds:g} s (command_timeout) and was ended."
        ) from None
    except BaseException:
        _stop(process)
        raise
    return Ended(process.returncode, (output or b"").decode(errors="replace"))


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
