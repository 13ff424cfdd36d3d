"""Predictions that are reported again after the first report was moved to a segment."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any

from sqlmodel import Session

from quarterdeck.errors import ArtifactError
from quarterdeck.traffic import segments
from quarterdeck.traffic.segments import Moved
from quarterdeck.workspace import Workspace

Row = tuple[Any, ...]
"""A prediction, in the order of the table's columns."""
Batch = dict[str, list[Row]]
"""For each deployment the rows to insert."""
_ID, _EVENT_TIME = 1, 4
Source = tuple[str, int, str]
"""What answered: deployment, version, variant."""
source_of: Callable[[Row], Source] = itemgetter(0, 6, 7)


class Repetitions:
    """Which rows of one batch are in segments already.

    Only segments that hold a row's event time are looked into: a repeated report says the same of it, and what is
    new costs one look at an index.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._read: set[tuple[int, int]] = set()
        self._known: dict[str, set[str]] = {}

    def unread(self, tx: Session, batch: Batch) -> dict[str, list[Moved]]:
        """The segments, by deployment, that may hold rows of the batch and were not read yet."""
        found = {deployment: self._overlapping(tx, deployment, rows) for deployment, rows in batch.items()}
        return {deployment: moved for deployment, moved in found.items() if moved}

    def read(self, unread: Mapping[str, list[Moved]]) -> None:
        """Read the ids in those segments."""
        for deployment, moved in unread.items():
            for segment in moved:
                self._known.setdefault(deployment, set()).update(self._ids(segment))
                self._read.add((segment.id, segment.rows))

    def without(self, deployment: str, rows: list[Row]) -> list[Row]:
        """The rows whose ids were not read."""
        known = self._known.get(deployment)
        return [row for row in rows if row[_ID] not in known] if known else rows

    def _overlapping(self, tx: Session, deployment: str, rows: list[Row]) -> list[Moved]:
        times = sorted(map(itemgetter(_EVENT_TIME), rows))
        where = "last_event >= :first AND first_event <= :last"
        return [
            segment
            for segment in segments.find(tx, deployment, where, first=times[0], last=times[-1])
            if (segment.id, segment.rows) not in self._read and _any_within(times, segment)
        ]

    def _ids(self, segment: Moved) -> set[str]:
        try:
            return {id_ for (id_,) in segments.rows_of(self._workspace, segment, ("id",))}
        except (FileNotFoundError, ArtifactError):
            # What is recorded now must not be lost because something old is.
            return set()


def _any_within(times: list[str], segment: Moved) -> bool:
    position = bisect_left(times, segment.first_event)
    return position < len(times) and times[position] <= segment.last_event
