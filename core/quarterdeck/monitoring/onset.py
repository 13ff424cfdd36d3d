"""The window in which an alert began: who served it, and what was strange in it, to whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.monitoring.alert import Alert
from quarterdeck.monitoring.alerting import OF_ONE_VERSION
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.settings.monitoring import MonitorSettings
from quarterdeck.workspace import Workspace

NO_WINDOW = timedelta(hours=1)
"""What stands for a window where none was judged: an outage has none."""


class Sign(StrEnum):
    """How a column of a window was strange."""

    MOVED = "moved"
    MISSING = "missing"
    UNSEEN = "unseen"


Strange = dict[tuple[str, Sign], dict[str, Any]]
"""By column and sign the score that says so."""


@dataclass(frozen=True, slots=True)
class Onset:
    """The first window of an alert."""

    alert: Alert
    start: datetime
    end: datetime
    version: int
    """The version that the alert spoke of then: of alerts on inputs the one with most of the window's rows."""
    reach: timedelta
    """The length of the windows in which a finding must persist: what happened this long before counts half."""
    strange: Strange
    """To that version."""
    others: dict[int, Strange]
    """To each other version that could tell: where too little data came, it is not there."""

    def familiar_to(self, version: int) -> Strange:
        """What was strange to the serving version, and was not to that one. Empty where that one was not asked."""
        other = self.others.get(version)
        return {} if other is None else {key: row for key, row in self.strange.items() if key not in other}


def find_onset(tx: Session, workspace: Workspace, alert: Alert) -> Onset:
    """The window in which an alert began, as it was judged against every version."""
    query = select(Result).where(Result.monitor == alert.monitor, Result.window_start == alert.onset)
    judged = tx.exec(query.order_by(col(Result.served).desc(), col(Result.n_current).desc())).all()
    inputs = [row for row in judged if row.aspect is Aspect.INPUTS]
    served = next((row for row in inputs if row.served), None)
    version = alert.version if alert.kind in OF_ONE_VERSION or served is None else served.version
    end = max((row.window_end for row in judged), default=alert.onset + NO_WINDOW)
    settings = workspace.settings.monitors.get(alert.monitor) or MonitorSettings(deployment=alert.deployment)
    return Onset(
        alert=alert,
        start=alert.onset,
        end=end,
        version=version,
        reach=(end - alert.onset) * settings.persistence[1],
        strange=strange_in(row for row in inputs if row.version == version),
        others={
            row.version: strange_in([row])
            for row in inputs
            if row.version != version and row.verdict is not Verdict.INCONCLUSIVE
        },
    )


def strange_in(results: Iterable[Result]) -> Strange:
    """What those results found, by column and sign."""
    found: Strange = {}
    for result in results:
        for row in result.scores:
            if row.get("verdict") == "drifted":
                found[row["column"], Sign.MOVED] = row
            if row.get("missing_verdict") == "drifted":
                found[row["column"], Sign.MISSING] = row
            # Of a column that moved the distance tells already.
            if row.get("unseen_verdict") == "drifted" and row.get("verdict") != "drifted":
                found[row["column"], Sign.UNSEEN] = row
    return found


def answered_well(tx: Session, onset: Onset, since: datetime) -> datetime | None:
    """The end of the newest window from `since` on, before the onset, in which the version's quality was quiet."""
    query = select(Result.window_end).where(
        Result.monitor == onset.alert.monitor,
        Result.aspect == Aspect.QUALITY,
        Result.version == onset.version,
        Result.verdict == Verdict.QUIET,
        col(Result.window_start) >= since,
        col(Result.window_end) <= onset.start,
    )
    return tx.exec(query.order_by(col(Result.window_start).desc()).limit(1)).first()


def windows_before(tx: Session, onset: Onset, limit: int) -> list[Result]:
    """The windows of inputs before the onset, judged against the version that served them, newest first."""
    query = select(Result).where(
        Result.monitor == onset.alert.monitor,
        Result.aspect == Aspect.INPUTS,
        col(Result.served).is_(True),
        col(Result.window_start) < onset.start,
        col(Result.window_end) <= onset.start,
    )
    return list(tx.exec(query.order_by(col(Result.window_start).desc(), col(Result.n_current).desc()).limit(limit)))
