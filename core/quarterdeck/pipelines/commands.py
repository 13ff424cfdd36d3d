"""Running a command step: inputs as files in one folder, whatever it leaves in another folder taken up afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quarterdeck.pipelines.outputs import FOLDER, Stored
from quarterdeck.pipelines.step import CommandStep, PipelineError
from quarterdeck.pipelines.tracking import Tracker
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

STOP_PATIENCE_SECONDS = 8.0
_PYTHON = ("python", "python3")


@dataclass(frozen=True, slots=True)
class CommandOutput:
    """The folder that a command step wrote. A step that reads one gets this."""

    folder: Path
    cpu_seconds: float
    peak_memory_bytes: int

    def model(self) -> Path:
        """The one file in `model/`.

        Raises:
            PipelineError: there is none, or more than one.
        """
        folder = self.folder / "model"
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        if len(files) != 1:
            names = ", ".join(path.name for path in files) or "none"
            raise PipelineError(
                f"its command must leave exactly one file with a model in $QUARTERDECK_OUT/model. Found: {names}."
            )
        return files[0]

    def table(self, name: str) -> pd.DataFrame | None:
        """`NAME.parquet`, if the command left it.

        Raises:
            PipelineError: it is not a Parquet file.
        """
        import pandas as pd

        path = self.folder / f"{name}.parquet"
        if not path.is_file():
            return None
        try:
            return pd.read_parquet(path)
        except Exception as error:  # pyarrow has a class for each way in which a file is no Parquet
            raise PipelineError(f"its command left a {path.name} that is not a Parquet file: {error}") from error


def run_command(workspace: Workspace, step: CommandStep, inputs: Mapping[str, Stored], folder: Path) -> CommandOutput:
    """Run the command to its end. Its output goes to ours, line by line.

    Args:
        inputs: what it reads, by name, copied out of the store so that the command cannot change the original.
        folder: an empty folder for this run of the step.

    Raises:
        PipelineError: it cannot be started, or ends with another status than 0.
    """
    into, out = folder / "in", folder / "out"
    into.mkdir(parents=True)
    out.mkdir()
    for name, stored in inputs.items():
        _lay_out(workspace, stored, into, name)
    words, surroundings = _interpreted(workspace, step)
    surroundings.update(QUARTERDECK_IN=str(into), QUARTERDECK_OUT=str(out))
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        process = subprocess.Popen(words, cwd=workspace.root, env=surroundings, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise PipelineError(f"its command {words[0]!r} ({step.place}) cannot be started: {error.strerror}.") from error
    try:
        _, status, usage = os.wait4(process.pid, 0)
    except BaseException:
        _stop(process)
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        ended = f"status {process.returncode}" if process.returncode > 0 else f"signal {-process.returncode}"
        raise PipelineError(f"its command ({step.place}) ended with {ended}. Its last lines in the log say why.")
    return CommandOutput(out, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def take_up(output: CommandOutput, tracker: Tracker) -> None:
    """Log what the command left in metrics.jsonl and params.json.

    Raises:
        PipelineError: one of them does not say what it should; the message names file and line.
    """
    metrics = output.folder / "metrics.jsonl"
    if metrics.is_file():
        for number, line in enumerate(metrics.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if line.strip():
                for name, value, step in _metrics_of(line, number):
                    tracker.log(name, value, step)
    parameters = output.folder / "params.json"
    if parameters.is_file():
        document = _parsed(parameters.read_text(encoding="utf-8", errors="replace"), "params.json")
        tracker.parameters.update(document)


def _metrics_of(line: str, number: int) -> list[tuple[str, float, int]]:
    """`{"name": "loss", "value": 0.3, "step": 1}`, or several at once: `{"loss": 0.3, "auc": 0.9, "step": 1}`."""
    where = f"metrics.jsonl, line {number}"
    document = _parsed(line, where)
    step = document.pop("step", 0)
    if "name" in document and "value" in document:
        document = {str(document["name"]): document["value"]}
    for name, value in document.items():
        if not isinstance(value, int | float) or not isinstance(step, int):
            raise PipelineError(f"its command left {where}: '{name}' must be a number and 'step' a whole one.")
    return [(name, value, step) for name, value in document.items()]


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PipelineError(f"its command left {where}, which is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise PipelineError(f"its command left {where}, which is not a JSON object.")
    return document


def _lay_out(workspace: Workspace, stored: Stored, into: Path, name: str) -> None:
    if stored.type != FOLDER:
        shutil.copyfile(workspace.artifacts.path(stored.digest), into / f"{name}.{stored.type}")
        return
    for path, digest in json.loads(workspace.artifacts.read(stored.digest)).items():
        target = into / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(workspace.artifacts.path(digest), target)


def _interpreted(workspace: Workspace, step: CommandStep) -> tuple[list[str], dict[str, str]]:
    """The command's words and environment, with the step's Python in front of the path."""
    words, surroundings = list(step.command), dict(os.environ)
    chosen = Path(sys.executable)
    if step.python is not None:
        chosen = workspace.root / Path(step.python).expanduser()
        chosen = chosen / "bin" / "python" if chosen.is_dir() else chosen
        if not chosen.is_file():
            raise PipelineError(f"there is no Python at {chosen} ({step.place}). Name an environment's folder.")
        surroundings.pop("PYTHONPATH", None)
    if words[0] in _PYTHON:
        words[0] = str(chosen)
    # Not resolved: an environment's python is a link, and its folder is what makes it that environment's.
    surroundings["PATH"] = os.pathsep.join([str(chosen.parent), surroundings.get("PATH", os.defpath)])
    # A script's prints belong in the log when they happen, not when a buffer is full.
    surroundings.setdefault("PYTHONUNBUFFERED", "1")
    return words, surroundings


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
