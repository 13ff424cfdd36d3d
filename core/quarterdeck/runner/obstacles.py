"""What stands in a reaction's way, in words that a tired person understands: one rule each, the first one is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session

from quarterdeck import freezing
from quarterdeck.deployments.admission import lacking_command
from quarterdeck.deployments.backtest import Backtest, BacktestVerdict
from quarterdeck.deployments.deployment import find_deployment
from quarterdeck.deployments.revision import Revision, find_revision
from quarterdeck.deployments.weighing import KEEP, ROLL_BACK
from quarterdeck.monitoring.alert import OF_INPUTS, Alert, AlertState, Judgement
from quarterdeck.pipelines.holding import contaminating
from quarterdeck.runner.reaction import fired_since
from quarterdeck.settings.reactions import ReactionSettings
from quarterdeck.workspace import Workspace

DAY = timedelta(days=1)
LATER = timedelta(minutes=10)
"""How soon to look again for what no event tells of."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One reaction of a monitor."""

    monitor: str
    deployment: str
    settings: ReactionSettings

    @property
    def name(self) -> str:
        return f"{self.monitor}/{self.settings.name}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was looked up before the transaction, since it reads files or traffic."""

    no_run: str | None = None
    """Why the pipeline cannot be run."""
    expected: int | None = None
    """The desired revision when the way back was looked for."""
    way_back: int | None = None
    """The last known-good revision."""


@dataclass(frozen=True, slots=True)
class Case:
    """One policy and one alert, inside the transaction that decides."""

    tx: Session
    workspace: Workspace
    policy: Policy
    alert: Alert
    prepared: Prepared
    now: datetime

    @property
    def does(self) -> str:
        return self.policy.settings.do


@dataclass(frozen=True, slots=True)
class Obstacle:
    reason: str
    again_at: datetime | None = None
    over: bool = False
    """Nothing that may pass."""


def first_obstacle(case: Case) -> Obstacle | None:
    """What keeps the policy from reacting to the alert now; None where nothing does."""
    return next((found for rule in _RULES for found in rule(case)), None)


def clock(moment: datetime, now: datetime) -> str:
    """A moment as people read it, with the day only where it is another one."""
    return f"{moment:%H:%M} UTC" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M} UTC"


def _ended(case: Case) -> Iterator[Obstacle]:
    alert = case.alert
    if alert.state is AlertState.RESOLVED:
        yield Obstacle("the alert is resolved", over=True)
    elif alert.judgement is Judgement.NOISE:
        yield Obstacle(f"{alert.acknowledged_by or 'somebody'} called the alert noise", over=True)


def _silenced(case: Case) -> Iterator[Obstacle]:
    until = case.alert.silenced_until
    if case.alert.state is AlertState.SILENCED and until is not None:
        yield Obstacle(f"the alert is silenced until {clock(until, case.now)}", until)


def _frozen(case: Case) -> Iterator[Obstacle]:
    freeze = freezing.in_force(case.tx, case.now)
    if freeze is not None:
        yield Obstacle(f"everything is frozen by {freeze.actor} until {clock(freeze.until, case.now)}", freeze.until)


def _read_only(case: Case) -> Iterator[Obstacle]:
    if case.workspace.settings.workspace.read_only:
        yield Obstacle("quarterdeck.toml says read_only = true", case.now + LATER)


def _moved(case: Case) -> Iterator[Obstacle]:
    """The alert is about a version that serves no more: whoever changed that has decided."""
    if case.does == "tell":
        return
    desired = desired_revision(case.tx, case.policy.deployment)
    serving = None if desired is None else desired.version
    if serving != case.alert.version:
        reason = f"the alert is about version {case.alert.version}, and version {serving} serves now"
        # An alert on inputs goes over to the next version, once a window of that was judged.
        again_at = case.now + LATER if case.alert.kind in OF_INPUTS else None
        yield Obstacle(reason, again_at, over=again_at is None)
    elif case.does == "rollback" and desired is not None and desired.created_at > case.alert.opened_at:
        made = f"{desired.actor} made revision {desired.number} after the alert was opened"
        yield Obstacle(f"{made}, and so has decided", over=True)


