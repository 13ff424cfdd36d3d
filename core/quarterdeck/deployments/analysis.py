"""The plan of a rollback: would it help, where could it go, and what would it change. It writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from quarterdeck.deployments.admission import lacking_command
from quarterdeck.deployments.batch_output import standing_outputs
from quarterdeck.deployments.comparison import CandidateDetail, compare
from quarterdeck.deployments.deployment import Deployment, find_deployment
from quarterdeck.deployments.fitness import why_not
from quarterdeck.deployments.knowngood import last_known_good
from quarterdeck.deployments.outlook import Answer, Evidence, Outlook, findings, judge, place
from quarterdeck.deployments.presence import Onlooker, others
from quarterdeck.deployments.replaying import newest_outcome
from quarterdeck.deployments.revision import Revision, find_revision
from quarterdeck.deployments.rows import OutputRow
from quarterdeck.errors import NotFoundError
from quarterdeck.monitoring.alert import OF_INPUTS, Alert, AlertKind, AlertState, Judgement
from quarterdeck.monitoring.queries import AlertRow, alert, alerts, window_against
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.traffic.queries import requests_by_revision
from quarterdeck.workspace import Workspace

__all__ = ["CandidateDetail", "CandidateRow", "RollbackPlan", "compare", "plan"]


@dataclass(frozen=True, slots=True)
class CandidateRow:
    """A revision that one might go back to."""

    revision: int
    version: int
    since: datetime
    by: str
    reason: str
    served_seconds: float
    """From its verification until another became desired; 0 where it was never verified."""
    requests: int
    """Predictions that it answered."""
    health_then: str
    """What monitors last said of its version's own traffic, and the alerts opened while it served."""
    can_serve: bool
    why_not: str | None
    last_known_good: bool


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What the rollback screen shows first."""

    deployment: str
    model: str
    protected: bool
    expected: int
    """The desired revision as it was seen: hand it to `roll_back`, which refuses if it has moved."""
    version: int
    """The version that is desired now."""
    target: int | None
    """The revision that `would_help` speaks of."""
    would_help: Answer
    because: str
    alternatives: tuple[str, ...]
    candidates: tuple[CandidateRow, ...]
    """Every other revision, newest first; those that cannot serve say why not."""
    cursor: int | None
    """The revision to stand on: the one asked for, else the last known-good one; None where there is none."""
    reason: str
    """Prefilled from the alert."""
    alert: int | None
    others: tuple[Onlooker, ...]
    """Who else has this plan open."""
    outputs: tuple[OutputRow, ...]
    """Of a batch deployment: the tables that the present version wrote, and that still stand."""

    @property
    def desired_revision(self) -> int:
        return self.expected


def plan(workspace: Workspace, name: str, *, to: int | None = None, alert: int | None = None) -> RollbackPlan:
    """Plan going back: to revision `to`, else to the last known-good one; because of `alert`, else of the worst one.

    Raises:
        NotFoundError: there is no such deployment, revision or alert, or nothing is deployed.
    """
    relevant = _relevant_alerts(workspace, name, alert)
    counts = requests_by_revision(workspace, name)
    with workspace.state.read() as tx:
        deployment = find_deployment(tx, name)
        if deployment.desired_revision is None or deployment.id is None:
            raise NotFoundError(f"Deployment '{name}' serves nothing yet. Deploy a version first.")
        desired = find_revision(tx, deployment.id, deployment.desired_revision)
        good = last_known_good(tx, workspace, name)
        lacking = lacking_command(workspace, deployment)
        candidates = tuple(
            _candidate(tx, workspace, deployment, desired, revision, counts, good)
            for revision in tx.exec(
                select(Revision)
                .where(Revision.deployment_id == deployment.id, Revision.number != desired.number)
                .order_by(col(Revision.number).desc())
            )
        )
        if to is not None:
            find_revision(tx, deployment.id, to)
        target = _target(candidates, to or good)
        replayed = newest_outcome(tx, deployment.id, desired.version, target.version) if target else None
        onlookers = tuple(others(tx, name))
        outputs = standing_outputs(tx, deployment, desired.version)
    outlook = (
        judge(_evidence(workspace, name, desired.version, target.version, relevant, replayed))
        if target
        else Outlook("unknown", "there is no earlier revision that could serve")
    )
    if lacking is not None:
        outlook = Outlook(outlook.answer, f"{outlook.because} ({lacking})")
    cause = _cause(relevant, outlook, chosen=alert is not None)
    return RollbackPlan(
        deployment=name,
        model=deployment.model,
        protected=workspace.settings.deployment(name).protected,
        expected=desired.number,
        version=desired.version,
        target=target.revision if target else None,
        would_help=outlook.answer,
        because=outlook.because,
        alternatives=_alternatives(outlook.answer, desired, target, relevant),
        candidates=candidates,
        cursor=to or good,
        reason=f"alert {cause.id}: {cause.summary}" if cause else "",
        alert=cause.id if cause else None,
        others=onlookers,
        outputs=outputs,
    )


def _relevant_alerts(workspace: Workspace, name: str, chosen: int | None) -> list[AlertRow]:
    """The open alerts of the deployment, worst first; before them the one that the plan was opened for."""
    rank = {"page": 0, "warning": 1, "informational": 2}
    open_ones = sorted(alerts(workspace, deployment=name), key=lambda row: rank[row.severity])
    if chosen is None:
        return open_ones
    first = alert(workspace, chosen)
    if first.deployment != name:
        raise NotFoundError(f"Alert {chosen} is about deployment '{first.deployment}', not '{name}'.")
    return [first, *(row for row in open_ones if row.id != chosen)]


def _cause(relevant: list[AlertRow], outlook: Outlook, *, chosen: bool) -> AlertRow | None:
    """The alert that the reason is taken from: what going back would mend comes before what only looks worse."""
    worse = next((row for row in relevant if row.kind == AlertKind.QUALITY), None)
    if outlook.answer == "yes" and worse is not None and not chosen:
        return worse
    return relevant[0] if relevant else None


def _candidate(
    tx: Session,
    workspace: Workspace,
    deployment: Deployment,
    desired: Revision,
    revision: Revision,
    counts: dict[int, int],
    good: int | None,
) -> CandidateRow:
    reason = lacking_command(workspace, deployment)
    if reason is None and revision.version == desired.version:
        reason = f"it serves version {revision.version}, as now"
    elif reason is None:
        reason = why_not(tx, workspace, deployment, revision.version, serving=desired.version)
    until = revision.replaced_at or workspace.now()
    served = max((until - revision.verified_at).total_seconds(), 0.0) if revision.verified_at else 0.0
    return CandidateRow(
        revision=revision.number,
        version=revision.version,
        since=revision.created_at,
        by=revision.actor,
        reason=revision.reason,
        served_seconds=served,
        requests=counts.get(revision.number, 0),
        health_then=_health(tx, deployment.name, revision),
        can_serve=reason is None,
        why_not=reason,
        last_known_good=revision.number == good,
    )


def _health(tx: Session, deployment: str, revision: Revision) -> str:
    parts = []
    for aspect in (Aspect.INPUTS, Aspect.QUALITY):
        query = select(Result).where(
            Result.deployment == deployment,
            Result.version == revision.version,
            Result.aspect == aspect,
            col(Result.served).is_(True),
        )
        result = tx.exec(query.order_by(col(Result.window_end).desc()).limit(1)).first()
        if result is not None:
            parts.append(_words(result))
    while_serving = select(Alert).where(
        Alert.deployment == deployment,
        Alert.version == revision.version,
        col(Alert.opened_at) >= revision.created_at,
    )
    if revision.replaced_at is not None:
        while_serving = while_serving.where(col(Alert.opened_at) < revision.replaced_at)
    opened = tx.exec(while_serving.order_by(col(Alert.score).desc())).all()
    for found in opened:
        noise = ", called noise" if found.judgement is Judgement.NOISE else ""
        parts.append(f"{found.severity}: {', '.join(found.columns)}{noise}")
    return "; ".join(parts) or "not judged"


def _words(result: Result) -> str:
    if result.aspect is Aspect.QUALITY and result.scores:
        score = result.scores[0]
        value = "?" if score.get("value") is None else f"{score['value']:.3f}"
        return f"{score['metric']} {value}{' (worse)' if result.verdict is Verdict.FOUND else ''}"
    return {
        Verdict.QUIET: "inputs quiet",
        Verdict.FOUND: "inputs moved",
        Verdict.INCONCLUSIVE: "inputs inconclusive",
    }[result.verdict]


def _target(candidates: tuple[CandidateRow, ...], wanted: int | None) -> CandidateRow | None:
    """The revision asked for; without one the newest that can serve, since the first line is worth having anyway."""
    if wanted is not None:
        return next((row for row in candidates if row.revision == wanted), None)
    return next((row for row in candidates if row.can_serve), None)


def _evidence(
    workspace: Workspace,
    name: str,
    serving: int,
    target: int,
    relevant: list[AlertRow],
    replayed: dict[str, object] | None,
) -> Evidence:
    ours, theirs = window_against(workspace, name, serving), window_against(workspace, name, target)
    newest = max((result.window_end for result in (ours, theirs) if result is not None), default=None)
    if theirs is not None and theirs.window_end != newest:
        theirs = None
    return Evidence(
        serving=serving,
        target=target,
        alerts=relevant,
        serving_window=ours,
        target_window=theirs,
        target_findings=findings(workspace, theirs, of_weight=True),
        target_found=findings(workspace, theirs, of_weight=False),
        replay=replayed,
    )


def _alternatives(
    answer: Answer, desired: Revision, target: CandidateRow | None, relevant: list[AlertRow]
) -> tuple[str, ...]:
    lines = [f"hold: leave version {desired.version} serving and watch the next window"]
    if desired.withheld is not None:
        lines = [f"try version {desired.version} once more by deploying it again: it is withheld, and does not serve"]
    inputs = next((row for row in relevant if row.kind in OF_INPUTS), None)
    if inputs is not None:
        lines.append(f"tell upstream: {place(inputs)} moved on {inputs.onset:%Y-%m-%d %H:%M} UTC")
    waiting = next((row for row in relevant if row.state == AlertState.OPEN), None)
    if waiting is not None:
        lines.append(f"acknowledge alert {waiting.id}, as real or as noise")
    if answer == "unknown" and target is not None:
        lines.append(f"replay recorded traffic through version {target.version}, then look again")
    return tuple(lines)
