"""Recorded predictions one by one, newest first: all of a deployment, or those that somebody looks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlmodel import Session

from quarterdeck.database import timestamp
from quarterdeck.errors import NotFoundError, UsageError
from quarterdeck.traffic import segments
from quarterdeck.traffic.parquet import COLUMNS, END_OF_TIME
from quarterdeck.traffic.segments import Moved, Row, rows_here
from quarterdeck.workspace import Workspace


@dataclass(frozen=True, slots=True)
class PredictionRow:
    id: str
    key: str | None
    received_at: datetime
    event_time: datetime
    revision: int | None
    version: int
    variant: str
    inputs: list[Any]
    prediction: Any
    probabilities: list[float] | None
    latency_ms: float
    probe: bool
    label: Any
    """The truth, None until it is known."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What predictions are looked for: all that is given has to hold."""

    id: str | None = None
    key: str | None = None
    """The user's own key; several predictions may have it."""
    start: datetime | None = None
    """Event times from here on."""
    end: datetime | None = None
    """Event times before this."""
    revision: int | None = None
    version: int | None = None

    def __post_init__(self) -> None:
        """Raises UsageError: no moment is from the start on and before the end."""
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise UsageError(
                f"Nothing is from {self.start:%Y-%m-%d %H:%M:%S} on and before {self.end:%Y-%m-%d %H:%M:%S}: the start "
                "comes first."
            )

    @property
    def by(self) -> str:
        """The time that they are sorted by: arrival, unless event times are looked for."""
        return "received_at" if self.start is None and self.end is None else "event_time"

    @property
    def span(self) -> tuple[str, str]:
        """Event times as text: from the first on, and before the second."""
        return (
            "" if self.start is None else timestamp(self.start),
            END_OF_TIME if self.end is None else timestamp(self.end),
        )

    @property
    def equal(self) -> dict[str, int | str]:
        """The columns whose value is given."""
        given = {"id": self.id, "key": self.key, "revision": self.revision, "version": self.version}
        return {name: value for name, value in given.items() if value is not None}

    def may_be_in(self, segment: Moved) -> bool:
        """Whether a segment holds predictions of that version and revision."""
        return (self.version is None or self.version in segment.versions) and (
            self.revision is None or self.revision in segment.revisions
        )


EVERY = Sought()


def recent(workspace: Workspace, deployment: str, limit: int = 100, sought: Sought = EVERY) -> list[PredictionRow]:
    """The newest predictions of a deployment that are sought, newest first, probes among them.

    An id or a key that is in no table any more is looked for in every file, of which only that column is read.

    Raises:
        ArtifactError: a file of compacted predictions is missing or damaged.
    """
    names = (sought.by, "id", *(name for name in COLUMNS if name not in (sought.by, "id")))
    conditions = ["deployment = :deployment", *(f"{name} = :{name}" for name in sought.equal)]
    values: dict[str, Any] = {"deployment": deployment, "limit": limit, **sought.equal}
    if sought.by == "event_time":
        conditions.append("event_time >= :start AND event_time < :end")
        values["start"], values["end"] = sought.span
    # Left alone, SQLite walks back through the times until it has met enough rows of that key.
    index = "INDEXED BY ix_prediction_key" if sought.key is not None and sought.id is None else ""
    sql = f"""
        SELECT {", ".join(names)}, probe FROM prediction {index}
        WHERE {" AND ".join(conditions)} ORDER BY {sought.by} DESC, id DESC LIMIT :limit
    """

    def read(tx: Session) -> tuple[list[Row], dict[str | None, str]]:
        rows = rows_here(tx, sql, values)
        moved = _segments(tx, deployment, sought, rows[-1][0] if len(rows) == limit else "")
        rows = segments.newest(
            rows, moved, _newest_of(sought), limit, lambda segment: _moved(workspace, segment, names, sought, limit)
        )
        places = names.index("id"), names.index("key")
        return rows, segments.labels(tx, deployment, (row[place] for row in rows for place in places))

    rows, labels = segments.snapshot(workspace, read)
    return [_prediction(dict(zip((*names, "probe"), row, strict=True)), labels) for row in rows]


def prediction(workspace: Workspace, deployment: str, id_: str, *, at: datetime | None = None) -> PredictionRow:
    """One prediction by its id; `at`, its event time, says where to look, and spares a look into every file.

    Raises:
        NotFoundError: none of that deployment has it.
        ArtifactError: a file of compacted predictions is missing or damaged.
    """
    sought = Sought(id=id_, start=at, end=None if at is None else at + timedelta(microseconds=1))
    found = recent(workspace, deployment, 1, sought)
    if not found:
        raise NotFoundError(
            f"No recorded prediction of '{deployment}' has the id '{id_}'. If that is your own key of the row: "
            f"`quarterdeck predictions list {deployment} --key {id_}`."
        )
    return found[0]


def _segments(tx: Session, deployment: str, sought: Sought, since: str) -> list[Moved]:
    """Those that may hold what is sought, from `since` on."""
    start, end = sought.span
    if sought.by == "received_at":
        found = segments.arrived(tx, deployment, since)
    else:
        where = "last_event >= :start AND first_event < :end"
        found = segments.find(tx, deployment, where, start=max(start, since), end=end)
    return [segment for segment in found if sought.may_be_in(segment)]


def _newest_of(sought: Sought) -> Any:
    if sought.by == "received_at":
        return lambda segment: segment.last_received
    return lambda segment: segment.last_event


def _moved(workspace: Workspace, segment: Moved, names: tuple[str, ...], sought: Sought, limit: int) -> list[Row]:
    between = None if sought.by == "received_at" else {"event_time": sought.span}
    rows = segments.rows_of(workspace, segment, names, between=between, equal=sought.equal, newest=limit)
    # Probes are never moved.
    return [(*row, 0) for row in rows]


def _prediction(row: dict[str, Any], labels: dict[str | None, str]) -> PredictionRow:
    return PredictionRow(
        id=row["id"],
        key=row["key"],
        received_at=datetime.fromisoformat(row["received_at"]),
        event_time=datetime.fromisoformat(row["event_time"]),
        revision=row["revision"],
        version=row["version"],
        variant=row["variant"],
        inputs=msgspec.json.decode(row["inputs"]),
        prediction=msgspec.json.decode(row["prediction"]),
        probabilities=msgspec.json.decode(row["probabilities"]),
        latency_ms=row["latency_us"] / 1000,
        probe=bool(row["probe"]),
        label=msgspec.json.decode(segments.label_of(labels, row["id"], row["key"])),
    )
