"""What may be behind an alert: ranked by what fits it, explains its columns and is near; and what is no suspect."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from quarterdeck import lineage
from quarterdeck.datasets.ingestion import add
from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.rollout import deploy
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Severity
from quarterdeck.monitoring.evaluation import evaluate
from quarterdeck.monitoring.incident import as_markdown, incident
from quarterdeck.monitoring.queries import alerts
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.monitoring.suspects import Suspect, suspects
from quarterdeck.registry.inspection import infer_signature
from quarterdeck.registry.registration import Candidate, register
from quarterdeck.registry.version import Format, Task
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock
from tests.watched import HOUR, START, close, rows, send, serve, watch

PLAIN = rows(200, seed=1)


def clock_of(workspace: Workspace) -> FakeClock:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    return clock


def at(workspace: Workspace, hours: float) -> None:
    """The clock is that many hours after the first window's start."""
    clock_of(workspace).moment = START + hours * HOUR


def version(
    workspace: Workspace,
    *sources: str,
    model: str = "d",
    environment: dict[str, str] | None = None,
    whole: bool = False,
) -> int:
    """Register a version that was made from `sources`; its number."""
    age = PLAIN["age"].round().astype(int) if whole else PLAIN["age"]
    frame = PLAIN.assign(age=age, fraud=[0, 1] * 100)
    candidate = Candidate(
        model=model,
        format=Format.EXTERNAL,
        task=Task.CLASSIFICATION,
        artifact=None,
        signature=infer_signature(frame, target="fraud"),
        example=[],
        reference=None,
        profile=[],
        metrics={},
        importances={},
        environment=environment or {},
    )
    with workspace.state.write("test") as tx:
        number = register(tx, workspace, candidate).number
        for source in sources:
            lineage.connect(tx, source, f"version/{model}@{number}")
    return number


def put(workspace: Workspace, number: int, *, name: str = "d", model: str = "d") -> None:
    deploy(workspace, name, model=model, version=number, reason="test", served_by=ServedBy.EXTERNAL)


def add_data(workspace: Workspace, name: str, frame: pd.DataFrame) -> str:
    path = workspace.root / f"{name}-{len(list(workspace.root.glob(name + '*')))}.csv"
    frame.to_csv(path, index=False)
    return f"data/{name}@{add(workspace, name, path).number}"


def run(workspace: Workspace, number: int, source: str) -> str:
    with workspace.state.write("test") as tx:
        data = {"pipeline": "train", "source": source, "commit": "4f2c9ab1234", "version": f"d@{number}"}
        workspace.record(tx, "run.succeeded", f"run/{number}", data)
    return f"run/{number}"


def score(column: str, **changes: Any) -> dict[str, Any]:
    quiet = {
        "column": column,
        "measure": "wasserstein_normed",
        "effect": 0.01,
        "q_value": 0.9,
        "missing_current": 0.0,
        "missing_reference": 0.0,
        "unseen": 0.0,
        "slice": None,
        "importance": 0.5,
        "verdict": "quiet",
        "missing_verdict": "quiet",
        "unseen_verdict": "quiet",
    }
    return {**quiet, **changes}


def moved(column: str = "amount", **changes: Any) -> dict[str, Any]:
    return score(column, verdict="drifted", effect=2.0, **changes)


def judged(
    workspace: Workspace,
    window: int,
    number: int,
    *scores: dict[str, Any],
    served: bool = True,
    verdict: Verdict | None = None,
    n: int = 500,
) -> None:
    """A window of an hour was judged against a version."""
    strange = any("drifted" in (row["verdict"], row["missing_verdict"]) for row in scores)
    result = Result(
        monitor="m",
        deployment="d",
        aspect=Aspect.INPUTS,
        version=number,
        served=served,
        window_start=START + window * HOUR,
        window_end=START + (window + 1) * HOUR,
        n_reference=1000,
        n_current=n,
        verdict=verdict or (Verdict.FOUND if strange else Verdict.QUIET),
        scores=list(scores),
        evaluated_at=workspace.now(),
    )
    with workspace.state.write("test") as tx:
        tx.add(result)


