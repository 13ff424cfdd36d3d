"""Whether what should come comes: requests, their labels, answers instead of rejections; and how old the model is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlmodel import Session, col, select

from quarterdeck.monitoring.monitor import WEEK, Monitor, Span
from quarterdeck.monitoring.result import SILENCE, Aspect, Result
from quarterdeck.statistics.significance import two_shares_p
from quarterdeck.traffic.queries import fallbacks_between, unanswered_between
from quarterdeck.workspace import Workspace

LEAST_WINDOWS = 4
"""That were judged before: fewer do not say what is usual."""
PAST_WINDOWS, PAST_WEEKS = 28, 8
SPREADS = 4.0
"""How far the logarithm of a volume must lie from the usual one, in spreads of the past ones."""
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came in one window."""

    n: int
    """Predictions."""
    unanswered: Mapping[str, int]
    """Requests without one, by the reason that `traffic.prediction.Unanswered` names."""
    fallbacks: int | None
    """Of the predictions those that the fallback made; None where the deployment has none."""
    labels_wait: timedelta | None
    """How far the watermark is behind the oldest window that still waits for its labels; None where none does."""
    labels_usual: timedelta | None
    """The same when labels came, the longest of the judged windows; None where too few were judged."""
    age: timedelta | None
    """Since the version that answers was registered."""


def arrived_in(
    workspace: Workspace, monitor: Monitor, window: Span, n: int, watermark: datetime, since: datetime | None
) -> Arrived:
    """What is known of a window with n predictions; `since` is when the version that answers was registered."""
    with workspace.state.read() as tx:
        waiting = _without_quality(tx, monitor)
        lags = [row["lag"] for row in _quality_rows(tx, monitor) if "lag" in row]
    deployment = monitor.settings.deployment
    stands_in = workspace.settings.deployment(deployment).fallback is not None
    return Arrived(
        n,
        unanswered_between(workspace, deployment, window.start, window.end),
        fallbacks_between(workspace, deployment, window.start, window.end) if stands_in else None,
        labels_wait=None if waiting is None else max(watermark - waiting, timedelta(0)),
        labels_usual=timedelta(seconds=max(lags)) if len(lags) >= LEAST_WINDOWS else None,
        age=None if since is None else workspace.now() - since,
    )


def _quality_rows(tx: Session, monitor: Monitor) -> list[dict[str, Any]]:
    query = select(Result.scores).where(Result.monitor == monitor.name, Result.aspect == Aspect.QUALITY)
    newest = tx.exec(query.order_by(col(Result.window_end).desc()).limit(PAST_WINDOWS)).all()
    return [scores[0] for scores in newest]


def _without_quality(tx: Session, monitor: Monitor) -> datetime | None:
    """The end of the oldest of the newest windows whose labels have not come."""
    judged = select(Result.window_start).where(Result.monitor == monitor.name, Result.aspect == Aspect.QUALITY)
    query = select(Result.window_start, Result.window_end).where(
        Result.monitor == monitor.name, Result.aspect == Aspect.INPUTS, col(Result.served).is_(True)
    )
    newest = tx.exec(query.order_by(col(Result.window_end).desc()).limit(PAST_WINDOWS)).all()
    known = set(tx.exec(judged.order_by(col(Result.window_end).desc()).limit(PAST_WINDOWS)))
    return min((end for start, end in newest if start not in known), default=None)


def past_results(workspace: Workspace, monitor: Monitor, window: Span) -> list[Result]:
    """The results of this kind that say what is usual: of the newest windows, and of those whole weeks ago."""
    mine = select(Result).where(Result.monitor == monitor.name, Result.aspect == Aspect.TRAFFIC, Result.n_current > 0)
    weeks = [window.start - WEEK * number for number in range(1, PAST_WEEKS + 1)]
    with workspace.state.read() as tx:
        newest = tx.exec(mine.order_by(col(Result.window_end).desc()).limit(PAST_WINDOWS)).all()
        same = tx.exec(mine.where(col(Result.window_start).in_(weeks))).all()
    return list({result.window_start: result for result in (*newest, *same)}.values())


