"""An alert as an incident: what people wrote down, what happened around it, and all of it as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import col, select

from quarterdeck.database import timestamp
from quarterdeck.errors import UsageError
from quarterdeck.events import Event
from quarterdeck.monitoring import kpis
from quarterdeck.monitoring.alert import BY_THE_CLOCK, Alert, find_alert
from quarterdeck.monitoring.kpis import KpiAround
from quarterdeck.monitoring.suspects import Suspect, suspects
from quarterdeck.monitoring.timeline import kpis_around
from quarterdeck.workspace import Workspace

LONGEST_NOTE = 4_000
CLOCK, EVENT_TIME = "clock", "event time"
AROUND = ("deployment.", "version.", "data.", "run.", "workspace.", "worker.")
"""Kinds of events that may have to do with an alert on the same deployment."""
MOST_EVENTS = 200
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?!\s)")
"""How a URL begins (RFC 3986, 3.1); words before a colon and a blank are none."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of an incident's timeline."""

    at: datetime
    actor: str
    what: str
    own: bool
    """It is about the alert itself, not only near it in time."""


@dataclass(frozen=True, slots=True)
class Incident:
    alert: int
    summary: str
    severity: str
    state: str
    deployment: str
    version: int
    columns: tuple[str, ...]
    slice: str | None
    owner: str | None
    runbook: str | None
    ticket: str | None
    judgement: str | None
    onset: datetime
    onset_is: str
    """What that is told in: event time, or the clock where it was seen in no window. All else is told by the clock."""
    opened_at: datetime
    resolved_at: datetime | None
    timeline: tuple[Moment, ...]
    suspects: tuple[Suspect, ...]
    """What may be behind it, the likeliest first."""
    kpis: tuple[KpiAround, ...]
    """How the business stood before and since, where it is known."""


def note(workspace: Workspace, alert_id: int, text: str, *, actor: str | None = None) -> None:
    """Write something down about an alert, resolved or not.

    Raises:
        UsageError: the note is empty, or longer than 4,000 characters.
        NotFoundError: there is no such alert.
        ReadOnlyError: the workspace is read-only.
    """
    text = text.strip()
    if not 0 < len(text) <= LONGEST_NOTE:
        raise UsageError(f"A note has 1 to {LONGEST_NOTE:,} characters; this one has {len(text):,}.")
    with workspace.change("note") as tx:
        workspace.record(tx, "alert.noted", find_alert(tx, alert_id).reference, {"text": text}, actor=actor)


def link_ticket(workspace: Workspace, alert_id: int, ticket: str, *, actor: str | None = None) -> None:
    """Say where else the alert is dealt with: a URL or a number of an issue tracker; an empty one takes it back.

    Raises:
        UsageError: it is longer than a line, or a URL that no issue tracker has.
        NotFoundError: there is no such alert.
        ReadOnlyError: the workspace is read-only.
    """
    ticket = ticket.strip()
    if len(ticket) > LONGEST_NOTE // 2 or len(ticket.splitlines()) > 1:
        raise UsageError("A ticket is a URL or a number, on one line.")
    scheme = SCHEME.match(ticket)
    if scheme is not None and scheme[1].lower() not in ("http", "https"):
        raise UsageError(
            f"A ticket is a URL of http or https, or a number such as OPS-12: '{scheme[0]}' is none of them."
        )
    with workspace.change("ticket") as tx:
        alert = find_alert(tx, alert_id)
        alert.ticket = ticket or None
        tx.add(alert)
        workspace.record(tx, "alert.ticketed", alert.reference, {"ticket": alert.ticket}, actor=actor)


def incident(workspace: Workspace, alert_id: int) -> Incident:
    """The alert with everything that happened to it, and around it from its onset to its end.

    Raises:
        NotFoundError: there is no such alert.
    """
    with workspace.state.read() as tx:
        alert = find_alert(tx, alert_id)
        own = tx.exec(select(Event).where(Event.subject == alert.reference).order_by(col(Event.id))).all()
        first = min(alert.onset, alert.opened_at)
        near = select(Event).where(col(Event.at) >= first, col(Event.at) <= (alert.resolved_at or workspace.now()))
        rows = tx.exec(near.order_by(col(Event.id).desc()).limit(MOST_EVENTS)).all()
    around = [row for row in rows if _concerns(row, alert)]
    moments = [_moment(row, own=True) for row in own] + [_moment(row, own=False) for row in around]
    settings = workspace.settings.monitors.get(alert.monitor)
    return Incident(
        alert=alert_id,
        summary=alert.summary,
        severity=alert.severity,
        state=alert.state,
        deployment=alert.deployment,
        version=alert.version,
        columns=tuple(alert.columns),
        slice=alert.slice,
        owner=None if settings is None else settings.owner,
        runbook=None if settings is None else settings.runbook,
        ticket=alert.ticket,
        judgement=alert.judgement,
        onset=alert.onset,
        onset_is=CLOCK if alert.kind in BY_THE_CLOCK else EVENT_TIME,
        opened_at=alert.opened_at,
        resolved_at=alert.resolved_at,
        timeline=tuple(sorted(moments, key=lambda moment: moment.at)),
        suspects=suspects(workspace, alert_id),
        kpis=kpis_around(workspace, alert_id),
    )


