"""A pipeline: steps wired by the names of what they read, and what comes out of them as a model version."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from quarterdeck.pipelines.step import AnyStep, CommandStep, PipelineError, Step
from quarterdeck.values import check_name


@dataclass(frozen=True, slots=True)
class Registration:
    """Which outputs of a pipeline become a version of which model."""

    model: str
    estimator: str
    """The step that returns the fitted estimator, or the command step that leaves a model."""
    training: str | None
    """The step or dataset with the training rows. A command step may leave `training.parquet` instead."""
    holdout: str | None
    """The step or dataset with rows that training never saw. A command step may leave `holdout.parquet` instead."""
    target: str | None
    """The column that is predicted; by default the `target` of the datasets that the pipeline reads."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.estimator, self.training, self.holdout) if name is not None)


def register(
    model: str,
    *,
    estimator: str,
    training: str | None = None,
    holdout: str | None = None,
    target: str | None = None,
) -> Registration:
    """Say that the output of step `estimator` becomes the next version of `model`.

    Raises:
        PipelineError: `model` cannot be a name.
    """
    caller = sys._getframe(1)
    try:
        check_name(model)
    except ValueError as error:
        raise PipelineError(f"{caller.f_code.co_filename}:{caller.f_lineno}: register: {error}.") from error
    return Registration(model=model, estimator=estimator, training=training, holdout=holdout, target=target)


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    name: str
    steps: tuple[AnyStep, ...]
    registers: Registration | None
    file: str
    line: int
    source: str = ""
    """The text of its module as it was loaded."""

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"

    def step(self, name: str) -> AnyStep | None:
        return next((step for step in self.steps if step.name == name), None)

    def graph(self) -> dict[str, list[str]]:
        """For each step, in the order in which they run, the steps and datasets it reads.

        Raises:
            PipelineError: the steps form a cycle.
        """
        return {step.name: list(step.inputs) for step in self.order()}

    def datasets(self) -> list[str]:
        """The names that no step has: what is read from the workspace."""
        steps = {step.name for step in self.steps}
        wanted = [name for step in self.steps for name in step.inputs]
        wanted += self.registers.names if self.registers is not None else ()
        return [name for name in dict.fromkeys(wanted) if name not in steps]

    def order(self) -> list[AnyStep]:
        """The steps so that each comes after those it reads, else as they were listed.

        Raises:
            PipelineError: the steps form a cycle; the message walks it.
        """
        names = {step.name for step in self.steps}
        waiting = list(self.steps)
        done: dict[str, AnyStep] = {}
        while waiting:
            ready = next((s for s in waiting if all(name in done or name not in names for name in s.inputs)), None)
            if ready is None:
                raise PipelineError(self._describe_cycle(waiting))
            done[ready.name] = ready
            waiting.remove(ready)
        return list(done.values())

    def check(self, parameters: Mapping[str, Any], datasets: Collection[str]) -> None:
        """Refuse what could not run, before anything runs.

        Raises:
            PipelineError: two steps of one name, a missing input, a cycle, an unknown parameter, or a registration
                of something that is not there; the message names the step, the file and the line.
        """
        self._check_names()
        self._check_inputs(datasets)
        self.order()
        self._check_registration(datasets)
        for key in parameters:
            self._check_parameter(key)

    def _check_names(self) -> None:
        seen: dict[str, AnyStep] = {}
        for step in self.steps:
            if step.name in seen:
                raise PipelineError(
                    f"Pipeline '{self.name}' has two steps named '{step.name}': {seen[step.name].place} and "
                    f'{step.place}. Rename one, or write @step(name="...").'
                )
            seen[step.name] = step

    def _check_inputs(self, datasets: Collection[str]) -> None:
        names = [step.name for step in self.steps]
        for step in self.steps:
            for name in step.inputs:
                if name not in names and name not in datasets:
                    raise PipelineError(
                        f"Step '{step.name}' ({step.place}) reads '{name}', which is neither a step of pipeline "
                        f"'{self.name}' ({', '.join(names)}) nor a dataset ({_listed(datasets)}). Add the step to the "
                        f"pipeline, or the data with `quarterdeck data add {name} FILE`."
                    )

    def _check_registration(self, datasets: Collection[str]) -> None:
        if self.registers is None:
            return
        names = [step.name for step in self.steps]
        if self.registers.estimator not in names:
            raise PipelineError(
                f"Pipeline '{self.name}' ({self.place}) registers the output of '{self.registers.estimator}', "
                f"which is none of its steps: {', '.join(names)}."
            )
        for name in self.registers.names:
            if name not in names and name not in datasets:
                raise PipelineError(
                    f"Pipeline '{self.name}' ({self.place}) registers with '{name}', which is neither one of its "
                    f"steps ({', '.join(names)}) nor a dataset ({_listed(datasets)})."
                )
        leaves_tables = isinstance(self.step(self.registers.estimator), CommandStep)
        if self.registers.training is None and not leaves_tables:
            raise PipelineError(
                f"Pipeline '{self.name}' ({self.place}) registers step '{self.registers.estimator}' without training "
                'rows, so nothing could be compared with them. Write register(..., training="STEP").'
            )

    def _check_parameter(self, key: str) -> None:
        owner, _, parameter = key.partition(".")
        step = self.step(owner)
        if step is None or not parameter:
            raise PipelineError(
                f"Unknown parameter '{key}' of pipeline '{self.name}' ({self.place}): write STEP.PARAMETER with one "
                f"of its steps: {', '.join(step.name for step in self.steps)}."
            )
        if parameter not in step.parameters:
            known = ", ".join(f"{step.name}.{name}" for name in step.parameters) or "it has none"
            raise PipelineError(f"Unknown parameter '{key}' of step '{step.name}' ({step.place}). Known: {known}.")

    def _describe_cycle(self, waiting: list[AnyStep]) -> str:
        by_name = {step.name: step for step in waiting}
        walked = [waiting[0]]
        while True:
            following = next(by_name[name] for name in walked[-1].inputs if name in by_name)
            if following in walked:
                cycle = walked[walked.index(following) :]
                break
            walked.append(following)
        places = "; ".join(
            f"'{step.name}' ({step.place}) reads '{after.name}'"
            for step, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
        )
        return f"The steps of pipeline '{self.name}' form a cycle: {places}. One of them must not read the other."


def pipeline(name: str, steps: Sequence[AnyStep], *, registers: Registration | None = None) -> Pipeline:
    """Collect `steps` into a pipeline, which `quarterdeck run NAME` queues.

    Raises:
        PipelineError: the name cannot be one, or something in `steps` is not a step.
    """
    caller = sys._getframe(1)
    file, line = caller.f_code.co_filename, caller.f_lineno
    try:
        check_name(name)
    except ValueError as error:
        raise PipelineError(f"{file}:{line}: {error}.") from error
    # Types do not hold in users' modules: a function whose decorator was forgotten arrives here.
    for given in cast(Sequence[object], steps):
        if not isinstance(given, Step | CommandStep):
            called = getattr(given, "__name__", repr(given))
            raise PipelineError(f"{file}:{line}: '{called}' in pipeline '{name}' is not a step. Write @step above it.")
    return Pipeline(name=name, steps=tuple(steps), registers=registers, file=file, line=line)


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none yet"
