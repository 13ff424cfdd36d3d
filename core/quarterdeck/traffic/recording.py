"""Writing predictions: in bulk, idempotent by id, under the lock of traffic.db alone."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

import msgspec
from sqlmodel import Session

from quarterdeck.database import rows_as_dicts, timestamp
from quarterdeck.settings.objectives import LATENCY_CLASSES_US
from quarterdeck.traffic.prediction import CHAMPION, SLOWEST_US, minute_of
from quarterdeck.traffic.repetitions import Batch, Repetitions, Row, Source, source_of
from quarterdeck.workspace import Workspace

_INSERT_PREDICTION = """
INSERT OR IGNORE INTO prediction (
    deployment, id, key, received_at, event_time, revision, version, variant,
    inputs, prediction, probabilities, latency_us, probe
)
"""
ROWS_AT_ONCE = 100
"""Rows of one statement. The interpreter is let go and taken back for each statement that runs, and beside a thread
that answers requests that is a long wait: row by row a busy gateway could write a thousand predictions a second."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of reported predictions."""

    accepted: int
    duplicates: int
    """Known by their id already: nothing was changed."""


def record(workspace: Workspace, predictions: Sequence[Mapping[str, Any]]) -> int:
    """Write served predictions, with the fields of `Prediction`; return how many were new.

    `key`, `revision`, `variant` ("champion"), `latency_us` (0) and `probe` (False) may be left out, and so may
    `event_time`, which then is `received_at`. One whose deployment and id are known is ignored.

    Raises:
        BusyError: the lock of traffic.db was not free in time.
    """
    return record_rows(workspace, [_row(prediction) for prediction in predictions]).total()


def rows_of(
    deployment: str,
    *,
    received_at: datetime,
    revision: int | None,
    version: int,
    variant: str,
    latency_us: int,
    probe: bool,
    ids: Iterable[str],
    keys: Iterable[str | None],
    event_times: Iterable[datetime | None],
    inputs: Iterable[Sequence[Any]],
    predictions: Iterable[Any],
    probabilities: Iterable[Sequence[float] | None],
) -> list[Row]:
    """The rows of one request that a version answered, as they are stored.

    They are made before the lock is taken, which should be held for the writing alone.
    """
    received = timestamp(received_at)
    return [
        (
            deployment,
            id_,
            key,
            received,
            received if event_time is None else timestamp(event_time),
            revision,
            version,
            variant,
            _encode(row).decode(),
            _encode(prediction).decode(),
            _encode(shares).decode(),
            latency_us,
            probe,
        )
        for id_, key, event_time, row, prediction, shares in zip(
            ids, keys, event_times, inputs, predictions, probabilities, strict=True
        )
    ]


def record_rows(workspace: Workspace, rows: Iterable[Row], *, tally: str | None = None) -> Counter[Source]:
    """As `record`, of what `rows_of` made; how many were new, by what answered.

    They are `settled` for the `tally` in which a gateway worker counted them.

    Raises:
        BusyError: the lock of traffic.db was not free in time.
    """
    batch = _by_deployment(rows)
    return _insert_new(workspace, "record", batch, tally) if batch else Counter()


def record_unrecorded(
    workspace: Workspace, source: Source, *, worker: str, count: int, reason: str, tally: str | None = None
) -> None:
    """Write down that `count` predictions were answered but could not be recorded; they are `settled` by that."""
    sql = "INSERT INTO unrecorded (at, deployment, worker, count, reason)"
    with workspace.traffic.write("record_unrecorded") as tx:
        insert(tx, sql, [(timestamp(workspace.now()), source[0], worker, count, reason)])
        _settle(tx, tally, Counter({source: count}))


def settled(workspace: Workspace, tally: str) -> Counter[Source]:
    """How many predictions that a tally has counted are written down, as recorded or as unrecorded."""
    sql = "SELECT deployment, version, variant, rows FROM settled WHERE tally = :tally"
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, tally=tally)
    return Counter({(row["deployment"], row["version"], row["variant"]): row["rows"] for row in rows})


def _settle(tx: Session, tally: str | None, counts: Counter[Source]) -> None:
    """Count them in the transaction that writes them: a kill comes before both or behind both."""
    sql = """
        INSERT INTO settled (tally, deployment, version, variant, rows) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET rows = rows + excluded.rows
    """
    if tally is not None:
        for source, rows in counts.items():
            tx.connection().exec_driver_sql(sql, (tally, *source, rows))


