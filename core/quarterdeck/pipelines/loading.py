"""Importing a user's pipeline module. Job processes only: what it does on import happens here."""

from __future__ import annotations

import dataclasses
import sys
import traceback
import types
from pathlib import Path

from quarterdeck.errors import QuarterdeckError
from quarterdeck.pipelines.discovery import find_pipeline
from quarterdeck.pipelines.pipeline import Pipeline
from quarterdeck.pipelines.step import PipelineError
from quarterdeck.workspace import Workspace


def load_pipeline(workspace: Workspace, name: str) -> Pipeline:
    """Import the module that defines `name` and return the pipeline.

    The workspace's folder is importable meanwhile and afterwards, so that a module can import its neighbours.

    Raises:
        NotFoundError: there is no such pipeline.
        PipelineError: the module fails on import (its traceback goes to stderr), or no longer defines it.
    """
    file = find_pipeline(workspace, name).file
    # Read once: what is recorded as the run's source is what ran, whatever an editor saves meanwhile.
    source = file.read_bytes()
    module = _import(workspace.root, file, source)
    defined = [value for value in vars(module).values() if isinstance(value, Pipeline) and value.name == name]
    if not defined:
        raise PipelineError(f"{file} has no pipeline '{name}' at the top level of the module once it is imported.")
    return dataclasses.replace(defined[0], source=source.decode("utf-8", errors="replace"))


def _import(root: Path, file: Path, source: bytes) -> types.ModuleType:
    # The name by which worker processes of the user's code can import it too: `pipelines.train`.
    module = types.ModuleType(".".join(file.relative_to(root).with_suffix("").parts))
    module.__file__ = str(file)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    sys.modules[module.__name__] = module
    try:
        # Compiled from what was read, not through the import system, which caches by the second and leaves
        # __pycache__ in the user's folder.
        exec(compile(source, str(file), "exec", dont_inherit=True), vars(module))
    except QuarterdeckError:
        raise
    except (Exception, SystemExit) as error:
        print_user_traceback(error)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        line = lines[-1] if lines else getattr(error, "lineno", None) or 1
        raise PipelineError(f"{file}:{line}: {describe(error)}") from error
    return module


def describe(error: BaseException) -> str:
    """An error of the user's code as one line: `ValueError: what it said`."""
    said = str(error).strip()
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def print_user_traceback(error: BaseException) -> None:
    """The traceback from the first line of the user's code on, to stderr, which is the run's log."""
    ours = str(Path(__file__).parent)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)
    sys.stderr.flush()
