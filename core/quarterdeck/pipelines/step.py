"""A step: a Python function or a command, with the names of what it reads and the parameters it takes."""

from __future__ import annotations

import inspect
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, overload

from quarterdeck.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")

STEP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_INTERPRETERS = frozenset({"python", "python3", "sh", "bash", "env", "uv", "run"})


class PipelineError(UsageError):
    """The pipeline cannot run as it is written. Mend the place that is named and try again."""


@dataclass(frozen=True, slots=True, eq=False)
class Step(Generic[P, R]):
    """A function of a pipeline. Called directly, it is the plain function."""

    name: str
    function: Callable[P, R]
    inputs: tuple[str, ...]
    """Names of the steps and datasets it reads: its parameters without a default."""
    parameters: dict[str, Any]
    """Its hyperparameters with their defaults: its parameters with one."""
    file: str
    line: int

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, eq=False)
class CommandStep:
    """A command of a pipeline. It need not know of Quarterdeck: it reads files and leaves files."""

    name: str
    command: tuple[str, ...]
    inputs: tuple[str, ...]
    python: str | None
    """The interpreter that stands in for a leading `python`: an executable, or the folder of an environment."""
    file: str
    line: int
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


AnyStep = Step[..., Any] | CommandStep


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(*, name: str) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(function: Callable[P, R] | None = None, /, *, name: str | None = None) -> Any:
    """Make a function a step, as `@step` or `@step(name="...")`.

    A parameter without a default receives the output of the step, or the dataset, of that name. A parameter with a
    default is a hyperparameter, which `quarterdeck run PIPELINE --set STEP.PARAMETER=VALUE` overrides.

    Raises:
        PipelineError: the function takes positional-only parameters, `*args` or `**kwargs`, which have no names.
    """
    if function is None:
        return lambda decorated: _step_of(decorated, name)
    return _step_of(function, name)


def command_step(
    command: str | Sequence[str], *, name: str | None = None, python: str | None = None, inputs: Sequence[str] = ()
) -> CommandStep:
    """Make a command a step.

    It runs in the workspace's folder. `$QUARTERDECK_IN` holds each of `inputs` as a file (`NAME.parquet` for a
    table); what it leaves in `$QUARTERDECK_OUT` is kept, and these are understood: `metrics.jsonl`, `params.json`,
    `model/` with one file (skops, ONNX, XGBoost, LightGBM), `holdout.parquet`, `training.parquet`.

    Raises:
        PipelineError: the command is empty or cannot be split into words.
    """
    caller = sys._getframe(1)
    file, line = caller.f_code.co_filename, caller.f_lineno
    try:
        words = tuple(shlex.split(command)) if isinstance(command, str) else tuple(command)
    except ValueError as error:
        raise PipelineError(f"{file}:{line}: the command {command!r} cannot be split into words: {error}.") from error
    if not words or not all(isinstance(word, str) for word in words):
        raise PipelineError(f"{file}:{line}: command_step needs a command: a text, or a list of texts.")
    chosen = _checked_name(command_name(words) if name is None else name, f"{file}:{line}")
    return CommandStep(name=chosen, command=words, inputs=tuple(inputs), python=python, file=file, line=line)


def command_name(words: Sequence[str]) -> str:
    """The name of a command that was given none: of `python train.py` it is `train`."""
    plain = [word for word in words if not word.startswith("-")]
    named = [word for word in plain if Path(word).name not in _INTERPRETERS] or plain or ["command"]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(named[0]).stem).strip("_-") or "command"


def step_settings(owner: AnyStep, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a step is called with: its defaults under those of `parameters` (`step.parameter`) that are its own."""
    prefix = f"{owner.name}."
    own = {key.removeprefix(prefix): value for key, value in parameters.items() if key.startswith(prefix)}
    return {**owner.parameters, **own}


def _step_of(function: Callable[P, R], name: str | None) -> Step[P, R]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        raise PipelineError(f"@step belongs on a function, not on {function!r}.")
    place = f"{code.co_filename}:{code.co_firstlineno}"
    chosen = _checked_name(name or function.__name__, place)
    inputs: list[str] = []
    parameters: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise PipelineError(
                f"Step '{chosen}' ({place}) takes {parameter}, which cannot be wired by name. "
                "Name each parameter, without `/`, `*args` and `**kwargs`."
            )
        if parameter.default is parameter.empty:
            inputs.append(parameter.name)
        else:
            parameters[parameter.name] = parameter.default
    return Step(
        name=chosen,
        function=function,
        inputs=tuple(inputs),
        parameters=parameters,
        file=code.co_filename,
        line=code.co_firstlineno,
    )


def _checked_name(name: str, place: str) -> str:
    if not STEP_NAME.fullmatch(name):
        raise PipelineError(f"{place}: '{name}' cannot be the name of a step: use letters, digits, '_' and '-'.")
    return name