def record_unanswered(workspace: Workspace, deployment: str, revision: int, *, reason: str, count: int) -> None:
    """Write down that `count` requests to a revision got an error, of the kind that `Unanswered.reason` names."""
    sql = """
        INSERT INTO unanswered (deployment, at, revision, reason, count) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET count = count + excluded.count
    """
    with workspace.traffic.write("record_unanswered") as tx:
        tx.connection().exec_driver_sql(sql, (deployment, minute_of(workspace.now()), revision, reason, count))


def record_answered(workspace: Workspace, counts: Mapping[tuple[str, int], int]) -> None:
    """Write down how many requests were answered, by deployment and `latency_class`."""
    sql = """
        INSERT INTO answered (deployment, at, within_us, count) VALUES (?, ?, ?, ?)
        ON CONFLICT DO UPDATE SET count = count + excluded.count
    """
    minute = minute_of(workspace.now())
    rows = [(deployment, minute, within_us, count) for (deployment, within_us), count in counts.items()]
    with workspace.traffic.write("record_answered") as tx:
        tx.connection().exec_driver_sql(sql, rows)


def latency_class(latency_us: int) -> int:
    """The `Answered.within_us` under which a latency is counted."""
    place = bisect_left(LATENCY_CLASSES_US, latency_us)
    return LATENCY_CLASSES_US[place] if place < len(LATENCY_CLASSES_US) else SLOWEST_US


def add_predictions(workspace: Workspace, deployment: str, predictions: Sequence[Mapping[str, Any]]) -> Ingested:
    """Take predictions that an outside system made, checked and with the fields of `Prediction`. All or none are taken.

    Raises:
        ReadOnlyError: the workspace is read-only.
    """
    workspace.refuse_if_read_only("predictions add")
    batch = _by_deployment(_row({**prediction, "deployment": deployment}) for prediction in predictions)
    accepted = _insert_new(workspace, "predictions add", batch).total() if batch else 0
    return Ingested(accepted=accepted, duplicates=len(predictions) - accepted)


def _insert_new(workspace: Workspace, verb: str, batch: Batch, tally: str | None = None) -> Counter[Source]:
    """Insert what is not known by its id, here or in a segment; how many that were, by what answered."""
    repetitions = Repetitions(workspace)
    while True:
        with workspace.traffic.write(verb) as tx:
            unread = repetitions.unread(tx, batch)
            if not unread:
                new: Counter[Source] = Counter()
                for deployment, rows in batch.items():
                    for source, some in groupby(repetitions.without(deployment, rows), source_of):
                        new[source] += insert(tx, _INSERT_PREDICTION, list(some))
                _settle(tx, tally, new)
                return new
        # Files are read without the lock; that none came meanwhile is looked up again under it.
        repetitions.read(unread)


def insert(tx: Session, into: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows of the columns that `into` names (`INSERT INTO table (a, b)`); return how many there are now."""
    connection, written = tx.connection(), 0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        sql = f"{into} VALUES {_marks(len(some), len(some[0]))}"
        written += connection.exec_driver_sql(sql, tuple(chain.from_iterable(some))).rowcount
    return written


@cache
def _marks(rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's own."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} cannot be recorded")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def as_json(value: Any) -> str:
    """A value as it is stored: NaN and infinities are null, which is what a missing value is here."""
    return _encode(value).decode()


def _row(prediction: Mapping[str, Any]) -> Row:
    """One prediction with the fields of `Prediction`."""
    (row,) = rows_of(
        prediction["deployment"],
        received_at=prediction["received_at"],
        revision=prediction.get("revision"),
        version=prediction["version"],
        variant=prediction.get("variant", CHAMPION),
        latency_us=prediction.get("latency_us", 0),
        probe=prediction.get("probe", False),
        ids=[prediction["id"]],
        keys=[prediction.get("key")],
        event_times=[prediction.get("event_time")],
        inputs=[prediction["inputs"]],
        predictions=[prediction["prediction"]],
        probabilities=[prediction.get("probabilities")],
    )
    return row


def _by_deployment(rows: Iterable[Row]) -> Batch:
    batch = Batch()
    for deployment, some in groupby(rows, itemgetter(0)):
        batch.setdefault(deployment, []).extend(some)
    return batch
