"""One cause over many models is one alert to people."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.rollout import deploy
from quarterdeck.monitoring import queries
from quarterdeck.monitoring.acknowledgement import acknowledge
from quarterdeck.monitoring.alert import Judgement
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.notice import Notice
from quarterdeck.monitoring.silence import silence, unsilence
from quarterdeck.processes import here
from quarterdeck.runner import lease
from quarterdeck.runner.reactions import react
from quarterdeck.runner.telling import form_messages
from quarterdeck.settings import Settings
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.traffic.recording import record
from quarterdeck.workspace import Workspace
from tests.watched import HOUR, START, close, rows, send, serve, told, watch

IMPORTANT = {"amount": 0.9, "age": 0.1, "channel": 0.0}


def send_to(workspace: Workspace, deployment: str, window: int, shift: float) -> None:
    frame = rows(400, seed=600 + window, shift=shift)
    step = HOUR / (len(frame) + 1)
    record(
        workspace,
        [
            {
                "deployment": deployment,
                "id": f"{deployment}-{window}-{i}",
                "received_at": workspace.now(),
                "event_time": START + window * HOUR + (i + 1) * step,
                "version": 1,
                "inputs": list(values),
                "prediction": 0,
                "probabilities": [0.5, 0.5],
            }
            for i, values in enumerate(frame.itertuples(index=False))
        ],
    )


@pytest.fixture
def both(workspace: Workspace) -> Workspace:
    """Deployments `d` and `e` of one model, each with its monitor; in both `amount` has moved."""
    watched = watch(workspace)
    monitors = {**watched.settings.monitors, "n": watched.settings.monitors["m"].model_copy(update={"deployment": "e"})}
    settings = watched.settings.model_copy(update={"monitors": monitors})
    assert isinstance(settings, Settings)
    assert isinstance(monitors["n"], MonitorSettings)
    watched = replace(watched, settings=settings)
    serve(watched, rows(2_000, seed=1), importances=IMPORTANT)
    deploy(watched, "e", model="d", version=1, served_by=ServedBy.EXTERNAL)
    for window in range(2):
        send(watched, rows(400, seed=600 + window, shift=8), window)
        send_to(watched, "e", window, shift=8)
    close(watched, 1)
    send_to(watched, "e", 2, shift=0)
    evaluate(watched, "m")
    evaluate(watched, "n")
    return watched


def test_the_first_stands_for_the_others_and_both_are_there(both: Workspace) -> None:
    (shown,) = queries.alerts(both)
    assert (shown.deployment, shown.columns, shown.also) == ("d", ("amount",), ("e v1",))
    first, second = sorted(queries.alerts(both, all=True), key=lambda row: row.id)
    assert (first.cause, second.cause) == (None, first.id)
    (own,) = queries.alerts(both, deployment="e")
    assert own.id == second.id


def test_people_are_told_of_one_and_again_when_another_joins(both: Workspace) -> None:
    hooked, _ = told(both, "http://a")
    assert lease.acquire(hooked, here(), timedelta(minutes=1))
    react(hooked)
    with hooked.state.read() as tx:
        notices = tx.exec(select(Notice)).all()
    assert [notice.subject for notice in notices] == ["alert/1", "alert/1"]
    assert form_messages(hooked) == 1  # Both at once: one message.


def test_taking_it_on_and_silencing_it_holds_for_all_of_them(both: Workspace) -> None:
    acknowledge(both, 1, Judgement.REAL)
    assert {row.judgement for row in queries.alerts(both, all=True)} == {"real"}
    silence(both, 1, timedelta(hours=2), reason="upstream mends it")
    assert {row.state for row in queries.alerts(both, all=True)} == {"silenced"}
    unsilence(both, 1)
    assert {row.state for row in queries.alerts(both, all=True)} == {"acknowledged"}


def test_when_the_first_ends_the_next_stands_for_itself(both: Workspace) -> None:
    for window in range(3, 7):
        send(both, rows(400, seed=700 + window), window)
    close(both, 6)
    evaluate(both, "m")
    (left,) = queries.alerts(both)
    assert (left.deployment, left.cause, left.also) == ("e", None, ())


def test_another_column_or_another_time_is_another_cause(both: Workspace) -> None:
    frame = rows(400, seed=800)
    for window in range(8, 10):
        moved = frame.assign(age=frame["age"] + 60)
        send(both, moved, window)
    close(both, 9)
    evaluate(both, "m")
    assert {row.columns: row.cause for row in queries.alerts(both, all=True)}["age",] is None
