"""What follows from what happened: the runner reads the events and queues the work that they call for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, select

from quarterdeck import events, freezing
from quarterdeck.errors import BusyError, DiskError
from quarterdeck.events import Event
from quarterdeck.monitoring.alert import OF_INPUTS, AlertKind, Judgement, Severity, find_alert
from quarterdeck.pipelines import pausing
from quarterdeck.pipelines.schedule import Schedule
from quarterdeck.pipelines.submission import MANUAL
from quarterdeck.runner import control, lease, policies, queue, telling, ticking
from quarterdeck.runner.job import Job, JobKind
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import terms_of, terms_of_run
from quarterdeck.runner.ticking import Start
from quarterdeck.workspace import Workspace

BATCH = 200
ROLLBACK_PRIORITY = 100
"""Before everything else that waits for the same places."""
_POLICY = "policy"
_DELIVERY = ("deployment.deployed", "deployment.rolled_back", "deployment.undone")


def react(workspace: Workspace) -> Sequence[Event]:
    """Deal with the events that came since the last look, and return them; at most a batch.

    What joins our transaction is written together with the cursor, so it happens once. Verbs with a transaction of
    their own come before it and are safe to repeat. An event whose reaction fails is told of and left behind: one
    bad event must not stop the others.
    """
    with workspace.state.read() as tx:
        row = lease.holder(tx)
        seen = row.events_read if row else 0
        batch = events.after(tx, seen, BATCH)
    if row is None or not batch:
        return ()
    failures: list[tuple[Event, Exception]] = []
    for event in batch:
        for verb in _VERBS.get(event.kind, ()):
            _guarded(partial(verb, workspace, event), event, failures)
    with workspace.state.write("react") as tx:
        row = lease.holder(tx)
        if row is None or row.events_read != seen:
            return ()  # Another runner took over and dealt with these.
        for event in batch:
            if event.kind in _INSERTS:
                _guarded(partial(_insert, tx, workspace, event), event, failures)
        for event, error in failures:
            workspace.record(tx, "reaction.failed", event.subject, {"event": event.id, "error": str(error)})
        row.events_read = batch[-1].id or seen
    return batch


def _guarded(action: Callable[[], None], event: Event, failures: list[tuple[Event, Exception]]) -> None:
    try:
        action()
    except (BusyError, DiskError, OperationalError):
        raise  # Not this event's fault: the whole batch is tried again.
    except Exception as error:
        failures.append((event, error))


def _insert(tx: Session, workspace: Workspace, event: Event) -> None:
    # A savepoint: what one event's failure leaves half-written goes, and what the others wrote stays.
    with tx.begin_nested():
        for insert in _INSERTS[event.kind]:
            insert(tx, workspace, event)


def _number(event: Event) -> int:
    return int(event.subject.partition("/")[2])


def _queue_run(tx: Session, workspace: Workspace, event: Event) -> None:
    if str(event.data["trigger"]).startswith(ticking.TRIGGER):
        return  # The tick that asked for it has queued it in its own transaction.
    terms = terms_of_run(workspace, str(event.data["pipeline"]), automatic=event.data["trigger"] != MANUAL)
    work = Work(JobKind.RUN, event.subject, event.subject, {"run": _number(event)}, terms)
    queue.enqueue(tx, workspace, work)


def _cancel_job(tx: Session, workspace: Workspace, event: Event) -> None:
    job = tx.exec(select(Job).where(Job.key == event.subject)).first()
    if job is not None:
        control.cancel_in(tx, workspace, job, event.actor)


def _start_on_data(tx: Session, workspace: Workspace, event: Event) -> None:
    dataset = event.subject.removeprefix("data/").rpartition("@")[0]
    paused = pausing.pauses(tx, "schedule")
    rows = tx.exec(select(Schedule).where(Schedule.on_data == dataset, col(Schedule.paused).is_(False)))
    wanted = [Start(row, event.at, event.subject, row.name) for row in rows if row.name not in paused]
    for start in wanted:
        start.row.last_tick = event.at
    ticking.start(tx, workspace, *wanted)


def _release(tx: Session, workspace: Workspace, event: Event) -> None:
    """What an alert has held goes on with its end, or when somebody calls it noise."""
    if event.kind == "alert.resolved" or event.data["judgement"] == Judgement.NOISE:
        ticking.release(tx, workspace, find_alert(tx, _number(event)))


def _report(tx: Session, workspace: Workspace, event: Event) -> None:
    # The report costs seconds of a core: what tells nobody does not get one by itself.
    told = event.data.get("severity") in (Severity.PAGE, Severity.WARNING)
    if told and event.data.get("kind") in OF_INPUTS:
        _queue_report(tx, workspace, event, f"report:{event.subject}")


def _report_asked_for(tx: Session, workspace: Workspace, event: Event) -> None:
    _queue_report(tx, workspace, event, f"report:event/{event.id}")


def _queue_report(tx: Session, workspace: Workspace, event: Event, key: str) -> None:
    payload = {"alert": _number(event)}
    queue.enqueue(tx, workspace, Work(JobKind.REPORT, key, event.subject, payload, terms_of(workspace)))


def _queue_replay(tx: Session, workspace: Workspace, event: Event) -> None:
    replay, subject = _number(event), event.subject
    work = Work(JobKind.REPLAY, subject, subject, {"replay": replay}, terms_of(workspace))
    queue.enqueue(tx, workspace, work)


def _queue_backtest(tx: Session, workspace: Workspace, event: Event) -> None:
    work = Work(JobKind.BACKTEST, event.subject, event.subject, {"backtest": _number(event)}, terms_of(workspace))
    queue.enqueue(tx, workspace, work)


def _score_again(tx: Session, workspace: Workspace, event: Event) -> None:
    payload = {"deployment": event.subject.removeprefix("deployment/"), "again": True}
    terms = terms_of(workspace, max_attempts=2)
    queue.enqueue(tx, workspace, Work(JobKind.SCORE, f"score:event/{event.id}", event.subject, payload, terms))


def _command_rollback(tx: Session, workspace: Workspace, event: Event) -> None:
    """Going back elsewhere is up to a command of the user's: one attempt, since nobody knows what half of one did."""
    if event.data.get("served_by") != "external":
        return
    operation = event.data["operation"]
    terms = replace(terms_of(workspace, max_attempts=1), priority=ROLLBACK_PRIORITY)
    key = f"rollback:operation/{operation}"
    queue.enqueue(tx, workspace, Work(JobKind.ROLLBACK, key, event.subject, {"operation": operation}, terms))


