"""Steps: what is read from a function's signature, and what cannot be wired by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quarterdeck.pipelines import command_step, step
from quarterdeck.pipelines.step import PipelineError


def test_parameters_without_a_default_are_inputs_and_those_with_one_are_hyperparameters() -> None:
    @step
    def train(payments: Any, holdout: Any, *, depth: int = 3, rate: float = 0.1) -> Any: ...

    assert train.name == "train"
    assert train.inputs == ("payments", "holdout")
    assert train.parameters == {"depth": 3, "rate": 0.1}


def test_a_step_knows_its_file_and_line() -> None:
    @step
    def train(payments: Any) -> Any: ...

    assert Path(train.file).name == "test_step.py"
    assert train.line == train.function.__code__.co_firstlineno


def test_called_directly_a_step_is_the_plain_function() -> None:
    @step
    def double(number: int, *, times: int = 2) -> int:
        return number * times

    assert double(4) == 8
    assert double(4, times=3) == 12


def test_a_step_can_be_given_another_name() -> None:
    @step(name="fit")
    def train(payments: Any) -> Any: ...

    assert train.name == "fit"


def test_parameters_that_have_no_names_are_refused_with_step_file_and_line() -> None:
    with pytest.raises(PipelineError, match=r"Step 'train' \(.*test_step\.py:\d+\) takes \*\*rest"):

        @step
        def train(payments: Any, **rest: Any) -> Any: ...


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("pytest -q", "pytest"),
        ("python train.py --fast", "train"),
        (["python", "-u", "scripts/fit model.py"], "fit_model"),
    ],
)
def test_a_command_step_is_named_for_what_it_runs(command: str | list[str], name: str) -> None:
    assert command_step(command).name == name


@pytest.mark.parametrize("command", ["", [], "echo 'unbalanced"])
def test_a_command_that_is_none_is_refused_where_it_is_written(command: str | list[str]) -> None:
    with pytest.raises(PipelineError, match=r"test_step\.py:\d+"):
        command_step(command)