def as_markdown(found: Incident) -> str:
    """The incident as a page that can be handed on."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Incident) -> Iterator[str]:
    yield f"# Alert {found.alert}: {_plain(found.summary)}"
    yield ""
    facts: dict[str, Any] = {
        "Severity": found.severity,
        "State": found.state if found.judgement is None else f"{found.state}, judged {found.judgement}",
        "Deployment": f"{found.deployment}, version {found.version}",
        "Columns": ", ".join(found.columns),
        "Slice": found.slice,
        "Owner": found.owner,
        "Runbook": found.runbook,
        "Ticket": found.ticket,
        f"Began ({found.onset_is})": timestamp(found.onset),
        f"Opened ({CLOCK})": timestamp(found.opened_at),
        f"Resolved ({CLOCK})": None if found.resolved_at is None else timestamp(found.resolved_at),
    }
    for name, value in facts.items():
        if value:
            yield f"- **{name}:** {_plain(str(value))}"
    for one in found.kpis:
        yield f"- **KPI:** {_plain(kpis.words(one))}"
    yield from _suspected(found.suspects)
    yield ""
    yield "## Timeline"
    yield ""
    yield "| when (clock, UTC) | who | what |"
    yield "| --- | --- | --- |"
    for moment in found.timeline:
        what = _plain(moment.what) if moment.own else f"*{_plain(moment.what)}*"
        yield f"| {_second(moment.at)} | {_plain(moment.actor)} | {what} |"
    if any(not moment.own for moment in found.timeline):
        yield ""
        yield "What is set in italics happened meanwhile."


def _suspected(found: Sequence[Suspect]) -> Iterator[str]:
    yield ""
    yield "## Suspects"
    yield ""
    if not found:
        yield "Nothing is known that was changed, or came in otherwise, before it began."
    for number, one in enumerate(found, start=1):
        columns = f" Columns: {_plain(', '.join(one.columns))}." if one.columns else ""
        yield (
            f"{number}. **{_plain(one.reference)}** ({one.score:.2f}, {timestamp(one.when)[:16]} event time): "
            f"{_plain(one.what)}; {_plain(one.why)}.{columns}"
        )


def _second(at: datetime) -> str:
    """As people read it, in UTC."""
    return timestamp(at)[:19].replace("T", " ")


def _read(stored: object) -> str:
    """A time that an event holds as text."""
    return f"{str(stored)[:19].replace('T', ' ')} UTC"


def _plain(text: str) -> str:
    """Text that stays in its cell and means nothing to Markdown."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def _concerns(event: Event, alert: Alert) -> bool:
    """Whether what happened may have to do with the alert: on its deployment, or on something it was made of."""
    if event.subject == alert.reference or not event.kind.startswith(AROUND):
        return False
    kind = event.subject.partition("/")[0]
    return event.subject == f"deployment/{alert.deployment}" or kind in ("version", "data", "run", "workspace")


def _moment(event: Event, *, own: bool) -> Moment:
    data = event.data
    words = {
        "alert.opened": "opened",
        "alert.reopened": "came back",
        "alert.escalated": f"escalated to {data.get('severity')}",
        "alert.acknowledged": f"taken on, judged {data.get('judgement')}",
        "alert.silenced": f"silenced until {_read(data.get('until'))}: {data.get('reason')}",
        "alert.unsilenced": "the silence ended",
        "alert.resolved": f"resolved: {data.get('why')}",
        "alert.report_requested": "a full report was asked for",
        "alert.reported": "a full report was made",
        "alert.noted": str(data.get("text")),
        "reaction.waiting": f"{data.get('policy')} waits: {data.get('reason')}",
        "reaction.held": f"{data.get('policy')} {'not done' if data.get('over') else 'held'}: {data.get('reason')}",
        "reaction.fired": f"{data.get('policy')} fired, {data.get('result') or 'told'}: {data.get('because')}",
        "reaction.failed": f"a reaction failed: {data.get('error')}",
        "alert.ticketed": f"ticket: {data.get('ticket') or 'none any more'}",
    }
    what = words.get(event.kind) or f"{event.subject}: {event.kind.partition('.')[2].replace('_', ' ')}"
    if not own and data.get("reason"):
        what += f" ({data['reason']})"
    return Moment(event.at, event.actor, what, own)