def _compare_with_known_good(workspace: Workspace, event: Event) -> None:
    """The predictions got worse: ask what the last known-good version would have answered."""
    from quarterdeck.deployments import knowngood, replaying
    from quarterdeck.deployments.deployment import find_deployment
    from quarterdeck.deployments.replay import Replay
    from quarterdeck.deployments.revision import find_revision

    if event.data.get("kind") != AlertKind.QUALITY:
        return
    name, actor = str(event.data["deployment"]), f"policy for {event.subject}"
    with workspace.state.read() as tx:
        deployment = find_deployment(tx, name)
        revision = knowngood.last_known_good(tx, workspace, name)
        asked = tx.exec(select(Replay.id).where(Replay.requested_by == actor)).first()
        if revision is None or asked is not None or deployment.id is None:
            return
        version = find_revision(tx, deployment.id, revision).version
    replaying.request(workspace, name, version, actor=actor)


def _deploy_by_policy(workspace: Workspace, event: Event) -> None:
    """A version whose gate did not refuse it goes live where its model's settings say so."""
    from quarterdeck.deployments import rollout
    from quarterdeck.registry.version import GateVerdict

    model, _, number = event.subject.removeprefix("version/").rpartition("@")
    name = workspace.settings.model(model).deploy
    if name is None or event.data.get("gate") not in (GateVerdict.PASSED, GateVerdict.NONE):
        return
    # One transaction: nobody decides between the look and the deed.
    with workspace.change("deploy") as tx:
        later = select(Event).where(
            col(Event.id) > event.id, col(Event.kind).in_(_DELIVERY), Event.subject == f"deployment/{name}"
        )
        # Either we did this before, or somebody decided since: a policy that comes late does not overrule people.
        # That it deployed an older version meanwhile is no decision against this one.
        if any(row.actor != _POLICY or row.data["version"] >= int(number) for row in tx.exec(later)):
            return
        freeze = freezing.in_force(tx, workspace.now())
        if freeze is not None:
            data = {"version": int(number), "frozen_by": freeze.actor}
            workspace.record(tx, "reaction.held", f"deployment/{name}", data, actor=_POLICY)
            return
        rollout.deploy_in(tx, workspace, name, model=model, version=int(number), reason="gate passed", actor=_POLICY)


_VERBS: dict[str, tuple[Callable[[Workspace, Event], None], ...]] = {
    "version.registered": (_deploy_by_policy,),
    "alert.opened": (_compare_with_known_good, policies.follow_alert),
    "alert.escalated": (policies.follow_alert,),
    "alert.reopened": (policies.follow_alert,),
    "alert.unsilenced": (policies.follow_alert,),
    "alert.acknowledged": (policies.follow_judgement,),
    "alert.resolved": (policies.follow_judgement,),
    "workspace.thawed": (policies.follow_thaw,),
    "backtest.finished": (policies.follow_backtest,),
}
_INSERTS: dict[str, tuple[Callable[[Session, Workspace, Event], None], ...]] = {
    "run.queued": (_queue_run,),
    "run.cancelled": (_cancel_job,),
    "run.cancel_requested": (_cancel_job,),
    "data.added": (_start_on_data,),
    "alert.opened": (telling.note_alert, _report),
    "alert.escalated": (telling.note_alert, _report),
    "alert.reopened": (telling.note_alert, _report),
    "alert.unsilenced": (telling.note_alert,),
    "alert.acknowledged": (_release,),
    "alert.resolved": (telling.note_alert, _release),
    "alert.report_requested": (_report_asked_for,),
    "replay.requested": (_queue_replay,),
    "backtest.requested": (_queue_backtest,),
    "score.requested": (_score_again,),
    "deployment.rolled_back": (_command_rollback,),
    "deployment.undone": (_command_rollback,),
    "disk.low": (telling.note_event,),
    "disk.recovered": (telling.note_event,),
    "monitor.failed": (telling.note_monitor,),
    "monitor.recovered": (telling.note_monitor,),
    "reaction.fired": (telling.note_reaction,),
}