def judge_arrivals(monitor: Monitor, window: Span, arrived: Arrived, past: Sequence[Result]) -> list[dict[str, Any]]:
    """One row for each signal: its name as `column`, value, usual, verdict and severity.

    `past` are the results of earlier windows, in any order. Volume: half or double the usual one (`volume` in the
    settings), which is the median of the same weekday and hour where four such windows are known, else of the newest
    28; and four spreads from it, the larger of the median absolute deviation and Poisson's. Rejections,
    errors and answers of the fallback: a share of the requests, or of the predictions, that grew by `rejections`,
    significantly. Labels: over twice as late as the latest ones so far, and a window more. The age has no usual one,
    but what `oldest` says.
    """
    settings = monitor.settings
    rows = [] if settings.rows is not None else [_volume(monitor, window, arrived.n, past)]
    earlier = [_by_name(result) for result in past]
    for name, reasons in (("rejections", ("rejected",)), ("errors", ("failed", "overload"))):
        count = sum(arrived.unanswered.get(reason, 0) for reason in reasons)
        rows.append(_share(monitor, name, count, arrived.n + count, [one[name] for one in earlier if name in one]))
    if arrived.fallbacks is not None:
        known = [one["fallbacks"] for one in earlier if "fallbacks" in one]
        rows.append(_share(monitor, "fallbacks", arrived.fallbacks, max(arrived.n, arrived.fallbacks), known))
    if arrived.labels_usual is not None:
        waits = (arrived.labels_wait or timedelta(0)).total_seconds()
        usual = arrived.labels_usual.total_seconds()
        late = waits > 2 * usual + (window.end - window.start).total_seconds()
        rows.append(_row("labels", waits, usual, late, settings.warning))
    if settings.oldest is not None and arrived.age is not None:
        age, oldest = arrived.age.total_seconds(), settings.oldest.total_seconds()
        rows.append(_row("age", age, oldest, age > oldest, settings.warning))
    if past:
        rows.append(_row(SILENCE, 0.0, None, found=False, severity=settings.page))
    return rows


def judge_silence(monitor: Monitor, watermark: datetime, now: datetime, newest: Result) -> dict[str, Any] | None:
    """A row for traffic that came as it happened and comes no more; None while that cannot be said.

    `newest` is the newest judged window: where it was judged long after its end, events are not of the present.
    """
    settings = monitor.settings
    length = newest.window_end - newest.window_start
    allowed = (settings.silence or length) + settings.grace
    live = newest.evaluated_at - newest.window_end <= length + settings.grace + settings.every
    quiet = now - watermark
    if not live or quiet <= allowed:
        return None
    return _row(SILENCE, quiet.total_seconds(), allowed.total_seconds(), found=True, severity=settings.page)


def _volume(monitor: Monitor, window: Span, n: int, past: Sequence[Result]) -> dict[str, Any]:
    same = [one for one in past if (window.start - one.window_start) % WEEK == timedelta(0)]
    chosen = same if len(same) >= LEAST_WINDOWS else past
    counts = [one.n_current for one in sorted(chosen, key=lambda one: one.window_start)[-PAST_WINDOWS:]]
    counts = [count for count in counts if count]
    if len(counts) < LEAST_WINDOWS or not n:
        return _row("volume", n, None, found=None, severity=0.0)
    logs = [math.log(count) for count in counts]
    usual = median(logs)
    spread = max(MAD_TO_SIGMA * median(abs(one - usual) for one in logs), math.exp(-usual / 2))
    moved = abs(math.log(n) - usual)
    found = moved >= math.log(monitor.settings.volume) and moved > SPREADS * spread
    return _row("volume", n, math.exp(usual), found, monitor.settings.warning)


def _share(monitor: Monitor, name: str, count: int, requests: int, past: list[dict[str, Any]]) -> dict[str, Any]:
    # What was a finding is not usual, however long it lasts.
    past = [row for row in past if row["verdict"] != "drifted"]
    known, of = sum(row["count"] for row in past), sum(row["requests"] for row in past)
    share = count / requests if requests else 0.0
    usual = known / of if of else None
    found: bool | None = None
    if usual is not None and requests:
        grown = share - usual >= monitor.settings.rejections
        found = grown and two_shares_p(known, of, count, requests) < monitor.settings.significance
    row = _row(name, share, usual, found, share - (usual or 0.0))
    return {**row, "count": count, "requests": requests}


def _row(name: str, value: float, usual: float | None, found: bool | None, severity: float) -> dict[str, Any]:
    verdict = "inconclusive" if found is None else "drifted" if found else "quiet"
    return {"column": name, "value": value, "usual": usual, "verdict": verdict, "severity": severity}


def _by_name(result: Result) -> dict[str, dict[str, Any]]:
    return {row["column"]: row for row in result.scores}
