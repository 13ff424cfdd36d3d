"""Pipelines: wiring by names, and everything that is refused before anything runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.pipelines import command_step, pipeline, register
from quarterdeck.pipelines.step import AnyStep, PipelineError, Step


def a_step(name: str, *inputs: str, **parameters: Any) -> Step[..., Any]:
    """A step as the decorator would make it, on a line of its own."""
    return Step(
        name=name,
        function=lambda **given: given,
        inputs=inputs,
        parameters=parameters,
        file="train.py",
        line=sum(map(ord, name)),
    )


def test_steps_run_after_what_they_read_else_as_listed() -> None:
    steps = [a_step("fit", "clean", "payments"), a_step("report"), a_step("clean", "payments")]
    train = pipeline("train", steps)
    train.check({}, {"payments"})
    assert train.graph() == {"report": [], "clean": ["payments"], "fit": ["clean", "payments"]}
    assert train.datasets() == ["payments"]


def test_a_cycle_is_refused_naming_each_step_and_its_place() -> None:
    train = pipeline("train", [a_step("a", "c"), a_step("b", "a"), a_step("c", "b"), a_step("free")])
    with pytest.raises(PipelineError, match="form a cycle") as refused:
        train.check({}, set())
    for name, read in (("a", "c"), ("b", "a"), ("c", "b")):
        assert f"'{name}' (train.py:{ord(name)}) reads '{read}'" in str(refused.value)
    assert "free" not in str(refused.value)


def test_a_step_that_reads_itself_is_a_cycle() -> None:
    with pytest.raises(PipelineError, match=r"'a' \(train\.py:97\) reads 'a'"):
        pipeline("train", [a_step("a", "a")]).check({}, {"a"})


def test_a_missing_input_is_refused_naming_step_file_and_line() -> None:
    train = pipeline("train", [a_step("fit", "paymnets")])
    expected = r"Step 'fit' \(train\.py:\d+\) reads 'paymnets', which is neither a step .* \(fit\) nor .* \(payments\)"
    with pytest.raises(PipelineError, match=expected):
        train.check({}, {"payments"})


def test_two_steps_of_one_name_are_refused_naming_both_places() -> None:
    first, second = a_step("fit"), a_step("fit")
    with pytest.raises(PipelineError, match=r"two steps named 'fit': train\.py:\d+ and train\.py:\d+"):
        pipeline("train", [first, second]).check({}, set())


@pytest.mark.parametrize("key", ["fit.dept", "fit.", "fit", "other.depth"])
def test_an_unknown_parameter_is_refused_naming_file_line_and_what_is_known(key: str) -> None:
    train = pipeline("train", [a_step("fit", depth=3)])
    train.check({"fit.depth": 4}, set())
    with pytest.raises(PipelineError, match=rf"'{re.escape(key)}'.*\.py:\d+.*(fit\.depth|its steps: fit)"):
        train.check({key: 4}, set())


def test_a_registration_of_something_that_is_not_there_is_refused() -> None:
    steps: list[AnyStep] = [a_step("fit"), a_step("rows")]
    for wrong, said in (
        (register("m", estimator="fti", training="rows"), r"test_pipeline\.py:\d+\) registers the output of 'fti'"),
        (register("m", estimator="fit", training="rows", holdout="h"), r"test_pipeline\.py:\d+\) registers with 'h'"),
        (register("m", estimator="fit"), "without training rows"),
    ):
        train = pipeline("train", steps, registers=wrong)
        with pytest.raises(PipelineError, match=said):
            train.check({}, set())


def test_a_command_may_leave_its_own_training_rows() -> None:
    script = command_step("python train.py", inputs=["payments"])
    pipeline("train", [script], registers=register("m", estimator="train")).check({}, {"payments"})


def test_a_registered_name_may_be_a_dataset_which_is_then_read() -> None:
    train = pipeline("train", [a_step("fit")], registers=register("m", estimator="fit", training="payments"))
    train.check({}, {"payments"})
    assert train.datasets() == ["payments"]


def test_a_function_whose_decorator_was_forgotten_is_refused_by_its_name() -> None:
    def plain() -> None: ...

    with pytest.raises(PipelineError, match=r"test_pipeline\.py:\d+: 'plain' in pipeline 'train' is not a step"):
        pipeline("train", [plain])  # type: ignore[list-item]  # what the test is about


def test_a_name_that_cannot_be_one_is_refused_where_it_is_written() -> None:
    with pytest.raises(PipelineError, match=r"test_pipeline\.py:\d+: 'my pipeline' is not a name"):
        pipeline("my pipeline", [a_step("x")])
    with pytest.raises(PipelineError, match=r"test_pipeline\.py:\d+: register: 'my model' is not a name"):
        register("my model", estimator="x")


@given(st.lists(st.sets(st.integers(0, 7), max_size=4), min_size=1, max_size=8))
def test_an_order_is_found_exactly_when_there_is_no_cycle(reads: list[set[int]]) -> None:
    names = {f"s{number}" for number in range(len(reads))}
    steps = [a_step(f"s{number}", *sorted(f"s{n}" for n in read)) for number, read in enumerate(reads)]
    train = pipeline("train", steps)
    try:
        order = [step.name for step in train.order()]
    except PipelineError:
        assert _has_cycle({step.name: [name for name in step.inputs if name in names] for step in steps})
        return
    for position, name in enumerate(order):
        found = train.step(name)
        assert found is not None
        assert all(read in order[:position] for read in found.inputs if read in names)


def _has_cycle(graph: dict[str, list[str]]) -> bool:
    def reaches(start: str, goal: str, seen: frozenset[str]) -> bool:
        onward = (name for name in graph[start] if name not in seen)
        return goal in graph[start] or any(reaches(name, goal, seen | {name}) for name in onward)

    return any(reaches(name, name, frozenset()) for name in graph)