def opened(
    workspace: Workspace,
    window: int,
    number: int,
    *columns: str,
    kind: AlertKind = AlertKind.DRIFT,
    deployment: str = "d",
) -> int:
    """An alert that began in a window; its number."""
    alert = Alert(
        monitor="m",
        deployment=deployment,
        version=number,
        kind=kind,
        columns=list(columns),
        severity=Severity.PAGE,
        score=1.0,
        state=AlertState.OPEN,
        summary="something moved",
        evidence={},
        onset=START + window * HOUR,
        last_window_end=START + (window + 2) * HOUR,
        opened_at=workspace.now(),
    )
    with workspace.state.write("test") as tx:
        tx.add(alert)
        tx.flush()
        assert alert.id is not None
        return alert.id


def said(found: tuple[Suspect, ...]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.kind, one.reference, one.columns) for one in found]


@pytest.fixture
def deck(workspace: Workspace) -> Workspace:
    """Version 1 serves from the first window on, and 2 from ten minutes before the fifth."""
    deck = watch(workspace)
    at(deck, -1)
    version(deck)
    put(deck, 1)
    at(deck, 3.8)
    version(deck)
    put(deck, 2)
    at(deck, 6)
    return deck


def test_what_is_strange_to_the_earlier_version_too_comes_from_upstream(deck: Workspace) -> None:
    judged(deck, 4, 2, moved(slice="channel=app"), score("age"))
    judged(deck, 4, 1, moved(), score("age"), served=False)
    first, second = suspects(deck, opened(deck, 4, 2, "amount"))
    assert (first.kind, first.reference, first.columns, first.score) == ("inputs", "monitor/m", ("amount",), 1.0)
    assert first.what == "amount moved in channel=app by 2 sigma"
    assert "strange to version 2 and to version 1 alike" in first.why
    assert first.when == START + 4 * HOUR
    assert first.at is None
    assert (second.kind, second.reference) == ("revision", "revision/d@2")
    assert second.score < 0.1
    assert "as strange to version 1" in second.why


def test_what_is_strange_to_the_new_version_only_points_to_its_deployment(deck: Workspace) -> None:
    judged(deck, 4, 2, moved(), score("age"))
    judged(deck, 4, 1, score("amount"), score("age"), served=False)
    (only,) = suspects(deck, opened(deck, 4, 2, "amount"))
    assert (only.kind, only.reference, only.columns) == ("revision", "revision/d@2", ("amount",))
    assert only.what == "version 2 was deployed, in place of version 1: revision 2, by tester (test)"
    assert only.why == "amount is strange to version 2 and familiar to version 1"
    # Twelve minutes before the onset, and findings must persist within three hours: 1 / (1 + 0.2 / 3).
    assert only.score == pytest.approx(0.9375)
    assert only.seconds_before == pytest.approx(720)


def test_worse_answers_to_inputs_that_both_versions_know_point_to_the_deployment_too(deck: Workspace) -> None:
    judged(deck, 4, 2, score("amount"))
    judged(deck, 4, 1, score("amount"), served=False)
    (only,) = suspects(deck, opened(deck, 4, 2, "roc_auc", kind=AlertKind.QUALITY))
    assert (only.kind, only.columns) == ("revision", ())
    assert only.score == pytest.approx(0.8 * 0.9375)
    assert "familiar to versions 1 and 2 alike" in only.why


def test_worse_answers_to_inputs_that_are_strange_to_both_come_from_upstream_by_the_columns_weight(
    deck: Workspace,
) -> None:
    for number in (1, 2):
        rows_of = (moved(importance=0.7), moved("age", importance=0.0))
        judged(deck, 4, number, *rows_of, served=number == 2)
    first, second = suspects(deck, opened(deck, 4, 2, "roc_auc", kind=AlertKind.ESTIMATE))
    assert (first.kind, first.columns, first.score) == ("inputs", ("amount", "age"), 0.7)
    assert second.kind == "revision"
    assert second.score == pytest.approx(0.3 * 0.9375)


def test_a_version_that_had_too_few_rows_to_judge_was_not_asked(deck: Workspace) -> None:
    judged(deck, 4, 2, moved())
    judged(deck, 4, 1, score("amount", verdict="inconclusive"), served=False, verdict=Verdict.INCONCLUSIVE)
    first, second = suspects(deck, opened(deck, 4, 2, "amount"))
    assert (first.kind, first.score) == ("inputs", 0.8)
    assert "no earlier version could be asked" in first.why
    assert second.kind == "revision"
    assert second.score == pytest.approx(0.5 * 0.9375)