def _cooling_down(case: Case) -> Iterator[Obstacle]:
    fired = fired_since(case.tx, case.policy.name)
    over_at = fired[0] + case.policy.settings.cooldown if fired else case.now
    if over_at > case.now:
        yield Obstacle(
            f"it fired at {clock(fired[0], case.now)} and cools down until {clock(over_at, case.now)}", over_at
        )


def _limited(case: Case) -> Iterator[Obstacle]:
    limit = case.policy.settings.daily_limit
    fired = fired_since(case.tx, case.policy.name, case.now - DAY)
    if len(fired) >= limit:
        again_at = fired[limit - 1] + DAY
        times = "once" if limit == 1 else f"{limit} times"
        yield Obstacle(
            f"it fired {times} within 24 hours, and may not more often; again from {clock(again_at, case.now)} on",
            again_at,
        )


def _contaminated(case: Case) -> Iterator[Obstacle]:
    if case.does != "retrain":
        return
    for alert in contaminating(case.tx, case.policy.deployment):
        where = ", ".join(alert.columns) + (f" in {alert.slice}" if alert.slice else "")
        yield Obstacle(
            f"{alert.reference} on inputs is open ({where}): what came in may be contaminated, and must not be "
            f"learnt; once it is resolved, or called noise, this is considered again"
        )


def _no_run(case: Case) -> Iterator[Obstacle]:
    if case.does == "retrain" and case.prepared.no_run is not None:
        yield Obstacle(case.prepared.no_run.rstrip("."), case.now + LATER)


def _no_way_back(case: Case) -> Iterator[Obstacle]:
    if case.does != "rollback":
        return
    name = case.policy.deployment
    lacking = lacking_command(case.workspace, find_deployment(case.tx, name))
    if case.workspace.settings.deployment(name).protected:
        yield Obstacle(
            f"'{name}' is protected, so a person has to do it: quarterdeck rollback {name}", case.now + LATER
        )
    elif lacking is not None:
        yield Obstacle(f"it is {lacking}", case.now + LATER)
    elif case.prepared.way_back is None:
        yield Obstacle("there is no last known-good revision to go back to", case.now + LATER)


_RULES: tuple[Callable[[Case], Iterator[Obstacle]], ...] = (
    _ended,
    _silenced,
    _frozen,
    _read_only,
    _moved,
    _cooling_down,
    _limited,
    _contaminated,
    _no_run,
    _no_way_back,
)


def desired_revision(tx: Session, deployment: str) -> Revision | None:
    """What is meant to answer now."""
    found = find_deployment(tx, deployment)
    if found.id is None or found.desired_revision is None:
        return None
    return find_revision(tx, found.id, found.desired_revision)


def spoken_against(case: Case, backtest: Backtest) -> Obstacle | None:
    """Why a finished backtest does not let the policy fire; None where it speaks for it."""
    verdict, found = backtest.verdict, backtest.outcome
    later = case.now + max(case.policy.settings.cooldown, LATER)
    if verdict is None:
        return Obstacle(f"{backtest.reference} failed: {str(found.get('error')).rstrip('.')}", later)
    if case.does == "tell" or _speaks_for(case.does, verdict, found):
        return None
    if verdict is BacktestVerdict.UNDECIDED:
        missing = "; ".join(found["missing"]) or found["because"]
        return Obstacle(f"{backtest.reference}: not enough evidence: {missing}", later)
    if verdict is BacktestVerdict.KEEP:
        return Obstacle(f"{backtest.reference}: {found['because']}", over=True)
    other = "rolling back" if verdict is BacktestVerdict.ROLL_BACK else "retraining"
    said = f"{backtest.reference} speaks for {other}: {found['because']}"
    # Rolling back was all that could be tried: of a retrain that says nothing for good.
    if case.does == "retrain" and found["missing"]:
        return Obstacle(f"{said}; {'; '.join(found['missing'])}", later)
    return Obstacle(said, over=True)


def _speaks_for(does: str, verdict: BacktestVerdict, found: dict[str, object]) -> bool:
    if does == "retrain":
        return verdict is BacktestVerdict.RETRAIN
    # Where retraining is better still, going back helps until that is done.
    comparisons = found.get("comparisons")
    return isinstance(comparisons, list) and any(
        one["of"] == ROLL_BACK and one["against"] == KEEP and one["side"] == "better" for one in comparisons
    )
