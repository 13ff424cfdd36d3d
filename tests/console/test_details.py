"""What the panes tell about one row, and the words they are told in."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

from sqlmodel import select

from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.queries import operations
from quarterdeck.deployments.revision import RevisionKind
from quarterdeck.deployments.rows import OutputRow
from quarterdeck.monitoring.alert import AlertKind, Severity
from quarterdeck.monitoring.burning import watch_budgets
from quarterdeck.registry.version import ModelVersion
from quarterdeck.runner.job import Job
from quarterdeck.settings import Settings
from quarterdeck.traffic.recording import record, record_answered, record_unanswered
from quarterdeck.workspace import Workspace
from quarterdeck_console.formatting import Page, bars, raw
from quarterdeck_console.screens import rollback_text
from quarterdeck_console.screens.audit import AuditPane
from quarterdeck_console.screens.deployments import DeploymentsPane
from quarterdeck_console.screens.pipelines import RunsPane
from quarterdeck_console.screens.pulse import QUARTERS, PulseDeployments, read_pulse
from quarterdeck_console.screens.registry import VersionsPane
from quarterdeck_console.widgets.text_view import TextView
from tests.console.conftest import Console
from tests.console.driving import settled
from tests.console.seeding import clock_of, make_alert, write

PROFILE = [
    {
        "name": "amount",
        "type": "numeric",
        "rows": 200,
        "missing": 5,
        "mean": 51.25,
        "std": 20.0,
        "minimum": 0.0,
        "maximum": 100.0,
        "quantiles": [float(5 * part) for part in range(21)],
        "categories": None,
    },
    {
        "name": "channel",
        "type": "categorical",
        "rows": 200,
        "missing": 0,
        "mean": None,
        "std": None,
        "minimum": None,
        "maximum": None,
        "quantiles": None,
        "categories": {"app": 120, "web": 50, "pos": 20, "post": 10},
    },
]


def test_the_profile_of_the_reference_rows_is_part_of_a_version(seeded: Workspace) -> None:
    with seeded.state.write("test") as tx:
        for version in tx.exec(select(ModelVersion)):
            version.profile = PROFILE
            tx.add(version)
    pane = VersionsPane("fraud")
    card = pane.detail(seeded, pane.read(seeded, 10)[0]).plain
    rows = {line.split()[0]: line.split() for line in card.partition("Reference rows")[2].splitlines() if line.strip()}
    assert rows["amount"][1:] == ["2.5%", "51.25", "5", "50", "95", "-"]
    assert " ".join(rows["channel"][1:]) == "0.0% - - - - app 60%, web 25%, pos 10%"


def test_the_log_of_a_run_is_found_below_any_number_of_newer_jobs(seeded: Workspace) -> None:
    pane = RunsPane("nightly")
    before = pane.log(seeded, pane.read(seeded, 10)[-1])
    assert before is not None
    with seeded.state.read() as tx:
        job = tx.exec(select(Job)).first()
        assert job is not None
        values = job.model_dump(exclude={"id", "key", "subject"})
    write(seeded, *(Job(**values, key=f"monitor/{n}", subject=f"monitor/{n}") for n in range(250)))
    assert pane.log(seeded, pane.read(seeded, 10)[-1]) == before


def test_an_event_is_a_row_of_its_own_and_raw_json_for_scripts(seeded: Workspace) -> None:
    rows = AuditPane().read(seeded, 3)
    assert [row.id for row in rows] == sorted((row.id for row in rows), reverse=True)
    assert dataclasses.is_dataclass(rows[0])
    assert json.loads(raw(rows[0]))["kind"] == rows[0].kind


def test_a_deployment_tells_of_its_objectives_in_a_line_each_where_it_has_some(seeded: Workspace) -> None:
    pane = DeploymentsPane()
    row = next(row for row in pane.read(seeded, 10) if row.name == "fraud")
    assert "Objectives" not in pane.detail(seeded, row).plain
    slo = {"availability": 0.999, "latency": {"target": 0.99, "within": "50ms"}, "quality": 0.95}
    settings = Settings.model_validate(
        {"deployments": {"fraud": {"slo": slo}}, "monitors": {"m": {"deployment": "fraud"}}}
    )
    wanting = dataclasses.replace(seeded, settings=settings)
    for _ in range(3):
        record_answered(wanting, {("fraud", 1000): 9_000, ("fraud", 90_000): 995})
        record_unanswered(wanting, "fraud", 2, reason="failed", count=5)
        clock_of(wanting).advance(minutes=1)
    watch_budgets(wanting)
    told = pane.detail(wanting, row).plain.partition("Objectives over 30d\n")[2].splitlines()[:3]
    assert [" ".join(line.split()) for line in told] == [
        "availability ● holds 99.95% of 99.9% 50%, 15 requests left",
        "latency ✖ page 90.0% of 99% (50ms) overspent by 2,685 answers",
        "quality ○ no data 95% wanted",
    ]
    assert max(map(len, told)) <= 76


def test_pulse_ranks_a_deployment_by_its_worst_alert_and_not_by_its_mildest(seeded: Workspace) -> None:
    now = seeded.now()
    write(
        seeded,
        make_alert(10, ["x"], Severity.WARNING, 0.01, now, kind=AlertKind.DRIFT),
        make_alert(11, ["x"], Severity.WARNING, 0.5, now, kind=AlertKind.DRIFT, deployment="churn"),
    )
    deployments = read_pulse(seeded).rows[QUARTERS.index(next(p for p in QUARTERS if p.name == "deployments"))]
    assert [row.source.name for row in deployments] == ["fraud", "churn"]


def test_pulse_draws_the_last_minute_of_each_deployment(seeded: Workspace) -> None:
    clock_of(seeded).advance(minutes=5)
    now = seeded.now()
    record(
        seeded,
        [
            {
                "deployment": "fraud",
                "id": f"late-{number}",
                "received_at": now - timedelta(seconds=30) + timedelta(microseconds=number),
                "version": 2,
                "revision": 2,
                "inputs": [1.0, 41, "app"],
                "prediction": 0,
                "probabilities": [0.3, 0.7],
                "latency_us": 900,
            }
            for number in range(9)
        ],
    )
    counts = {row.name: row.counts for row in PulseDeployments().read(seeded, 10)}
    assert sorted(counts["fraud"]) == [0] * 9 + [9]
    assert counts["fraud"].index(9) in (4, 5)
    assert not any(counts["churn"])


def test_bars_stand_against_the_highest_one_and_nothing_is_blank() -> None:
    assert bars([0, 1, 4, 8]) == " ▁▄█"
    assert bars([0, 0]) == "  "


async def test_a_long_value_goes_on_under_the_value_also_where_the_field_has_no_name(
    seeded: Workspace, console: Console
) -> None:
    long = "schedule nightly runs pipeline train at 02:00, " * 4
    page = Page().field("undone by", long).field("", long).line(long)
    async with console(seeded) as pilot:
        view = TextView()
        await pilot.app.screen.mount(view)
        view.show(page.text)
        await settled(pilot, lambda: view.line_count > 5)
        lines = [line.plain for line in view._lines if line.plain.strip()]
    indents = [len(line) - len(line.lstrip()) for line in lines]
    assert set(indents[1:-2]) == {15}
    assert indents[-2:] == [0, 2]


def elsewhere(workspace: Workspace, **changes: Any) -> str:
    """The watch of an operation that no gateway worker has to do with."""
    nothing: dict[str, Any] = {"verified_at": None, "routed_at": None, "workers": 0, "proofs": ()}
    said = rollback_text.watching(dataclasses.replace(operations(workspace)[0], **{**nothing, **changes})).plain
    assert "gateway" not in said.lower()
    return said


def test_what_is_served_elsewhere_waits_for_a_prediction_and_not_for_our_gateway(seeded: Workspace) -> None:
    there: dict[str, Any] = {"served_by": ServedBy.EXTERNAL, "kind": RevisionKind.DEPLOY}
    assert "verified by the first prediction" in elsewhere(seeded, state=OperationState.UNPROVEN, **there)
    there["kind"] = RevisionKind.ROLLBACK
    assert "Waiting for the rollback_command" in elsewhere(seeded, state=OperationState.PLANNED, **there)
    assert "The command ended well" in elsewhere(seeded, state=OperationState.UNPROVEN, **there)
    failed = elsewhere(seeded, state=OperationState.FAILED, error="it ended with status 3", **there)
    assert "It failed: it ended with status 3" in failed


def test_a_batch_rollback_names_what_is_to_be_scored_again(seeded: Workspace) -> None:
    at = operations(seeded)[0].planned_at
    output = OutputRow(1, "payments", 2, 2, "in.csv", "scored/monday.csv", "d", 1200, "alice", at, at)
    batch: dict[str, Any] = {"served_by": ServedBy.BATCH, "kind": RevisionKind.ROLLBACK, "outputs": (output,)}
    said = elsewhere(seeded, state=OperationState.UNPROVEN, **batch)
    assert "scored/monday.csv  1,200 rows" in said
    assert "S scores them again" in said
    assert "The next score uses it" in said