def test_the_nearer_of_two_rises_upstream_counts_more_and_the_alerts_own_column_most(deck: Workspace) -> None:
    nulls = score("age", missing_verdict="drifted", missing_current=0.4, missing_reference=0.05)
    new = score("channel", unseen=0.25, unseen_verdict="drifted")
    for window in (2, 3):
        judged(deck, window, 1, score("amount"), nulls, score("channel"))
    judged(deck, 4, 2, moved(), nulls, new)
    judged(deck, 4, 1, moved(), nulls, new, served=False)
    found = [one for one in suspects(deck, opened(deck, 4, 2, "amount")) if one.kind == "inputs"]
    assert [(one.columns, round(one.score, 2)) for one in found] == [
        (("amount",), 1.0),
        (("channel",), 0.5),
        (("age",), 0.3),
    ]
    assert found[1].what == "25% of channel are values that the reference has not"
    assert found[2].what == "40% of age missing, 5% in the reference"
    assert found[2].when == START + 2 * HOUR


def test_what_made_a_version_stands_below_its_revision(workspace: Workspace) -> None:
    deck = watch(workspace)
    at(deck, -1)
    old = add_data(deck, "payments", PLAIN)
    version(deck, old, run(deck, 1, "source-1"), environment={"numpy": "2.0"}, whole=True)
    put(deck, 1)
    at(deck, 3.78)
    new = add_data(deck, "payments", PLAIN.assign(amount=PLAIN["amount"] * 100))
    at(deck, 3.8)
    made = version(deck, new, run(deck, 2, "source-2"), environment={"numpy": "2.1"})
    put(deck, made)
    at(deck, 6)
    judged(deck, 4, 2, moved())
    judged(deck, 4, 1, score("amount"), served=False)
    found = suspects(deck, opened(deck, 4, 2, "roc_auc", kind=AlertKind.QUALITY))
    assert said(found) == [
        ("revision", "revision/d@2", ("amount",)),
        ("data", "data/payments@2", ("amount",)),
        ("schema", "version/d@2", ("age",)),
        ("code", "run/2", ("amount",)),
        ("packages", "version/d@2", ("amount",)),
    ]
    by_kind = {one.kind: one.what for one in found}
    assert by_kind["data"] == "version 2 learnt from it, version 1 from payments@1"
    assert by_kind["schema"] == "version 2 takes other inputs than version 1: age is number, was integer"
    assert "other pipeline code (commit 4f2c9ab123) than version 1 by run/1" in by_kind["code"]
    assert by_kind["packages"] == "version 2 was made with numpy 2.1 instead of 2.0"


def test_the_same_code_is_no_suspect(workspace: Workspace) -> None:
    deck = watch(workspace)
    at(deck, -1)
    version(deck, run(deck, 1, "source-1"))
    put(deck, 1)
    at(deck, 3.8)
    put(deck, version(deck, run(deck, 2, "source-1")))
    at(deck, 6)
    judged(deck, 4, 2, moved())
    judged(deck, 4, 1, score("amount"), served=False)
    assert [one.kind for one in suspects(deck, opened(deck, 4, 2, "amount"))] == ["revision"]


def test_a_data_version_of_another_shape_is_a_suspect_and_one_of_another_dataset_is_not(workspace: Workspace) -> None:
    deck = watch(workspace)
    at(deck, -1)
    version(deck, add_data(deck, "payments", PLAIN))
    add_data(deck, "weather", PLAIN)
    put(deck, 1)
    for window in range(4):
        judged(deck, window, 1, score("amount"))
    at(deck, 3.8)
    gaps = PLAIN.assign(amount=PLAIN["amount"].where(PLAIN.index > 20))
    add_data(deck, "weather", gaps)
    add_data(deck, "payments", gaps.assign(channel=PLAIN["channel"].replace("app", "phone")))
    at(deck, 6)
    judged(deck, 4, 1, score("amount", missing_verdict="drifted", missing_current=0.1))
    alert = opened(deck, 4, 1, "amount", kind=AlertKind.MISSING)
    add_data(deck, "payments", gaps.assign(late=1))
    assert said(suspects(deck, alert)) == [
        ("inputs", "monitor/m", ("amount",)),
        ("schema", "data/payments@2", ("amount", "channel")),
    ]
    assert (
        suspects(deck, alert)[1].what
        == "unlike version 1: amount has missing values, had none, channel has phone, had not"
    )


