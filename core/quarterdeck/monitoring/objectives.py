"""Objectives of deployments, and what they are measured by: counted requests, and windows that were judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, func, select

from quarterdeck.monitoring.budget import Budget, Burn, burn, burn_rate
from quarterdeck.monitoring.result import Aspect, Result, Verdict
from quarterdeck.settings import Settings
from quarterdeck.settings.objectives import BurnRate, ObjectiveSettings
from quarterdeck.traffic import outcomes
from quarterdeck.traffic.outcomes import Outcomes

MICROSECOND = timedelta(microseconds=1)
LEAST_WINDOWS = 3
BAD_WINDOWS = 2
"""A window is judged by hundreds of rows. Two that were worse are no accident, and one is left to its monitor."""


class Kind(StrEnum):
    AVAILABILITY = "availability"
    """Requests that were answered, of those that should have been."""
    LATENCY = "latency"
    """Answers that came in time, of all."""
    QUALITY = "quality"
    """Windows in which realised quality held, of those that could be judged."""


@dataclass(frozen=True, slots=True)
class Objective:
    deployment: str
    kind: Kind
    target: float
    settings: ObjectiveSettings

    @property
    def unit(self) -> str:
        """What is counted."""
        return {Kind.AVAILABILITY: "requests", Kind.LATENCY: "answers", Kind.QUALITY: "windows"}[self.kind]

    @property
    def minimum_errors(self) -> int:
        """Fewer than this in its long window do not open an alert."""
        return BAD_WINDOWS if self.kind is Kind.QUALITY else self.settings.minimum_errors

    @property
    def within(self) -> timedelta | None:
        """What is in time, for latency."""
        latency = self.settings.latency
        return latency.within if latency is not None and self.kind is Kind.LATENCY else None


def objectives_of(settings: Settings) -> Iterator[Objective]:
    """The objectives of quarterdeck.toml, by deployment."""
    for name, deployment in sorted(settings.deployments.items()):
        if deployment.slo is not None:
            for kind, target in deployment.slo.targets.items():
                yield Objective(name, Kind(kind), target, deployment.slo)


@dataclass(frozen=True, slots=True)
class Measuring:
    """One objective as it stands at a moment."""

    objective: Objective
    end: datetime
    """Now; for quality the end of the newest judged window, since labels come late and no window is judged before."""
    state: Session
    traffic: Session

    @classmethod
    def at(cls, now: datetime, objective: Objective, state: Session, traffic: Session) -> Measuring:
        newest = _newest_window(state, objective.deployment) if objective.kind is Kind.QUALITY else now
        return cls(objective, newest or now, state, traffic)

    def over(self, length: timedelta) -> Outcomes:
        """What happened in the last so long."""
        return self.between(self.end - length, self.end)

    def between(self, start: datetime, end: datetime) -> Outcomes:
        match self.objective.kind:
            case Kind.AVAILABILITY:
                return outcomes.answered(self.traffic, self.objective.deployment, start, end)
            case Kind.LATENCY:
                return outcomes.in_time(self.traffic, self.objective.deployment, start, end, within_us=self._within_us)
            case Kind.QUALITY:
                return _windows(self.state, self.objective.deployment, start, end)

    def budget(self) -> Budget:
        return Budget(self.objective.target, self.over(self.objective.settings.period))

    def burns(self, *, whole: bool = False) -> list[Burn]:
        """How the budget burns by each of its rates; `whole` as in `burn`."""
        return [burn(rule, self.objective.target, self.over, whole=whole) for rule in self._rules()]

    def _rules(self) -> Sequence[BurnRate]:
        """The burn rates. For quality only the slowest: windows are few, and what is quick is for their monitor.

        Its long window reaches back over the newest three that were judged, however long they are.
        """
        rules = self.objective.settings.burn_rates
        if self.objective.kind is not Kind.QUALITY:
            return rules
        slowest = min(rules, key=lambda rule: rule.rate)
        newest = select(Result.window_start).where(*_judged(self.objective.deployment))
        starts = self.state.exec(newest.order_by(col(Result.window_end).desc()).limit(LEAST_WINDOWS)).all()
        reach = self.end - min(starts, default=self.end)
        return [slowest.model_copy(update={"long": max(slowest.long, reach)})]

    def onset(self, rule: BurnRate) -> datetime:
        """Since when it burns as fast as `rule` says without a pause.

        Looked back by one short window after the other, to the first error in the oldest of them; for quality to the
        first window of the long one that was worse.
        """
        if self.objective.kind is Kind.QUALITY:
            return self._first_bad(self.end - rule.long) or self.end
        start = self.end - rule.short
        while start - rule.short >= self.end - rule.long:
            before = burn_rate(self.objective.target, self.between(start - rule.short, start))
            if before is None or before < rule.rate:
                break
            start -= rule.short
        return self._first_bad(start) or start

    def _first_bad(self, start: datetime) -> datetime | None:
        deployment = self.objective.deployment
        match self.objective.kind:
            case Kind.AVAILABILITY:
                return outcomes.first_error(self.traffic, deployment, start, self.end)
            case Kind.LATENCY:
                return outcomes.first_late(self.traffic, deployment, start, self.end, within_us=self._within_us)
            case Kind.QUALITY:
                worse = select(func.min(Result.window_start)).where(
                    *_judged(deployment), Result.verdict == Verdict.FOUND, col(Result.window_end) > start
                )
                return self.state.exec(worse).first()

    @property
    def _within_us(self) -> int:
        within = self.objective.within
        assert within is not None
        return within // MICROSECOND


def _judged(deployment: str) -> tuple[ColumnElement[bool], ...]:
    """Windows of a deployment's own predictions whose quality was judged; too few labels say nothing."""
    return (
        col(Result.deployment) == deployment,
        col(Result.aspect) == Aspect.QUALITY,
        col(Result.served).is_(True),
        col(Result.verdict) != Verdict.INCONCLUSIVE,
    )


def _newest_window(tx: Session, deployment: str) -> datetime | None:
    return tx.exec(select(func.max(Result.window_end)).where(*_judged(deployment))).first()


def _windows(tx: Session, deployment: str, start: datetime, end: datetime) -> Outcomes:
    """The windows that ended after `start` and no later than `end`."""
    within = (*_judged(deployment), col(Result.window_end) > start, col(Result.window_end) <= end)
    verdicts = dict(tx.exec(select(Result.verdict, func.count()).where(*within).group_by(col(Result.verdict))).all())
    return Outcomes(verdicts.get(Verdict.QUIET, 0), verdicts.get(Verdict.FOUND, 0))
