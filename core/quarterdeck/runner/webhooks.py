"""How the webhooks fare: whether they take what they are told, what waits, and what was given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import func
from sqlmodel import Session, col, select

from quarterdeck.database import timestamp
from quarterdeck.errors import QuarterdeckError
from quarterdeck.events import Event
from quarterdeck.monitoring.notice import Notice
from quarterdeck.monitoring.notification import try_out
from quarterdeck.runner.job import UNDER_WAY, Job, JobKind, JobState
from quarterdeck.settings.notifications import WebhookSettings
from quarterdeck.workspace import Workspace

TRIES = 3
"""A message that was refused so often in a row is no hiccup of the network."""
GIVEN_UP = frozenset({JobState.DEAD, JobState.LOST, JobState.FAILED})
NEWEST = 100
"""Things among which the one that was taken last is looked for."""
_TRIED = "webhook.tried"


class Delivery(StrEnum):
    """What became of what a webhook was told last."""

    UNTRIED = "untried"
    HEALTHY = "healthy"
    FAILING = "failing"
    """It refuses a message again and again, or does not answer."""
    DEAD = "dead"
    """A message was given up, and none was taken since."""

    @property
    def ill(self) -> bool:
        return self in (Delivery.FAILING, Delivery.DEAD)


@dataclass(frozen=True, slots=True)
class WebhookState:
    """One webhook of the settings; of its URL nothing but the host."""

    key: str
    name: str
    format: str
    severities: tuple[str, ...]
    state: Delivery
    since: datetime | None
    """Since when it takes nothing."""
    last_taken: datetime | None
    waiting: int
    """Things that it is still to be told."""
    given_up: int
    """Things that it will not be told unless somebody tries the jobs again."""
    jobs: tuple[int, ...]
    """The jobs that were given up."""
    error: str | None
    """Why it did not take the last one."""

    @property
    def advice(self) -> str | None:
        """The next step, where there is one."""
        steps = ["`quarterdeck webhooks --test` shows whether it answers"] if self.state.ill else []
        if self.jobs:
            more = f" (and {len(self.jobs) - 1} more in `quarterdeck jobs --state dead`)" if len(self.jobs) > 1 else ""
            steps.append(f"`quarterdeck retry job/{self.jobs[0]}` sends what was given up{more}")
        return "; ".join(steps) or None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook answered to a test."""

    key: str
    name: str
    status: int | None
    """The status of HTTP, where it took the test."""
    error: str | None


@dataclass(frozen=True, slots=True)
class _Message:
    job: Job
    notices: int

    @property
    def failed_at(self) -> datetime | None:
        """When it was refused last; None where it was not."""
        if self.job.state in GIVEN_UP:
            return self.job.finished_at
        return self.job.started_at if self.job.failures else None


def webhook_states(tx: Session, webhooks: Sequence[WebhookSettings]) -> list[WebhookState]:
    """The webhooks in their order; nothing is read where there are none."""
    if not webhooks:
        return []
    keys = [one.key for one in webhooks]
    waiting = select(Notice.webhook, func.count()).where(col(Notice.joined_at).is_(None), col(Notice.webhook).in_(keys))
    counts = dict(tx.exec(waiting.group_by(Notice.webhook)).all())
    # By the state of the jobs, of which few are open: the console asks with every change.
    messages = (
        select(Notice.webhook, Job, func.count())
        .join(Job, col(Job.key) == Notice.message)
        .where(Job.kind == JobKind.NOTIFY, col(Job.state).in_(UNDER_WAY | GIVEN_UP))
    )
    pending: dict[str, list[_Message]] = {}
    for key, job, count in tx.exec(messages.group_by(Notice.webhook, col(Job.id)).order_by(col(Job.id))):
        pending.setdefault(key, []).append(_Message(job, count))
    taken = _last_taken(tx, keys)
    return [_state(one, counts.get(one.key, 0), pending.get(one.key, []), taken.get(one.key)) for one in webhooks]


def read_webhooks(workspace: Workspace) -> list[WebhookState]:
    """The webhooks of the settings, as they fare now."""
    with workspace.state.read() as tx:
        return webhook_states(tx, workspace.settings.notifications.webhooks)


def try_webhooks(workspace: Workspace) -> list[Answer]:
    """Send each webhook a test. One that takes it is healthy again.

    Raises:
        ReadOnlyError: the workspace is read-only.
    """
    workspace.refuse_if_read_only("webhooks --test")
    answers = []
    for webhook in workspace.settings.notifications.webhooks:
        status, error = None, None
        try:
            status = try_out(workspace, webhook)
        except QuarterdeckError as failure:
            error = str(failure)
        answers.append(Answer(webhook.key, webhook.shown, status, error))
    if answers:
        with workspace.change("webhooks --test") as tx:
            for answer in answers:
                data = {"name": answer.name, "status": answer.status, "error": answer.error}
                workspace.record(tx, _TRIED, f"webhook/{answer.key}", data)
    return answers


def _last_taken(tx: Session, keys: list[str]) -> dict[str, datetime]:
    """When each webhook took something, a message or a test."""
    taken = {key: at for key in keys if (at := _last_message_taken(tx, key)) is not None}
    tests = select(Event).where(Event.kind == _TRIED, col(Event.subject).in_([f"webhook/{key}" for key in keys]))
    for event in tx.exec(tests.order_by(col(Event.id))):
        key = event.subject.partition("/")[2]
        if event.data["status"] is not None:
            taken[key] = max(taken.get(key, event.at), event.at)
    return taken


def _last_message_taken(tx: Session, key: str) -> datetime | None:
    query = select(Job.finished_at).join(Notice, col(Notice.message) == Job.key)
    newest = query.where(Notice.webhook == key, Job.state == JobState.SUCCEEDED).order_by(col(Notice.joined_at).desc())
    # A later one may have been taken before an earlier one, which was tried again.
    return max((at for at in tx.exec(newest.limit(NEWEST)) if at is not None), default=None)


def _state(webhook: WebhookSettings, waiting: int, messages: list[_Message], taken: datetime | None) -> WebhookState:
    given_up = [one for one in messages if one.job.state in GIVEN_UP]
    refused = [one for one in messages if one.failed_at is not None and (taken is None or one.failed_at > taken)]
    state = Delivery.UNTRIED if taken is None else Delivery.HEALTHY
    if any(one.job.state in GIVEN_UP for one in refused):
        state = Delivery.DEAD
    elif any(one.job.failures >= TRIES for one in refused):
        state = Delivery.FAILING
    since = [one.job.created_at if taken is None else max(one.job.created_at, taken) for one in refused]
    newest = max(refused, key=lambda one: timestamp(one.failed_at or one.job.created_at), default=None)
    return WebhookState(
        key=webhook.key,
        name=webhook.shown,
        format=webhook.format,
        severities=webhook.severities,
        state=state,
        since=min(since) if state.ill else None,
        last_taken=taken,
        waiting=waiting + sum(one.notices for one in messages if one not in given_up),
        given_up=sum(one.notices for one in given_up),
        jobs=tuple(one.job.id or 0 for one in given_up),
        error=newest.job.error if newest is not None and state.ill else None,
    )
