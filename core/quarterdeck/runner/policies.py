"""Policies: what a monitor's reactions do about its alerts, and the one place that decides whether they may.

A policy fires at most once for an alert. What it does, the note of it and the event are one transaction, so neither a
runner that is killed nor one that repeats its events does anything twice. What is held is considered again when
something happens that may have changed the answer, or at its own time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta

from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from quarterdeck.deployments import backtesting, knowngood, rollout
from quarterdeck.deployments.backtest import Backtest
from quarterdeck.deployments.deployment import find_deployment
from quarterdeck.errors import BusyError, DiskError, QuarterdeckError
from quarterdeck.events import Event
from quarterdeck.monitoring.alert import OF_INPUTS, Alert, AlertKind, Severity, find_alert
from quarterdeck.pipelines import submission
from quarterdeck.pipelines.submission import Wanted
from quarterdeck.runner.job import Job
from quarterdeck.runner.obstacles import (
    LATER,
    Case,
    Obstacle,
    Policy,
    Prepared,
    desired_revision,
    first_obstacle,
    spoken_against,
)
from quarterdeck.runner.reaction import PENDING, Reaction, ReactionState, find_reaction
from quarterdeck.workspace import Workspace

FRESH = timedelta(days=1)
"""A backtest that is older says nothing about now."""
AT_ONCE = 20
_SEVERITIES = (Severity.INFORMATIONAL, Severity.WARNING, Severity.PAGE)
_ANEW = ("alert.reopened", "alert.escalated")
"""What may change an answer that was final."""


def policies(workspace: Workspace) -> list[Policy]:
    """Every reaction of every monitor, in the order of quarterdeck.toml."""
    return [
        Policy(name, monitor.deployment, settings)
        for name, monitor in workspace.settings.monitors.items()
        for settings in monitor.reactions
    ]


def followers(workspace: Workspace, alert: Alert) -> list[Policy]:
    """The policies that follow alerts of its monitor, kind and severity."""
    return [
        policy
        for policy in policies(workspace)
        if policy.monitor == alert.monitor
        and alert.kind in policy.settings.on
        and _SEVERITIES.index(alert.severity) >= _SEVERITIES.index(Severity(policy.settings.severity))
    ]


def follow_alert(workspace: Workspace, event: Event) -> None:
    """An alert is there, came back, or got worse."""
    with workspace.state.read() as tx:
        alert = find_alert(tx, int(event.subject.partition("/")[2]))
    for policy in followers(workspace, alert):
        consider(workspace, policy, int(alert.id or 0), anew=event.kind in _ANEW)


def follow_judgement(workspace: Workspace, event: Event) -> None:
    """An alert ended, or somebody judged it: that is the end of its reactions, or lets those go on that it held."""
    number = int(event.subject.partition("/")[2])
    with workspace.state.read() as tx:
        alert = find_alert(tx, number)
        held = col(Reaction.alert) == number
        if alert.kind in OF_INPUTS:
            held |= col(Reaction.deployment) == alert.deployment
        rows = tx.exec(_pending().where(held)).all()
    _consider_again(workspace, rows)


def follow_thaw(workspace: Workspace, event: Event) -> None:
    """The freeze is over."""
    with workspace.state.read() as tx:
        rows = tx.exec(_pending()).all()
    _consider_again(workspace, rows)


def follow_backtest(workspace: Workspace, event: Event) -> None:
    """A backtest is finished."""
    number = int(event.subject.partition("/")[2])
    with workspace.state.read() as tx:
        rows = tx.exec(_pending().where(Reaction.backtest == number)).all()
    _consider_again(workspace, rows)


def look_again(workspace: Workspace) -> None:
    """Consider what is due: a cool-down, a freeze, a silence or a limit may be over. Called again and again."""
    due = _pending().where(col(Reaction.again_at) <= workspace.now()).limit(AT_ONCE)
    with workspace.state.read() as tx:
        rows = tx.exec(due).all()
    for row in rows:
        try:
            _consider_again(workspace, [row])
        except (BusyError, DiskError):
            raise
        except Exception as error:  # One that fails must not stop the others, nor the runner.
            with workspace.state.write("react to an alert") as tx:
                tx.get_one(Reaction, row.id).again_at = workspace.now() + LATER
                data = {"policy": row.policy, "error": str(error)}
                workspace.record(tx, "reaction.failed", f"alert/{row.alert}", data)


def consider(workspace: Workspace, policy: Policy, alert: int, *, anew: bool = False) -> None:
    """Let a policy react to an alert, or note what holds it. `anew` asks again where the answer was final."""
    with workspace.state.read() as tx:
        if _is_settled(find_reaction(tx, policy.name, alert), anew=anew):
            return
    prepared = _prepare(workspace, policy)
    with workspace.state.write("react to an alert") as tx:
        row = find_reaction(tx, policy.name, alert)
        if _is_settled(row, anew=anew):
            return
        now = workspace.now()
        if row is None:
            row = Reaction(
                policy=policy.name,
                deployment=policy.deployment,
                alert=alert,
                state=ReactionState.HELD,
                reason="",
                considered_at=now,
            )
        elif row.state is ReactionState.OVER:
            row.backtest = None
        row.considered_at = now
        tx.add(row)
        tx.flush()
        _decide(Case(tx, workspace, policy, find_alert(tx, alert), prepared, now), row)


def _is_settled(row: Reaction | None, *, anew: bool) -> bool:
    return row is not None and (row.state is ReactionState.FIRED or (row.state is ReactionState.OVER and not anew))


def _pending() -> SelectOfScalar[Reaction]:
    return select(Reaction).where(col(Reaction.state).in_(PENDING)).order_by(col(Reaction.id))


def _consider_again(workspace: Workspace, rows: Iterable[Reaction]) -> None:
    known = {policy.name: policy for policy in policies(workspace)}
    for row in rows:
        if row.policy in known:
            consider(workspace, known[row.policy], row.alert)
            continue
        with workspace.state.write("react to an alert") as tx:
            found = tx.get_one(Reaction, row.id)
            found.state, found.again_at = ReactionState.OVER, None
            found.reason = "quarterdeck.toml does not say so any more"


def _prepare(workspace: Workspace, policy: Policy) -> Prepared:
    settings = policy.settings
    if settings.do == "retrain" and settings.pipeline is not None:
        try:
            submission.check(workspace, settings.pipeline, settings.parameters)
        except QuarterdeckError as error:
            return Prepared(no_run=str(error))
    if settings.do == "rollback":
        with workspace.state.read() as tx:
            expected = find_deployment(tx, policy.deployment).desired_revision
            return Prepared(expected=expected, way_back=knowngood.last_known_good(tx, workspace, policy.deployment))
    return Prepared()


def _decide(case: Case, row: Reaction) -> None:
    obstacle = first_obstacle(case)
    if obstacle is not None:
        _hold(case, row, obstacle)
        return
    because = case.alert.summary
    # An outage is going on: what serves cannot be asked, and there is no time.
    if case.policy.settings.asks_backtest and case.alert.kind is not AlertKind.OUTAGE:
        backtest = _current_backtest(case, row)
        if backtest is None or backtest.finished_at is None:
            _wait(case, row, backtest)
            return
        obstacle = spoken_against(case, backtest)
        if obstacle is not None:
            _hold(case, row, obstacle)
            row.backtest = row.backtest if obstacle.over else None
            return
        because = f"{backtest.reference}: {backtest.verdict}, {backtest.outcome['because']}"
    _fire(case, row, because)


def _current_backtest(case: Case, row: Reaction) -> Backtest | None:
    """The one that was asked for, while it says something about now."""
    found = case.tx.get(Backtest, row.backtest) if row.backtest is not None else None
    desired = desired_revision(case.tx, case.policy.deployment)
    if found is None or desired is None or found.version != desired.version:
        return None
    begun = found.finished_at or found.requested_at
    return found if begun > case.now - FRESH else None


def _wait(case: Case, row: Reaction, backtest: Backtest | None) -> None:
    if backtest is not None:
        job = case.tx.exec(select(Job).where(Job.key == backtest.reference)).first()
        if job is not None and not job.state.under_way:
            reason = f"job/{job.id}, which was to make {backtest.reference}, is {job.state}: retry it"
            _hold(case, row, Obstacle(reason, case.now + LATER))
            return
    number = row.backtest
    if backtest is None:
        number = backtesting.request_in(
            case.tx, case.workspace, case.policy.deployment, alert=case.alert.id, actor=_actor(case)
        )
    asked = row.state is ReactionState.WAITING and number == row.backtest
    row.state, row.backtest, row.again_at = ReactionState.WAITING, number, case.now + LATER
    row.reason = f"backtest/{number} is being made"
    if not asked:
        _tell(case, "reaction.waiting", {"backtest": number, "reason": row.reason})


def _hold(case: Case, row: Reaction, obstacle: Obstacle) -> None:
    state = ReactionState.OVER if obstacle.over else ReactionState.HELD
    told = (row.state, row.reason) == (state, obstacle.reason)
    row.state, row.reason, row.again_at = state, obstacle.reason, obstacle.again_at
    if not told:
        again_at = None if obstacle.again_at is None else obstacle.again_at.isoformat()
        _tell(case, "reaction.held", {"reason": obstacle.reason, "again_at": again_at, "over": obstacle.over})


def _fire(case: Case, row: Reaction, because: str) -> None:
    try:
        # A savepoint: what a deed that is refused has half-written goes, and that it is held is written.
        with case.tx.begin_nested():
            result = _DEEDS[case.does](case)
    except (BusyError, DiskError):
        raise
    except QuarterdeckError as error:
        _hold(case, row, Obstacle(str(error).rstrip("."), case.now + LATER))
        return
    row.state, row.reason, row.result = ReactionState.FIRED, because, result
    row.fired_at, row.again_at = case.now, None
    _tell(case, "reaction.fired", {"result": result, "because": because})


def _retrain(case: Case) -> str | None:
    settings = case.policy.settings
    wanted = Wanted(settings.pipeline or "", settings.parameters, case.alert.reference, _actor(case))
    (run,) = submission.submit_in(case.tx, case.workspace, wanted)
    return run.reference


def _roll_back(case: Case) -> str | None:
    operation = rollout.roll_back_in(
        case.tx,
        case.workspace,
        case.policy.deployment,
        to=case.prepared.way_back,
        expected=case.prepared.expected,
        reason=f"{case.alert.reference}: {case.alert.summary}",
        actor=_actor(case),
    )
    return f"operation/{operation.id}"


def _only_tell(case: Case) -> str | None:
    return None


_DEEDS: dict[str, Callable[[Case], str | None]] = {
    "retrain": _retrain,
    "rollback": _roll_back,
    "tell": _only_tell,
}


def _tell(case: Case, kind: str, data: dict[str, object]) -> None:
    facts = {
        "policy": case.policy.name,
        "do": case.does,
        "deployment": case.policy.deployment,
        "severity": case.alert.severity,
    }
    case.workspace.record(case.tx, kind, case.alert.reference, {**facts, **data}, actor=_actor(case))


def _actor(case: Case) -> str:
    return f"policy {case.policy.name}"
