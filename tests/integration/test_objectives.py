"""From counted requests to alerts about error budgets, on real files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from quarterdeck import events
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring import queries
from quarterdeck.monitoring.acknowledgement import acknowledge
from quarterdeck.monitoring.alert import Alert, AlertKind, AlertState, Judgement, Severity
from quarterdeck.monitoring.burning import watch_budgets
from quarterdeck.monitoring.queries import AlertRow
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.monitoring.silence import silence
from quarterdeck.monitoring.standing import ObjectiveRow, standings
from quarterdeck.settings import Settings
from quarterdeck.traffic.compaction import compact
from quarterdeck.traffic.recording import latency_class, record, record_answered, record_unanswered
from quarterdeck.workspace import Workspace
from tests.fakes import FakeClock
from tests.watched import rows, serve

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def clock_of(workspace: Workspace) -> FakeClock:
    clock = workspace.ports.clock
    assert isinstance(clock, FakeClock)
    return clock


def wanting(workspace: Workspace, *, monitor: bool = False, **slo: Any) -> Workspace:
    """The workspace with these objectives for deployment `d`."""
    sections: dict[str, Any] = {"deployments": {"d": {"slo": slo} if slo else {}}}
    if monitor:
        sections["monitors"] = {"m": {"deployment": "d", "owner": "anna"}}
    return replace(workspace, settings=Settings.model_validate(sections))


@pytest.fixture
def available(workspace: Workspace) -> Workspace:
    """99.9% of requests to `d` are to be answered."""
    return wanting(workspace, availability=0.999)


def pass_time(
    workspace: Workspace,
    length: timedelta,
    *,
    good: int = 0,
    bad: int = 0,
    reason: str = "failed",
    latency_us: int = 900,
    step: timedelta = MINUTE,
    watched: bool = True,
) -> None:
    """At each step so many requests, and the runner's look after it."""
    for _ in range(length // step):
        clock_of(workspace).moment += step
        if good:
            record_answered(workspace, {("d", latency_class(latency_us)): good})
        if bad:
            record_unanswered(workspace, "d", 1, reason=reason, count=bad)
        if watched:
            watch_budgets(workspace)


def alerts(workspace: Workspace) -> list[AlertRow]:
    return queries.alerts(workspace, all=True)


def told(workspace: Workspace) -> list[tuple[str, str]]:
    """What happened to alerts, and with what severity."""
    with workspace.state.read() as tx:
        found = [event for event in events.after(tx, 0) if event.kind.startswith("alert.")]
    return [(event.kind.removeprefix("alert."), event.data["severity"]) for event in found]


def standing(workspace: Workspace) -> ObjectiveRow:
    (row,) = standings(workspace)
    return row


def until(condition: Callable[[], bool], step: Callable[[], None], *, most: int) -> int:
    """How many steps it takes until the condition holds."""
    for number in range(most + 1):
        if condition():
            return number
        step()
    raise AssertionError(f"not within {most} steps")


def test_a_burst_of_errors_pages_within_minutes_and_says_what_since_when_and_until_when(available: Workspace) -> None:
    serve(available, rows(200, seed=1))
    pass_time(available, 10 * DAY, good=1_000, step=HOUR, watched=False)
    pass_time(available, HOUR, good=100, watched=False)
    began = available.now()
    minutes = until(lambda: bool(alerts(available)), lambda: pass_time(available, MINUTE, good=50, bad=50), most=20)
    # Half of all requests fail, 500 times what is allowed: 14.4 in the last hour are reached within two minutes.
    assert minutes == 2
    (alert,) = alerts(available)
    assert (alert.kind, alert.columns, alert.severity, alert.state) == ("slo", ("availability",), "page", "open")
    assert (alert.deployment, alert.version, alert.monitor) == ("d", 1, "d")
    assert began - MINUTE < alert.onset <= began + MINUTE
    assert alert.summary == (
        "availability burns its budget at 16x over 1h and 167x over 5m, since 2026-01-15 13:01 UTC: 98.36% of requests "
        "over 1h, 99.9% wanted; 59% of the budget is left, spent in 3h at this pace"
    )
    assert told(available) == [("opened", "page")]
    assert alert.evidence["availability"]["bad"] == 100


def test_a_slow_burn_warns_and_does_not_page(available: Workspace) -> None:
    pass_time(available, 2 * DAY, good=10_000, step=HOUR)
    assert alerts(available) == []
    # Twice as many errors as are allowed: on the average of three days it is too many after one and a half.
    steps = until(
        lambda: bool(alerts(available)),
        lambda: pass_time(available, HOUR, good=9_980, bad=20, step=HOUR),
        most=72,
    )
    (alert,) = alerts(available)
    assert (alert.severity, steps) == ("warning", 37)
    assert "1x over 3d and 2x over 6h" in alert.summary
    pass_time(available, 12 * HOUR, good=9_980, bad=20, step=HOUR)
    assert told(available) == [("opened", "warning")]
    assert standing(available).standing == "warning"


def test_a_burn_within_the_budget_is_quiet(available: Workspace) -> None:
    pass_time(available, 4 * DAY, good=9_991, bad=9, step=HOUR)
    assert alerts(available) == []
    row = standing(available)
    assert row.standing == "holds"
    assert row.left_share == pytest.approx(0.1)


def test_a_warning_becomes_a_page_when_it_burns_faster(available: Workspace) -> None:
    pass_time(available, 3 * DAY, good=9_980, bad=20, step=HOUR)
    pass_time(available, 2 * HOUR, good=500, bad=500)
    assert told(available) == [("opened", "warning"), ("escalated", "page")]
    (alert,) = alerts(available)
    assert (alert.severity, alert.state) == ("page", "open")


def test_of_few_requests_a_single_error_pages_nobody_and_an_outage_does(available: Workspace) -> None:
    pass_time(available, HOUR, good=1, step=15 * MINUTE)
    pass_time(available, MINUTE, bad=1)
    pass_time(available, 6 * HOUR, good=1, step=15 * MINUTE)
    assert alerts(available) == []
    row = standing(available)
    # One of 29 is 34 times the budget of them all, and told where somebody looks.
    assert (row.standing, row.burns[-1].burning) == ("missed", True)
    errors = until(
        lambda: ("escalated", "page") in told(available),
        lambda: pass_time(available, 6 * MINUTE, bad=1, step=6 * MINUTE),
        most=20,
    )
    # Ten requests an hour, all in vain: with the one before the ninth warns, and the tenth of the hour pages.
    assert (errors, told(available)) == (10, [("opened", "warning"), ("escalated", "page")])


def test_recovery_resolves_a_page_when_its_short_windows_are_clean_and_does_not_warn_of_the_same_again(
    available: Workspace,
) -> None:
    pass_time(available, 4 * DAY, good=1_000, step=HOUR, watched=False)
    pass_time(available, 5 * MINUTE, good=50, bad=50)
    assert told(available) == [("opened", "page")]
    minutes = until(
        lambda: alerts(available)[0].state == "resolved", lambda: pass_time(available, MINUTE, good=100), most=40
    )
    # The rate of 6 looks back half an hour; that of 14.4 was clean long before.
    assert 26 <= minutes <= 31
    (alert,) = alerts(available)
    # The slow rate burns on by the same errors, for 6 hours; they were told of.
    assert standing(available).burns[2].burning
    pass_time(available, 7 * HOUR, good=600, step=6 * MINUTE)
    assert told(available) == [("opened", "page"), ("resolved", "page")]
    assert alert.resolved_at is not None


def test_what_burns_on_after_a_page_warns_once_it_can_be_told_apart(available: Workspace) -> None:
    pass_time(available, 4 * DAY, good=6_000, step=HOUR, watched=False)
    pass_time(available, 30 * MINUTE, good=20, bad=80)
    pass_time(available, HOUR, good=10_000)
    assert told(available) == [("opened", "page"), ("resolved", "page")]
    hours = until(
        lambda: len(told(available)) > 2, lambda: pass_time(available, HOUR, good=5_980, bad=20, step=HOUR), most=10
    )
    assert told(available)[2:] == [("reopened", "warning")]
    assert hours == 6


def test_the_same_within_a_day_is_the_same_alert_and_later_another_one(available: Workspace) -> None:
    pass_time(available, DAY, good=6_000, step=HOUR, watched=False)
    for pause in (5 * HOUR, 3 * DAY, HOUR):
        pass_time(available, 5 * MINUTE, good=20, bad=80)
        pass_time(available, HOUR, good=1_000)
        pass_time(available, pause, good=600, step=HOUR, watched=False)
    assert told(available) == [
        *[("opened", "page"), ("resolved", "page"), ("reopened", "page"), ("resolved", "page")],
        *[("opened", "page"), ("resolved", "page")],
    ]
    assert sorted((alert.id, alert.reopened) for alert in alerts(available)) == [(1, 1), (2, 0)]


def test_without_traffic_nothing_is_said_to_be_good(available: Workspace) -> None:
    row = standing(available)
    assert (row.standing, row.measured, row.left_share, row.total) == ("no data", None, None, 0)
    assert {(one.long_burn, one.short_burn, one.burning) for one in row.burns} == {(None, None, False)}
    watch_budgets(available)
    pass_time(available, 20 * MINUTE, good=50, bad=50)
    pass_time(available, 2 * DAY, step=HOUR)
    (alert,) = alerts(available)
    assert (alert.state, alert.severity) == ("open", "page")
    assert alert.summary.startswith("availability burned its budget, and no requests have come since")
    # As soon as some come, they tell.
    pass_time(available, MINUTE, good=10)
    assert told(available) == [("opened", "page"), ("resolved", "page")]


def test_what_clients_got_wrong_counts_for_neither_side(available: Workspace) -> None:
    pass_time(available, HOUR, good=10, bad=90, reason="rejected")
    assert alerts(available) == []
    assert (standing(available).total, standing(available).bad) == (600, 0)
    pass_time(available, 2 * MINUTE, bad=90, reason="overload")
    pass_time(available, 2 * MINUTE, bad=90, reason="unready")
    assert standing(available).bad == 360
    assert told(available) == [("opened", "page")]


def test_late_answers_spend_the_budget_of_latency_alone(workspace: Workspace) -> None:
    wanted = wanting(workspace, availability=0.999, latency={"target": 0.99, "within": "50ms"})
    pass_time(wanted, DAY, good=1_000, step=HOUR, latency_us=50_000)
    assert alerts(wanted) == []
    pass_time(wanted, 10 * MINUTE, good=100, latency_us=50_001)
    (alert,) = alerts(wanted)
    assert (alert.columns, alert.severity) == (("latency",), "page")
    assert "% of answers within 50ms over 1h, 99% wanted" in alert.summary
    availability, latency = standings(wanted)
    assert (availability.bad, latency.bad, latency.total) == (0, 1_000, 25_000)
    # What was counted is there for another threshold too.
    (other,) = standings(wanting(workspace, latency={"target": 0.99, "within": "60ms"}))
    assert (other.bad, other.standing) == (0, "page")


def test_two_objectives_have_an_alert_each(workspace: Workspace) -> None:
    wanted = wanting(workspace, availability=0.999, latency={"target": 0.99, "within": "50ms"})
    pass_time(wanted, 10 * MINUTE, good=50, bad=50, latency_us=90_000)
    assert [alert.columns for alert in alerts(wanted)] == [("availability",), ("latency",)]


def test_traffic_that_was_compacted_counts_the_same(available: Workspace) -> None:
    pass_time(available, DAY, good=100, bad=1, step=HOUR, watched=False)
    row = {"deployment": "d", "version": 1, "inputs": [1.0], "prediction": 0, "latency_us": 900}
    record(available, [{**row, "id": str(n), "received_at": available.now()} for n in range(50)])
    clock_of(available).advance(days=5)
    before = standings(available)
    assert compact(available).predictions == 50
    assert standings(available) == before
    assert before[0].total == 2_424


def test_alerts_end_with_their_objective(available: Workspace) -> None:
    pass_time(available, 20 * MINUTE, good=50, bad=50)
    watch_budgets(wanting(available, latency={"target": 0.99, "within": "50ms"}))
    (alert,) = alerts(available)
    assert alert.state == "resolved"
    with available.state.read() as tx:
        assert events.newest(tx, 1)[0].data["why"] == "it is no objective any more"


def test_people_take_it_on_and_silence_it_like_any_alert(workspace: Workspace) -> None:
    available = wanting(workspace, monitor=True, availability=0.999)
    pass_time(available, 20 * MINUTE, good=50, bad=50)
    acknowledge(available, 1, Judgement.REAL)
    pass_time(available, MINUTE, good=50, bad=50)
    (alert,) = alerts(available)
    assert (alert.state, alert.owner, alert.monitor) == ("acknowledged", "anna", "m")
    silence(available, 1, HOUR, reason="known")
    pass_time(available, 40 * MINUTE, good=100)
    assert alerts(available)[0].state == "resolved"


def test_nothing_is_written_while_nothing_changes(available: Workspace) -> None:
    pass_time(available, 10 * MINUTE, good=50, bad=50)

    def version() -> int:
        with available.state.read() as tx:
            return int(tx.connection().exec_driver_sql("PRAGMA data_version").scalar_one())

    pass_time(available, 2 * HOUR, step=HOUR)
    before, known = version(), alerts(available)
    pass_time(available, HOUR)
    assert (version(), alerts(available)) == (before, known)


def judged(workspace: Workspace, verdicts: str, *, length: timedelta = DAY, aspect: Aspect = Aspect.QUALITY) -> None:
    """Windows of a monitor, oldest first: `.` held, `X` was worse, `?` could not be judged. Labels take two days."""
    first = datetime(2026, 1, 5, tzinfo=workspace.now().tzinfo)
    meaning = {".": Verdict.QUIET, "X": Verdict.FOUND, "?": Verdict.INCONCLUSIVE}
    with workspace.state.write("test") as tx:
        for number, verdict in enumerate(verdicts):
            result = Result(
                monitor="m",
                deployment="d",
                aspect=aspect,
                version=1,
                served=True,
                window_start=first + number * length,
                window_end=first + (number + 1) * length,
                n_reference=0,
                n_current=400,
                verdict=meaning[verdict],
                scores=[],
                evaluated_at=workspace.now(),
            )
            tx.add(result)
    clock_of(workspace).moment = first + len(verdicts) * length + 2 * DAY


@pytest.mark.parametrize(
    ("verdicts", "severities"),
    [
        ("." * 20, []),
        ("." * 19 + "X", []),
        ("." * 17 + "X.X", ["warning"]),
        ("." * 17 + "X?X", ["warning"]),
        ("." * 16 + "X.X.", []),
    ],
)
def test_windows_that_were_worse_spend_the_budget_of_quality(
    workspace: Workspace, verdicts: str, severities: list[str]
) -> None:
    wanted = wanting(workspace, monitor=True, quality=0.9)
    judged(wanted, verdicts)
    judged(wanted, "X" * 20, aspect=Aspect.ESTIMATE)
    watch_budgets(wanted)
    assert [alert.severity for alert in alerts(wanted)] == severities
    row = standing(wanted)
    assert (row.bad, row.total) == (verdicts.count("X"), 20 - verdicts.count("?"))


def test_the_budget_of_quality_looks_back_over_three_windows_however_long_they_are(workspace: Workspace) -> None:
    wanted = wanting(workspace, monitor=True, quality=0.9)
    judged(wanted, "....X.X", length=4 * DAY)
    watch_budgets(wanted)
    (alert,) = alerts(wanted)
    assert alert.summary == (
        "quality burns its budget at 6.7x over 12d and 10x over 6h, since 2026-01-21 00:00 UTC: 33.3% of windows over "
        "12d, 90% wanted; the budget is spent 2.9 times over"
    )
    assert [(one.long, one.short) for one in standing(wanted).burns] == [("12d", "6h")]


def test_a_burst_of_worse_windows_warns_and_pages_nobody(workspace: Workspace) -> None:
    wanted = wanting(workspace, monitor=True, quality=0.9)
    judged(wanted, "." * 100 + "X" * 20, length=HOUR)
    watch_budgets(wanted)
    assert [alert.severity for alert in alerts(wanted)] == ["warning"]


def test_while_a_monitor_tells_of_worse_predictions_their_budget_does_not_tell_it_again(workspace: Workspace) -> None:
    wanted = wanting(workspace, monitor=True, quality=0.9)
    judged(wanted, "." * 17 + "X.X")
    now = wanted.now()
    with wanted.state.write("test") as tx:
        known = Alert(
            monitor="m",
            deployment="d",
            version=1,
            kind=AlertKind.QUALITY,
            columns=["roc_auc"],
            severity=Severity.WARNING,
            score=0.1,
            state=AlertState.OPEN,
            summary="worse",
            evidence={},
            onset=now,
            last_window_end=now,
            opened_at=now,
        )
        tx.add(known)
    watch_budgets(wanted)
    assert [alert.kind for alert in alerts(wanted)] == ["quality"]
    with wanted.state.write("test") as tx:
        alert = tx.get_one(Alert, 1)
        alert.resolve(now)
        tx.add(alert)
    watch_budgets(wanted)
    assert sorted(alert.kind for alert in alerts(wanted)) == ["quality", "slo"]


def test_a_deployment_without_objectives_is_named_with_those_that_have_some(available: Workspace) -> None:
    with pytest.raises(NotFoundError, match=r"'x' has no objectives\. Those that have: d"):
        standings(available, "x")
    assert standings(wanting(available)) == []