def test_no_suspect_is_another_deployment_or_what_came_after_the_window_or_was_replaced_again(deck: Workspace) -> None:
    version(deck, model="other")
    at(deck, 6.3)
    put(deck, 1, name="other", model="other")
    at(deck, 6.5)
    put(deck, 1)
    at(deck, 9)
    judged(deck, 7, 1, moved())
    judged(deck, 7, 2, moved(), served=False)
    alert = opened(deck, 7, 1, "amount")
    put(deck, 2)
    put(deck, 1)
    # Revision 1 put the same version there and was replaced; 4 and 5 came after the window.
    assert [one.reference for one in suspects(deck, alert)] == ["monitor/m", "revision/d@3"]


def test_a_version_that_came_later_is_not_asked_who_is_to_blame(deck: Workspace) -> None:
    judged(deck, 1, 1, moved())
    judged(deck, 1, 2, score("amount"), served=False)
    first, second = suspects(deck, opened(deck, 1, 1, "amount"))
    assert (first.kind, first.columns, first.score) == ("inputs", ("amount",), 0.8)
    assert (second.reference, second.why) == (
        "revision/d@1",
        "version 1 is the first that served, and had seen no quiet window",
    )


def test_a_first_revision_that_saw_a_quiet_window_is_no_suspect(workspace: Workspace) -> None:
    deck = watch(workspace)
    at(deck, -1)
    version(deck)
    put(deck, 1)
    at(deck, 3)
    judged(deck, 0, 1, score("amount"), moved("age"))
    judged(deck, 1, 1, moved())
    (only,) = suspects(deck, opened(deck, 1, 1, "amount"))
    assert only.kind == "inputs"
    assert "had served quiet windows before" in only.why


def test_a_deployment_within_the_first_window_may_be_behind_it(deck: Workspace) -> None:
    judged(deck, 3, 2, moved())
    judged(deck, 3, 1, score("amount"), n=100)
    (only,) = suspects(deck, opened(deck, 3, 2, "amount"))
    assert (only.reference, only.score, only.seconds_before) == ("revision/d@2", 1.0, 0.0)


def test_an_outage_points_to_the_revision_by_the_clock(deck: Workspace) -> None:
    alert = opened(deck, 4, 2, kind=AlertKind.OUTAGE)
    (only,) = suspects(deck, alert)
    assert (only.reference, only.why) == ("revision/d@2", "version 2 is what took the gateway along")


def test_a_past_that_is_played_is_placed_by_the_traffic_and_not_by_the_clock(workspace: Workspace) -> None:
    """Windows pass within a minute each: by the clock every deployment were after every window."""
    deck = watch(workspace)
    serve(deck, rows(1000, seed=1))
    clock = clock_of(deck)
    for window in range(2):
        clock.advance(minutes=1)
        send(deck, rows(300, seed=10 + window), window)
    clock.advance(minutes=1)
    serve(deck, rows(1000, seed=2, shift=-50))
    for window in range(2, 4):
        clock.advance(minutes=1)
        send(deck, rows(300, seed=10 + window), window, version=2)
        evaluate(deck, "m")
    close(deck, 3)
    evaluate(deck, "m")
    (alert,) = alerts(deck)
    assert (alert.columns, alert.onset) == (("amount",), START + 2 * HOUR)
    (only,) = suspects(deck, alert.id)
    assert (only.reference, only.columns) == ("revision/d@2", ("amount",))
    assert START + 1.9 * HOUR < only.when < START + 2.1 * HOUR
    assert only.at is not None
    assert only.at - only.when > 9 * HOUR
    page = as_markdown(incident(deck, alert.id))
    assert "## Suspects" in page
    assert "1. **revision/d@2**" in page


def test_an_alert_that_is_not_there(workspace: Workspace) -> None:
    with pytest.raises(NotFoundError, match="no alert 7"):
        suspects(workspace, 7)
