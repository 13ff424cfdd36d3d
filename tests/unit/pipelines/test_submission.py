"""Asking for runs and cancelling them; and the ends that the runner writes."""

from __future__ import annotations

import dataclasses

import pytest
from sqlmodel import select

from quarterdeck.errors import NotFoundError, ReadOnlyError, RefusedError
from quarterdeck.events import Event
from quarterdeck.pipelines import queries
from quarterdeck.pipelines.ending import lose, mark_cancelled, requeue
from quarterdeck.pipelines.run import RunState, RunStep, StepState, find_run
from quarterdeck.pipelines.step import PipelineError
from quarterdeck.pipelines.submission import cancel, submit
from quarterdeck.workspace import Workspace

TRAIN = """
from quarterdeck.pipelines import pipeline, step

@step
def fit(payments, *, depth=3): ...

train = pipeline("train", [fit])
"""


@pytest.fixture
def pipelined(workspace: Workspace) -> Workspace:
    folder = workspace.root / "pipelines"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    return workspace


def events(workspace: Workspace, subject: str) -> list[tuple[str, str]]:
    with workspace.state.read() as tx:
        rows = tx.exec(select(Event).where(Event.subject == subject).order_by(Event.id))  # type: ignore[arg-type]
        return [(row.kind, row.actor) for row in rows]


def start(workspace: Workspace, run_id: int) -> None:
    with workspace.state.write("start") as tx:
        find_run(tx, run_id).move(RunState.RUNNING, workspace.now())
        for position, state in enumerate((StepState.SUCCEEDED, StepState.RUNNING, StepState.PENDING)):
            tx.add(RunStep(run_id=run_id, name=f"s{position}", position=position, state=state))


def test_a_submitted_run_is_queued_with_its_event(pipelined: Workspace) -> None:
    run_id = submit(pipelined, "train", {"fit.depth": 5}, actor="ada")
    row = queries.run(pipelined, run_id)
    assert (row.state, row.parameters, row.trigger, row.requested_by) == ("queued", {"fit.depth": 5}, "manual", "ada")
    assert events(pipelined, f"run/{run_id}") == [("run.queued", "ada")]


def test_a_run_draws_its_random_numbers_from_the_seed_it_was_given(pipelined: Workspace) -> None:
    seeds = [
        queries.run(pipelined, run_id).seed
        for run_id in (submit(pipelined, "train", seed=7), submit(pipelined, "train"))
    ]
    assert seeds == [7, 0]


def test_an_unknown_pipeline_or_parameter_changes_nothing(pipelined: Workspace) -> None:
    with pytest.raises(NotFoundError, match="Known: train"):
        submit(pipelined, "trian")
    with pytest.raises(PipelineError, match=r"'fit\.dept'.*train\.py:7.*Known: fit\.depth"):
        submit(pipelined, "train", {"fit.dept": 5})
    assert queries.runs(pipelined) == []


def test_a_read_only_workspace_takes_no_run(pipelined: Workspace) -> None:
    settings = pipelined.settings
    shut = settings.workspace.model_copy(update={"read_only": True})
    workspace = dataclasses.replace(pipelined, settings=settings.model_copy(update={"workspace": shut}))
    with pytest.raises(ReadOnlyError):
        submit(workspace, "train")


def test_a_queued_run_is_cancelled_at_once(pipelined: Workspace) -> None:
    run_id = submit(pipelined, "train")
    cancel(pipelined, run_id, actor="ada")
    assert queries.run(pipelined, run_id).state is RunState.CANCELLED
    assert events(pipelined, f"run/{run_id}")[-1] == ("run.cancelled", "ada")
    with pytest.raises(RefusedError, match=r"ended already \(cancelled\)"):
        cancel(pipelined, run_id)


def test_cancelling_a_running_run_asks_the_runner(pipelined: Workspace) -> None:
    run_id = submit(pipelined, "train")
    start(pipelined, run_id)
    cancel(pipelined, run_id, actor="ada")
    assert queries.run(pipelined, run_id).state is RunState.RUNNING
    assert events(pipelined, f"run/{run_id}")[-1] == ("run.cancel_requested", "ada")


def test_a_lost_run_closes_its_steps_and_stays_lost(pipelined: Workspace) -> None:
    run_id = submit(pipelined, "train")
    start(pipelined, run_id)
    with pipelined.state.write("lose") as tx:
        lose(tx, pipelined, run_id, "its process died")
        mark_cancelled(tx, pipelined, run_id, "ada")
        requeue(tx, pipelined, run_id)
    row = queries.run(pipelined, run_id)
    assert (row.state, row.error) == (RunState.LOST, "its process died")
    assert [step.state for step in row.steps] == ["succeeded", "failed", "skipped"]
    assert row.steps[1].error == "its process died"
    assert events(pipelined, f"run/{run_id}")[-1][0] == "run.lost"


def test_a_requeued_run_waits_again(pipelined: Workspace) -> None:
    run_id = submit(pipelined, "train")
    start(pipelined, run_id)
    with pipelined.state.write("requeue") as tx:
        requeue(tx, pipelined, run_id)
    assert queries.run(pipelined, run_id).state is RunState.QUEUED


def test_pipelines_are_listed_with_their_newest_run(pipelined: Workspace) -> None:
    (before,) = queries.pipelines(pipelined)
    assert (before.name, before.file, before.runs, before.last_state) == ("train", "pipelines/train.py", 0, None)
    submit(pipelined, "train")
    newest = submit(pipelined, "train")
    (after,) = queries.pipelines(pipelined)
    assert (after.runs, after.last_run, after.last_state) == (2, newest, RunState.QUEUED)
    assert [row.id for row in queries.runs(pipelined, "train", limit=1)] == [newest]
