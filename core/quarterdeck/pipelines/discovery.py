"""Which pipelines a workspace has: read from the syntax of its modules, so that looking runs no user code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from quarterdeck.errors import NotFoundError
from quarterdeck.pipelines.step import PipelineError, command_name
from quarterdeck.workspace import Workspace

PACKAGE = "quarterdeck.pipelines"


@dataclass(frozen=True, slots=True)
class Found:
    """A call of `pipeline(...)`, or a module that cannot be read."""

    name: str
    """The pipeline's name; for a module that cannot be read, the module's."""
    file: Path
    line: int
    steps: tuple[str, ...] = ()
    parameters: tuple[str, ...] | None = None
    """Its parameters as `step.parameter`; None when the syntax alone does not tell."""
    error: str | None = None


def find_pipelines(workspace: Workspace) -> list[Found]:
    """The pipelines that the modules in the workspace's folder of pipelines define, by name.

    A module with a syntax error is reported as one entry with `error`.
    """
    return find_pipelines_in(workspace.root / workspace.settings.workspace.pipelines)


def find_pipelines_in(folder: Path) -> list[Found]:
    """The same for a folder of modules, for those that have no workspace to open."""
    found: list[Found] = []
    for file in sorted(folder.glob("*.py")):
        try:
            stat = file.stat()
            found += _read(file, stat.st_mtime_ns, stat.st_size)
        except OSError as error:
            found.append(Found(file.stem, file, 0, error=f"{file} cannot be read: {error.strerror}."))
    return sorted(found, key=lambda entry: (entry.name, str(entry.file)))


def find_pipeline(workspace: Workspace, name: str) -> Found:
    """The one pipeline called `name`.

    Raises:
        NotFoundError: there is none; the message lists those that exist.
        PipelineError: its module cannot be read, or two pipelines have that name.
    """
    everything = find_pipelines(workspace)
    named = [found for found in everything if found.name == name]
    if not named:
        names = ", ".join(found.name for found in everything if found.error is None) or "none yet"
        broken = "".join(f" {found.error}" for found in everything if found.error is not None)
        folder = workspace.root / workspace.settings.workspace.pipelines
        raise NotFoundError(f"There is no pipeline '{name}' in {folder}. Known: {names}.{broken}")
    if named[0].error is not None:
        raise PipelineError(named[0].error)
    if len(named) > 1:
        places = " and ".join(f"{found.file}:{found.line}" for found in named)
        raise PipelineError(f"Two pipelines are named '{name}': {places}. Rename one.")
    return named[0]


@lru_cache(maxsize=512)
def _read(file: Path, modified: int, size: int) -> tuple[Found, ...]:
    """What `file` defines; remembered until it changes, since consoles ask often."""
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except SyntaxError as error:
        line = error.lineno or 0
        return (Found(file.stem, file, line, error=f"{file}:{line}: {error.msg}. Mend that line."),)
    except ValueError as error:
        return (Found(file.stem, file, 0, error=f"{file} is not Python text: {error}."),)
    module = _Module(tree)
    return tuple(_found(call, file, module) for call in module.calls("pipeline"))


class _Module:
    """The names by which a module calls ours, and the steps that it defines."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self._ours: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
                self._ours.update({alias.asname or alias.name: alias.name for alias in node.names})
            elif isinstance(node, ast.ImportFrom) and node.module == "quarterdeck":
                self._add_package(*(alias.asname or alias.name for alias in node.names if alias.name == "pipelines"))
            elif isinstance(node, ast.Import):
                self._add_package(*(alias.asname or alias.name for alias in node.names if alias.name == PACKAGE))
        self.steps = dict(self._definitions())

    def _add_package(self, *prefixes: str) -> None:
        for prefix in prefixes:
            self._ours.update({f"{prefix}.{name}": name for name in ("pipeline", "step", "command_step")})

    def which(self, node: ast.expr) -> str | None:
        """Which of our functions `node` names, called or not."""
        return self._ours.get(ast.unparse(node.func if isinstance(node, ast.Call) else node))

    def calls(self, name: str) -> list[ast.Call]:
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and self.which(node) == name]

    def _definitions(self) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
        """For each variable that holds a step: the step's name and its parameters."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef):
                for decorator in node.decorator_list:
                    if self.which(decorator) == "step":
                        yield node.name, (_text(decorator, "name") or node.name, _defaulted(node.args))
            elif isinstance(node, ast.Assign) and self.which(node.value) == "command_step":
                for target in node.targets:
                    yield ast.unparse(target), (_command_name(node.value), ())


def _found(call: ast.Call, file: Path, module: _Module) -> Found:
    name = _text(call, "name", position=0)
    if name is None:
        problem = f"{file}:{call.lineno}: the name of a pipeline must be written out as text in pipeline(...)."
        return Found(file.stem, file, call.lineno, error=problem)
    steps: list[str] = []
    parameters: list[str] | None = []
    listed = _argument(call, "steps", position=1)
    if not isinstance(listed, ast.List | ast.Tuple):
        return Found(name, file, call.lineno)
    for element in listed.elts:
        if isinstance(element, ast.Call) and module.which(element) == "command_step":
            steps.append(_command_name(element))
        elif (written := ast.unparse(element)) in module.steps:
            step, own = module.steps[written]
            steps.append(step)
            if parameters is not None:
                parameters += [f"{step}.{parameter}" for parameter in own]
        else:
            steps.append(written)
            parameters = None
    return Found(name, file, call.lineno, tuple(steps), None if parameters is None else tuple(parameters))


def _argument(call: ast.Call, keyword: str, position: int | None = None) -> ast.expr | None:
    if position is not None and len(call.args) > position:
        return call.args[position]
    return next((given.value for given in call.keywords if given.arg == keyword), None)


def _text(node: ast.expr, keyword: str, position: int | None = None) -> str | None:
    """The argument of a call, where it is a text that is written out."""
    given = _argument(node, keyword, position) if isinstance(node, ast.Call) else None
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None


def _command_name(node: ast.expr) -> str:
    if named := _text(node, "name"):
        return named
    command = _argument(node, "command", position=0) if isinstance(node, ast.Call) else None
    if isinstance(command, ast.List | ast.Tuple):
        return command_name([str(word.value) for word in command.elts if isinstance(word, ast.Constant)])
    if isinstance(command, ast.Constant):
        return command_name(str(command.value).split())
    return "command"


def _defaulted(arguments: ast.arguments) -> tuple[str, ...]:
    """The parameters that have a default."""
    positional = arguments.args[len(arguments.args) - len(arguments.defaults) :] if arguments.defaults else []
    keyword = [arg for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default]
    return tuple(argument.arg for argument in [*positional, *keyword])
