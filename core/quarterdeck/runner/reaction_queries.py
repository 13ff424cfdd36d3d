"""What panes and the command line read of reactions: frozen rows, and the one line of an alert."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from quarterdeck import freezing
from quarterdeck.deployments.operation import Operation
from quarterdeck.monitoring.alert import AlertState, find_alert
from quarterdeck.pipelines.run import Run
from quarterdeck.runner.obstacles import DAY, Policy, clock
from quarterdeck.runner.policies import followers, policies
from quarterdeck.runner.reaction import PENDING, Reaction, ReactionState, fired_since
from quarterdeck.workspace import Workspace

DEEDS = {"retrain": "retrain", "rollback": "roll back", "tell": "tell"}


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A reaction of a monitor, and how it stands."""

    policy: str
    monitor: str
    deployment: str
    on: tuple[str, ...]
    severity: str
    do: str
    pipeline: str | None
    backtest: bool
    cooldown_seconds: float
    daily_limit: int
    state: str
    """*ready*, *waiting*, *held* or *cooling down*."""
    reason: str | None
    """What it waits for, or what holds it; None when it is ready."""
    alert: int | None
    """The alert that it waits with; None where it waits with none."""
    may_fire_at: datetime | None
    """When it is considered again at the latest; None where it is ready, or only an event changes anything."""
    last_fired_at: datetime | None
    last_alert: int | None
    last_result: str | None


@dataclass(frozen=True, slots=True)
class ReactionRow:
    """What a policy did about an alert, or would do."""

    policy: str
    alert: int
    state: str
    """*waiting*, *held*, *fired*, *over*; *next* where it was not considered yet."""
    reason: str
    result: str | None
    again_at: datetime | None
    backtest: int | None
    line: str
    """All of that in one line."""


def policy_rows(workspace: Workspace) -> list[PolicyRow]:
    """Every reaction of quarterdeck.toml: what it is told to do, what holds it, when it fired last."""
    with workspace.state.read() as tx:
        return [_policy_row(tx, workspace, policy) for policy in policies(workspace)]


def reactions_to(workspace: Workspace, alert: int) -> list[ReactionRow]:
    """What the policies did about an alert, and what those that follow it will consider.

    Raises:
        NotFoundError: there is no such alert.
    """
    with workspace.state.read() as tx:
        found = find_alert(tx, alert)
        rows = list(tx.exec(select(Reaction).where(Reaction.alert == alert).order_by(col(Reaction.id))))
        known = [_reaction_row(tx, workspace, row) for row in rows]
    if found.state is AlertState.RESOLVED:
        return known
    told = {row.policy for row in rows}
    waiting = [policy for policy in followers(workspace, found) if policy.name not in told]
    return known + [_not_yet(alert, policy) for policy in waiting]


def newest_lines(workspace: Workspace) -> dict[int, str]:
    """For each alert that a policy has considered the line of what came of it last."""
    with workspace.state.read() as tx:
        rows = tx.exec(select(Reaction).order_by(col(Reaction.considered_at), col(Reaction.id))).all()
        newest = {row.alert: row for row in rows}
        return {alert: _line(tx, workspace, row) for alert, row in newest.items()}


def _policy_row(tx: Session, workspace: Workspace, policy: Policy) -> PolicyRow:
    mine = select(Reaction).where(Reaction.policy == policy.name)
    pending = tx.exec(mine.where(col(Reaction.state).in_(PENDING)).order_by(col(Reaction.considered_at).desc())).first()
    fired = mine.where(Reaction.state == ReactionState.FIRED).order_by(col(Reaction.fired_at).desc())
    last = tx.exec(fired).first()
    state, reason, may_fire_at = _standing(tx, workspace, policy, pending)
    settings = policy.settings
    return PolicyRow(
        policy=policy.name,
        monitor=policy.monitor,
        deployment=policy.deployment,
        on=settings.on,
        severity=settings.severity,
        do=settings.do,
        pipeline=settings.pipeline,
        backtest=settings.asks_backtest,
        cooldown_seconds=settings.cooldown.total_seconds(),
        daily_limit=settings.daily_limit,
        state=state,
        reason=reason,
        alert=None if pending is None else pending.alert,
        may_fire_at=may_fire_at,
        last_fired_at=None if last is None else last.fired_at,
        last_alert=None if last is None else last.alert,
        last_result=None if last is None else last.result,
    )


def _standing(
    tx: Session, workspace: Workspace, policy: Policy, pending: Reaction | None
) -> tuple[str, str | None, datetime | None]:
    """How a policy stands: its state, why, and until when at the latest."""
    if pending is not None:
        return str(pending.state), pending.reason, pending.again_at
    now = workspace.now()
    freeze = freezing.in_force(tx, now)
    if freeze is not None:
        return "held", f"everything is frozen by {freeze.actor} until {clock(freeze.until, now)}", freeze.until
    fired, limit = fired_since(tx, policy.name), policy.settings.daily_limit
    ends = [fired[0] + policy.settings.cooldown] if fired else []
    ends += [fired[limit - 1] + DAY] if len(fired) >= limit else []
    until = max(ends, default=now)
    if until > now:
        return "cooling down", f"it fired at {clock(fired[0], now)}", until
    return "ready", None, None


def _reaction_row(tx: Session, workspace: Workspace, row: Reaction) -> ReactionRow:
    return ReactionRow(
        policy=row.policy,
        alert=row.alert,
        state=row.state,
        reason=row.reason,
        result=row.result,
        again_at=row.again_at,
        backtest=row.backtest,
        line=_line(tx, workspace, row),
    )


def _line(tx: Session, workspace: Workspace, row: Reaction) -> str:
    does = _deed(row.policy)
    if row.state is ReactionState.FIRED:
        at = "" if row.fired_at is None else f" at {clock(row.fired_at, workspace.now())}"
        return f"{does}: done{at}{_became(tx, row.result)} ({row.reason})"
    words = {ReactionState.WAITING: "waits", ReactionState.HELD: "held", ReactionState.OVER: "not done"}
    return f"{does}: {words[row.state]}: {row.reason}"


def _became(tx: Session, result: str | None) -> str:
    """What was started, and how that is now: `, run/12 succeeded`."""
    if result is None:
        return ""
    kind, _, number = result.partition("/")
    found = tx.get(Run, int(number)) if kind == "run" else tx.get(Operation, int(number))
    return f", {result}" if found is None else f", {result} {found.state}"


def _not_yet(alert: int, policy: Policy) -> ReactionRow:
    before = " once a backtest speaks for it" if policy.settings.asks_backtest else ""
    line = f"{_deed(policy.name)}: comes next{before}"
    return ReactionRow(policy.name, alert, "next", f"comes next{before}", None, None, None, line)


def _deed(policy: str) -> str:
    """`fraud/retrain/train` as people say it: `retrain by train`."""
    _, deed, *pipeline = policy.split("/")
    return " by ".join([DEEDS.get(deed, deed), *pipeline])
