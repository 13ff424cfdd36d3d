"""Finding pipelines by syntax: no user code runs, and what is broken is reported, not hidden."""

from __future__ import annotations

import pytest

from quarterdeck.errors import NotFoundError
from quarterdeck.pipelines.discovery import Found, find_pipeline, find_pipelines
from quarterdeck.pipelines.step import PipelineError
from quarterdeck.workspace import Workspace

TRAIN = """
from quarterdeck.pipelines import command_step, pipeline, step
raise SystemExit("user code must not run")

@step
def clean(payments, *, days=5): ...

@step(name="fit")
def train_model(clean, *, depth: int = 3, rate=0.1): ...

check = command_step("pytest -q")
train = pipeline("train", [clean, train_model, check, command_step(["python", "notify.py"], name="tell")])
"""


def write(workspace: Workspace, name: str, text: str) -> None:
    folder = workspace.root / "pipelines"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def test_a_pipeline_is_found_with_its_steps_and_parameters_without_running_its_module(workspace: Workspace) -> None:
    write(workspace, "train.py", TRAIN)
    (found,) = find_pipelines(workspace)
    assert found == Found(
        name="train",
        file=workspace.root / "pipelines" / "train.py",
        line=12,
        steps=("clean", "fit", "pytest", "tell"),
        parameters=("clean.days", "fit.depth", "fit.rate"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "import quarterdeck.pipelines\nquarterdeck.pipelines.pipeline('a', [])",
        "import quarterdeck.pipelines as qp\nqp.pipeline(name='a', steps=[])",
        "from quarterdeck import pipelines\npipelines.pipeline('a', ())",
        "from quarterdeck.pipelines import pipeline as make\nx = make('a', [])",
    ],
)
def test_a_pipeline_is_found_however_ours_is_imported(workspace: Workspace, text: str) -> None:
    write(workspace, "a.py", text)
    assert [found.name for found in find_pipelines(workspace)] == ["a"]


def test_another_function_called_pipeline_is_not_ours(workspace: Workspace) -> None:
    write(workspace, "a.py", "from sklearn.pipeline import make_pipeline as pipeline\npipeline('a', [])")
    assert find_pipelines(workspace) == []


def test_steps_from_elsewhere_leave_the_parameters_unknown(workspace: Workspace) -> None:
    write(workspace, "a.py", "from quarterdeck.pipelines import pipeline\nimport x\npipeline('a', [x.fit])")
    (found,) = find_pipelines(workspace)
    assert found.steps == ("x.fit",)
    assert found.parameters is None


def test_a_module_with_a_syntax_error_is_reported_with_file_and_line(workspace: Workspace) -> None:
    write(workspace, "broken.py", "x = 1\ndef f(:\n")
    write(workspace, "train.py", TRAIN)
    broken, train = find_pipelines(workspace)
    assert broken.name == "broken"
    assert "broken.py:2:" in (broken.error or "")
    assert train.error is None
    with pytest.raises(PipelineError, match=r"broken\.py:2:"):
        find_pipeline(workspace, "broken")


def test_a_file_that_is_no_text_is_reported(workspace: Workspace) -> None:
    write(workspace, "train.py", TRAIN)
    (workspace.root / "pipelines" / "junk.py").write_bytes(b"\x00\xff\x00")
    assert "junk.py" in (find_pipelines(workspace)[0].error or "")


def test_a_name_that_is_computed_is_reported(workspace: Workspace) -> None:
    write(workspace, "a.py", "from quarterdeck.pipelines import pipeline\nn = 'a'\npipeline(n, [])")
    assert "a.py:3: the name of a pipeline must be written out" in (find_pipelines(workspace)[0].error or "")


def test_an_unknown_pipeline_is_answered_with_the_known_ones(workspace: Workspace) -> None:
    write(workspace, "train.py", TRAIN)
    with pytest.raises(NotFoundError, match=r"no pipeline 'trian'.*Known: train\."):
        find_pipeline(workspace, "trian")


def test_two_pipelines_of_one_name_are_refused_with_both_places(workspace: Workspace) -> None:
    write(workspace, "a.py", TRAIN)
    write(workspace, "b.py", TRAIN)
    with pytest.raises(PipelineError, match=r"Two pipelines are named 'train': .*a\.py:12 and .*b\.py:12"):
        find_pipeline(workspace, "train")


def test_a_change_of_the_file_is_seen(workspace: Workspace) -> None:
    write(workspace, "a.py", "from quarterdeck.pipelines import pipeline\npipeline('first', [])")
    assert [found.name for found in find_pipelines(workspace)] == ["first"]
    write(workspace, "a.py", "from quarterdeck.pipelines import pipeline\npipeline('second', [])")
    assert [found.name for found in find_pipelines(workspace)] == ["second"]
