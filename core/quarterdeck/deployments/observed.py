"""From when to when which version was seen to answer elsewhere, as queries tell it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlmodel import Session, col, select

from quarterdeck.deployments.deployment import Deployment, ServedBy
from quarterdeck.deployments.revision import Revision
from quarterdeck.deployments.rows import Interval
from quarterdeck.deployments.sighting import Stretch, recent, sightings


def stretches_of(tx: Session, deployment: Deployment) -> list[Stretch]:
    """What was seen of a deployment that is served elsewhere, oldest first; nothing of others."""
    if deployment.served_by is not ServedBy.EXTERNAL:
        return []
    return [row.stretch for row in sightings(tx, deployment.id or 0)]


def seen_while_wanted(revision: Revision, seen: Sequence[Stretch]) -> tuple[datetime | None, datetime | None]:
    """When its version was first and last seen while it was wanted."""
    end = revision.replaced_at or datetime.max.replace(tzinfo=UTC)
    spans = [
        (max(one.first, revision.created_at), min(one.last, end))
        for one in seen
        if one.version == revision.version and one.first < end and one.last >= revision.created_at
    ]
    return (min(first for first, _ in spans), max(last for _, last in spans)) if spans else (None, None)


def seen_intervals(tx: Session, deployment: Deployment) -> list[Interval]:
    """From when to when each version was seen elsewhere, oldest first; those of two versions may overlap."""
    seen = stretches_of(tx, deployment)
    going_on = recent(seen)
    made = tx.exec(select(Revision).where(Revision.deployment_id == deployment.id).order_by(col(Revision.number)))
    wanted = [(revision, seen_while_wanted(revision, seen)[0]) for revision in made]
    return [
        Interval(
            revision=next((r.number for r, first in wanted if r.version == one.version and _within(first, one)), None),
            version=one.version,
            start=one.first,
            end=None if one in going_on else one.last,
        )
        for one in seen
    ]


def _within(moment: datetime | None, stretch: Stretch) -> bool:
    return moment is not None and stretch.first <= moment <= stretch.last
