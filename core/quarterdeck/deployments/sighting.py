"""A sighting: a stretch of time in which a deployment that is served elsewhere was seen to answer with one version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Field, Session, col, select

from quarterdeck.database import Entity, time_column

TOLERANCE = timedelta(minutes=5)
"""Predictions arrive late and from several processes at once: so close together, two versions answer side by side."""
RESOLUTION = timedelta(seconds=10)
"""A stretch is drawn out in steps of this, so that a busy host does not write to state.db with each report."""


class Sighting(Entity, table=True):
    id: int | None = Field(default=None, primary_key=True)
    deployment_id: int = Field(foreign_key="deployment.id", index=True)
    version: int
    first_seen: datetime = Field(sa_column=time_column(required=True))
    """The event time of the first prediction that named the version, or when a probe said so."""
    last_seen: datetime = Field(sa_column=time_column(required=True))
    """Of the last one, to within ten seconds."""

    @property
    def stretch(self) -> Stretch:
        return Stretch(self.first_seen, self.last_seen, self.version)


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """What a sighting says."""

    first: datetime
    last: datetime
    version: int


def sightings(tx: Session, deployment_id: int) -> list[Sighting]:
    """All sightings of a deployment, oldest first."""
    query = select(Sighting).where(Sighting.deployment_id == deployment_id)
    return list(tx.exec(query.order_by(col(Sighting.first_seen), col(Sighting.id))))


def with_seen(known: Iterable[Stretch], seen: Mapping[int, Iterable[datetime]]) -> list[Stretch]:
    """The stretches, oldest first, once each version was seen at those moments too.

    Two moments of one version belong to one stretch, unless more than `TOLERANCE` lies between them and another
    version was seen meanwhile.
    """
    now = list(known)
    fresh = [Stretch(first, last, version) for version, moments in seen.items() for first, last in _bursts(moments)]
    for grown in sorted(fresh):
        while (near := _neighbour(grown, now)) is not None:
            now.remove(near)
            last = grown.last if grown.last - near.last >= RESOLUTION else near.last
            grown = Stretch(min(near.first, grown.first), last, grown.version)
        now.append(grown)
    return sorted(now)


def strays(found: Iterable[Stretch], version: int, since: datetime) -> tuple[int, ...]:
    """The versions other than `version` that were seen after `since` and still are."""
    return tuple(sorted({one.version for one in recent(found) if one.version != version and one.last > since}))


def recent(found: Iterable[Stretch]) -> list[Stretch]:
    """Those that go on, as far as is known: they end where the newest ends, give or take the tolerance."""
    stretches = list(found)
    newest = max((one.last for one in stretches), default=None)
    return [] if newest is None else [one for one in stretches if one.last >= newest - TOLERANCE]


def _bursts(moments: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    bursts: list[tuple[datetime, datetime]] = []
    for moment in sorted(moments):
        if bursts and moment - bursts[-1][1] <= TOLERANCE:
            bursts[-1] = (bursts[-1][0], moment)
        else:
            bursts.append((moment, moment))
    return bursts


def _neighbour(stretch: Stretch, among: Sequence[Stretch]) -> Stretch | None:
    """A stretch of the same version that is one with this one."""
    same = [one for one in among if one.version == stretch.version]
    before = max((one for one in same if one <= stretch), default=None)
    after = min((one for one in same if one > stretch), default=None)
    if before is not None and _are_one(before, stretch, among):
        return before
    return after if after is not None and _are_one(stretch, after, among) else None


def _are_one(earlier: Stretch, later: Stretch, among: Sequence[Stretch]) -> bool:
    return later.first - earlier.last <= TOLERANCE or not any(
        other.version != earlier.version and other.first < later.first and other.last > earlier.last for other in among
    )
