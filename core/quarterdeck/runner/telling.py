"""From what happened to messages: which webhook is told of what, together with what else, and when.

Each webhook is told of each thing by one notice, and each notice is in one message, which is one job. The first message
goes out at once; what comes within `group_wait` of it is told in the next one, and so is what `rate` holds back. A
webhook with `after` is whom to call next: what somebody has taken on by then is not told there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func
from sqlmodel import Session, col, select

from quarterdeck.events import Event
from quarterdeck.monitoring.alert import Alert, AlertState, Severity, find_alert
from quarterdeck.monitoring.notice import Notice
from quarterdeck.runner import queue
from quarterdeck.runner.job import UNDER_WAY, Job, JobKind, JobState
from quarterdeck.runner.queue import Work
from quarterdeck.runner.terms import terms_of
from quarterdeck.settings.notifications import WebhookSettings
from quarterdeck.workspace import Workspace

RETRIES = 7
DEATHS = 8
"""How many tries may end with a process that died: nobody else tells what is lost here."""
MOST_IN_ONE = 40
"""Notices of one message: Slack takes 50 blocks."""


def note_alert(tx: Session, workspace: Workspace, event: Event) -> None:
    """Note for each webhook that wants it what happened to an alert, unless that is silenced."""
    severity = event.data.get("severity")
    if severity not in (Severity.PAGE, Severity.WARNING):
        return
    alert = find_alert(tx, int(event.subject.partition("/")[2]))
    if alert.state is AlertState.SILENCED:
        return  # The end of the silence tells of it.
    subject, also = event.subject, ""
    head = _standing_for(tx, alert, Severity(severity))
    if head is not None:
        if event.kind == "alert.resolved":
            return
        # One thing to people: the alert that stands for it is told of once more, with this one named.
        subject, also = head.reference, f"-also-{alert.id}"
    again = f"-{alert.reopened}" if alert.reopened else ""
    if event.kind == "alert.unsilenced":
        again += f"-after-{event.id}"
    ended = event.kind == "alert.resolved"
    again += "-resolved" * ended
    for webhook in workspace.settings.notifications.webhooks:
        if severity in webhook.severities and (webhook.tells_of_ends or not ended):
            # One for each alert, severity and receiver: a warning that becomes a page is worth telling again. So is one
            # that came back or ended, and one whose silence is over.
            key = f"{subject}:{severity}{again}{also}:{webhook.key}"
            _note(tx, workspace, key, webhook, subject, Severity(severity), ended)


def _standing_for(tx: Session, alert: Alert, severity: Severity) -> Alert | None:
    """The alert of another deployment that stands for it, where people were told of that as at least as grave."""
    if alert.cause is None:
        return None
    head = find_alert(tx, alert.cause)
    as_grave = head.severity is Severity.PAGE or head.severity is severity
    return head if as_grave and head.state is not AlertState.RESOLVED else None


def note_event(tx: Session, workspace: Workspace, event: Event) -> None:
    """Note for each webhook an event that is no alert of a monitor, such as a full disk."""
    _note_event(tx, workspace, event, workspace.settings.notifications.webhooks, Severity.PAGE)


def note_monitor(tx: Session, workspace: Workspace, event: Event) -> None:
    """Note that a monitor fails, so that nobody looks, or fails no more; for whom `note_reaction` is, too."""
    webhooks = [one for one in _without_incidents(workspace) if Severity.WARNING in one.severities]
    _note_event(tx, workspace, event, webhooks, Severity.WARNING)


def note_reaction(tx: Session, workspace: Workspace, event: Event) -> None:
    """Note what a policy did. Not for those that keep incidents: it has no end, and belongs to one that they know."""
    _note_event(tx, workspace, event, _without_incidents(workspace), Severity(event.data["severity"]))


def _without_incidents(workspace: Workspace) -> list[WebhookSettings]:
    return [one for one in workspace.settings.notifications.webhooks if not one.keeps_incidents]


def _note_event(
    tx: Session, workspace: Workspace, event: Event, webhooks: Sequence[WebhookSettings], severity: Severity
) -> None:
    subject, ended = f"event/{event.id}", event.kind.endswith(".recovered")
    for webhook in webhooks:
        _note(tx, workspace, f"{subject}:{webhook.key}", webhook, subject, severity, ended)


def _note(
    tx: Session,
    workspace: Workspace,
    key: str,
    webhook: WebhookSettings,
    subject: str,
    severity: Severity,
    ended: bool,
) -> None:
    if tx.exec(select(Notice.id).where(Notice.key == key)).first() is None:
        now = workspace.now()
        notice = Notice(key=key, webhook=webhook.key, subject=subject, severity=severity, ended=ended, noted_at=now)
        tx.add(notice)
        tx.flush()


def form_messages(workspace: Workspace) -> int:
    """Put the notices whose time has come into messages and queue those; how many. Called again and again."""
    with workspace.state.read() as tx:
        ripe, needless = _ripe(tx, workspace)
        if not needless and not _due(tx, workspace, ripe):
            return 0
    with workspace.state.write("notify") as tx:
        ripe, needless = _ripe(tx, workspace)
        for notice in needless:
            tx.delete(notice)
        due = _due(tx, workspace, ripe)
        for webhook, notices in due:
            _queue(tx, workspace, webhook, notices)
        return len(due)


def _ripe(tx: Session, workspace: Workspace) -> tuple[list[Notice], list[Notice]]:
    """The notices that have waited as long as their webhook wants, and those that it need not be told of any more."""
    webhooks = {one.key: one for one in workspace.settings.notifications.webhooks}
    query = select(Notice).where(col(Notice.joined_at).is_(None), col(Notice.webhook).in_(webhooks))
    ripe, needless = [], []
    for notice in tx.exec(query.order_by(col(Notice.id))) if webhooks else ():
        after = webhooks[notice.webhook].after
        if after is None or not notice.subject.startswith("alert/"):
            ripe.append(notice)
        elif not _is_wanted(tx, notice):
            needless.append(notice)
        elif notice.ended or notice.noted_at + after <= workspace.now():
            ripe.append(notice)
    return ripe, needless


def _is_wanted(tx: Session, notice: Notice) -> bool:
    """Whether the next one to call is still needed; an end is for those who were told of the beginning."""
    if not notice.ended:
        return find_alert(tx, int(notice.subject.partition("/")[2])).state is AlertState.OPEN
    told = select(Notice.id).where(
        Notice.webhook == notice.webhook, Notice.subject == notice.subject, col(Notice.joined_at).is_not(None)
    )
    return tx.exec(told).first() is not None


def _due(tx: Session, workspace: Workspace, ripe: Sequence[Notice]) -> list[tuple[WebhookSettings, list[Notice]]]:
    """What is to be told now, a message each."""
    webhooks = {one.key: one for one in workspace.settings.notifications.webhooks}
    waiting: dict[str, list[Notice]] = {}
    for notice in ripe:
        waiting.setdefault(notice.webhook, []).append(notice)
    due = []
    for key, notices in waiting.items():
        if not webhooks[key].groups:
            due += [(webhooks[key], [notice]) for notice in notices]
        elif _may_go(tx, webhooks[key], any(notice.pages for notice in notices), workspace.now()):
            # Pages first, so that what is left for the next message can wait.
            chosen = sorted(notices, key=lambda notice: not notice.pages)[:MOST_IN_ONE]
            due.append((webhooks[key], sorted(chosen, key=lambda notice: notice.id or 0)))
    return due


def _may_go(tx: Session, webhook: WebhookSettings, pages: bool, now: datetime) -> bool:
    """Whether a message may go out now. A page waits for `group_wait` after a message with a page, and else for
    nothing but a message that is just being sent."""
    told = select(func.count(col(Notice.message).distinct())).where(
        Notice.webhook == webhook.key, col(Notice.joined_at) <= now
    )
    lately = told.where(col(Notice.joined_at) > now - webhook.group_wait)
    if pages:
        lately = lately.where(Notice.severity == Severity.PAGE, col(Notice.ended).is_(False))
    if tx.exec(lately).one():
        return False
    # One after the other, so that an end is not told before its beginning, and what comes while one is refused is
    # told in one. A page does not wait for the next try of what was refused.
    query = select(Job).join(Notice, col(Notice.message) == Job.key)
    open_jobs = query.where(Notice.webhook == webhook.key, col(Job.state).in_(UNDER_WAY))
    if any(not (pages and job.state is JobState.QUEUED and job.failures) for job in tx.exec(open_jobs.distinct())):
        return False
    return pages or tx.exec(told.where(col(Notice.joined_at) > now - webhook.rate.per)).one() < webhook.rate.most


def _queue(tx: Session, workspace: Workspace, webhook: WebhookSettings, notices: Sequence[Notice]) -> None:
    key, now = f"notify:{notices[0].key}", workspace.now()
    for notice in notices:
        notice.message, notice.joined_at = key, now
        tx.add(notice)
    subject = notices[0].subject if len(notices) == 1 else f"webhook/{webhook.shown}"
    terms = terms_of(workspace, max_attempts=DEATHS, retries=RETRIES)
    queue.enqueue(tx, workspace, Work(JobKind.NOTIFY, key, subject, {"webhook": webhook.key}, terms))
