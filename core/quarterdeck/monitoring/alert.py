"""An alert: a finding that persists, its severity by consequence, and what people made of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Field, Session

from quarterdeck.database import Entity, choice_column, json_column, time_column, timestamp
from quarterdeck.errors import IllegalTransitionError, NotFoundError


class AlertKind(StrEnum):
    DRIFT = "drift"
    """The distribution of columns moved."""
    MISSING = "missing"
    """The share of missing values moved."""
    QUALITY = "quality"
    """The predictions are worse than on the holdout."""
    OUTAGE = "outage"
    """A version took the gateway along, and is withheld."""
    ESTIMATE = "estimate"
    """The predictions are estimated to be worse than on the holdout: no labels have come yet."""
    PREDICTIONS = "predictions"
    """The distribution of the answers moved."""
    FAIRNESS = "fairness"
    """Groups are treated more differently than the settings allow."""
    ACROSS = "across"
    """The columns moved together, though none of them does by itself."""
    TRAFFIC = "traffic"
    """Requests, labels or answers do not come as they used to, or the model is old."""
    UNSEEN = "unseen"
    """Values out of the range, or of categories, that training saw."""
    SKEW = "skew"
    """Columns are served with other values than the data for training has for the same rows."""
    SLO = "slo"
    """An objective's error budget burns too fast."""


OF_INPUTS = (AlertKind.DRIFT, AlertKind.MISSING, AlertKind.UNSEEN)
"""About columns of what comes in."""


BY_THE_CLOCK = (AlertKind.OUTAGE, AlertKind.SLO)
"""Seen as it happens, and in no window: they begin by the clock, all others in event time."""


class Severity(StrEnum):
    INFORMATIONAL = "informational"
    """True, and of no consequence for the model: shown, tells nobody."""
    WARNING = "warning"
    PAGE = "page"


class AlertState(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    """Somebody has it."""
    SILENCED = "silenced"
    """It tells nobody until a stated time, and is followed all the same."""
    RESOLVED = "resolved"
    """As many clean windows as an alert needs, or it is about a version that serves no more."""


class Judgement(StrEnum):
    """What the person who acknowledged it said."""

    REAL = "real"
    NOISE = "noise"


class Alert(Entity, table=True):
    id: int | None = Field(default=None, primary_key=True)
    monitor: str = Field(index=True)
    deployment: str = Field(index=True)
    version: int
    """The version that served when it was last seen."""
    kind: AlertKind = Field(sa_column=choice_column("kind", AlertKind))
    columns: list[str] = Field(sa_column=json_column())
    """The columns it is about, worst first; the metric's name for quality, realised or estimated; none for an
    outage; the objective whose budget burns."""
    slice: str | None = None
    """The slice that carries the shift: `channel=app`."""
    severity: Severity = Field(sa_column=choice_column("severity", Severity))
    score: float
    """Effect times importance, or relative loss of quality: what alerts are ranked by."""
    state: AlertState = Field(sa_column=choice_column("state", AlertState))
    summary: str
    """What it found last; once it is resolved what was worst, and when."""
    worst: dict[str, Any] | None = Field(default=None, sa_column=json_column(required=False))
    """The gravest of what it found: score, summary, and at, the start of that window. None where an older
    Quarterdeck opened it."""
    evidence: dict[str, Any] = Field(sa_column=json_column())
    """The newest scores of its columns, by column."""
    onset: datetime = Field(sa_column=time_column(required=True))
    """Start of the first window that showed it."""
    last_window_end: datetime = Field(sa_column=time_column(required=True))
    clean_windows: int = 0
    report: str | None = None
    """Digest of the full report of its window, once made."""
    opened_at: datetime = Field(sa_column=time_column(required=True))
    resolved_at: datetime | None = Field(default=None, sa_column=time_column())
    reopened: int = 0
    """How often it came back within a day of its end."""
    silenced_until: datetime | None = Field(default=None, sa_column=time_column())
    acknowledged_by: str | None = None
    judgement: Judgement | None = Field(default=None, sa_column=choice_column("judgement", Judgement, required=False))
    ticket: str | None = None
    """Where else it is dealt with: a URL or a number of an issue tracker."""
    cause: int | None = Field(default=None, index=True)
    """The alert of another deployment that stands for this one: see `monitoring.grouping`."""

    @property
    def reference(self) -> str:
        return f"alert/{self.id}"

    def acknowledge(self, actor: str, judgement: Judgement) -> None:
        """Take it on.

        Raises:
            IllegalTransitionError: it is resolved.
        """
        if self.state is AlertState.RESOLVED:
            raise IllegalTransitionError(f"Alert {self.id} is resolved: there is nothing to acknowledge.")
        self.state, self.acknowledged_by, self.judgement = AlertState.ACKNOWLEDGED, actor, judgement
        self.silenced_until = None

    def silence(self, until: datetime) -> None:
        """Let it tell nobody until then.

        Raises:
            IllegalTransitionError: it is resolved.
        """
        if self.state is AlertState.RESOLVED:
            raise IllegalTransitionError(f"Alert {self.id} is resolved: there is nothing to silence.")
        self.state, self.silenced_until = AlertState.SILENCED, until

    def wake(self) -> None:
        """End its silence.

        Raises:
            IllegalTransitionError: it is not silenced.
        """
        if self.state is not AlertState.SILENCED:
            raise IllegalTransitionError(f"Alert {self.id} is {self.state}, not silenced.")
        self.state = AlertState.OPEN if self.acknowledged_by is None else AlertState.ACKNOWLEDGED
        self.silenced_until = None

    def tell(self, summary: str, score: float, at: datetime) -> None:
        """Say what it found in the window that starts `at`."""
        self.summary = summary
        if self.worst is None or score > self.worst["score"]:
            self.worst = {"score": score, "summary": summary, "at": timestamp(at)}

    def resolve(self, at: datetime) -> None:
        if self.worst is not None:
            # Whoever reads it afterwards asks how bad it was, not how it faded.
            when = datetime.fromisoformat(self.worst["at"])
            self.summary = f"{self.worst['summary']} (at its worst, {when:%Y-%m-%d %H:%M} UTC)"
        self.state, self.resolved_at, self.silenced_until = AlertState.RESOLVED, at, None

    def reopen(self) -> None:
        """What it found is there again. Nobody has it any more."""
        self.state, self.resolved_at, self.clean_windows = AlertState.OPEN, None, 0
        self.acknowledged_by = self.judgement = None
        self.reopened += 1


def find_alert(tx: Session, alert_id: int) -> Alert:
    """The alert with that number.

    Raises:
        NotFoundError: there is none.
    """
    alert = tx.get(Alert, alert_id)
    if alert is None:
        raise NotFoundError(f"There is no alert {alert_id}. `quarterdeck alerts --all` lists them.")
    return alert
