"""Writing predictions and labels: in bulk, idempotent by id, under the lock of traffic.db alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlmodel import Session

from quarterdeck.database import timestamp
from quarterdeck.errors import DataError, ReadOnlyError
from quarterdeck.traffic.moments import moment
from quarterdeck.traffic.repetitions import Batch, Repetitions
from quarterdeck.workspace import Workspace

_INSERT_PREDICTION = """
INSERT OR IGNORE INTO prediction (
    deployment, id, key, received_at, event_time, revision, version, variant,
    inputs, prediction, probabilities, latency_us, probe
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_LABEL = """
INSERT INTO label (deployment, reference, value, labelled_at, received_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (deployment, reference) DO UPDATE SET
    value = excluded.value, labelled_at = excluded.labelled_at, received_at = excluded.received_at
"""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of reported predictions."""

    accepted: int
    duplicates: int
    """Known by their id already: nothing was changed."""


def record(workspace: Workspace, predictions: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Write served predictions, with the fields of `Prediction`; return how many were new, by deployment.

    `key`, `revision`, `variant` ("champion"), `latency_us` (0) and `probe` (False) may be left out, and so may
    `event_time`, which then is `received_at`. One whose deployment and id are known is ignored.

    Raises:
        BusyError: the lock of traffic.db was not free in time.
    """
    # Encoded before the lock is taken: it should be held for the writing alone.
    rows = Batch()
    for prediction in predictions:
        rows.setdefault(prediction["deployment"], []).append(_prediction_row(prediction))
    return _insert_new(workspace, "record", rows) if rows else Counter()


def record_unrecorded(workspace: Workspace, deployment: str, *, worker: str, count: int, reason: str) -> None:
    """Write down that `count` predictions were answered but could not be recorded."""
    sql = "INSERT INTO unrecorded (at, deployment, worker, count, reason) VALUES (?, ?, ?, ?, ?)"
    with workspace.traffic.write("record_unrecorded") as tx:
        _insert(tx, sql, [(timestamp(workspace.now()), deployment, worker, count, reason)])


def record_unanswered(workspace: Workspace, deployment: str, revision: int, *, reason: str, count: int) -> None:
    """Write down that `count` requests to a revision got an error, of the kind that `Unanswered.reason` names."""
    sql = "INSERT INTO unanswered (at, deployment, revision, reason, count) VALUES (?, ?, ?, ?, ?)"
    with workspace.traffic.write("record_unanswered") as tx:
        _insert(tx, sql, [(timestamp(workspace.now()), deployment, revision, reason, count)])


def add_predictions(workspace: Workspace, deployment: str, predictions: Sequence[Mapping[str, Any]]) -> Ingested:
    """Take predictions that an outside system made, checked and with the fields of `Prediction`. All or none are taken.

    Raises:
        ReadOnlyError: the workspace is read-only.
    """
    _refuse_if_read_only(workspace, "predictions add")
    rows = [_prediction_row({**prediction, "deployment": deployment}) for prediction in predictions]
    accepted = _insert_new(workspace, "predictions add", {deployment: rows})[deployment] if rows else 0
    return Ingested(accepted=accepted, duplicates=len(rows) - accepted)


def add_labels(workspace: Workspace, deployment: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """Attach the truth to predictions, by `reference` (the prediction's id or its key); return how many were taken.

    Each row holds `reference` and `value`, and may hold `labelled_at` (now when left out). A label for a reference
    that has one replaces it. A label may come before its prediction.

    Raises:
        DataError: a row lacks something or is ill-typed; the message names the row, from 1.
        ReadOnlyError: the workspace is read-only.
    """
    _refuse_if_read_only(workspace, "label add")
    now = workspace.now()
    prepared = [_label_row(deployment, number, row, now) for number, row in enumerate(rows, start=1)]
    with workspace.traffic.write("label add") as tx:
        _insert(tx, _INSERT_LABEL, prepared)
    return len(prepared)


def _refuse_if_read_only(workspace: Workspace, verb: str) -> None:
    if workspace.settings.workspace.read_only:
        raise ReadOnlyError(
            f"{workspace.settings_file} says read_only = true, so `{verb}` is refused. Set it to false to write."
        )


def _insert_new(workspace: Workspace, verb: str, batch: Batch) -> Counter[str]:
    """Insert what is not known by its id, here or in a segment; how many that were, by deployment."""
    repetitions = Repetitions(workspace)
    while True:
        with workspace.traffic.write(verb) as tx:
            unread = repetitions.unread(tx, batch)
            if not unread:
                new = {deployment: repetitions.without(deployment, rows) for deployment, rows in batch.items()}
                return Counter({deployment: _insert(tx, _INSERT_PREDICTION, rows) for deployment, rows in new.items()})
        # Files are read without the lock; that none came meanwhile is looked up again under it.
        repetitions.read(unread)


def _insert(tx: Session, sql: str, rows: list[tuple[Any, ...]]) -> int:
    return tx.connection().exec_driver_sql(sql, rows).rowcount if rows else 0


def _plain(value: Any) -> Any:
    """A numpy scalar as Python's own."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a value of type {type(value).__name__} cannot be recorded")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def _json(value: Any) -> str:
    # msgspec writes NaN and infinities as null, which is what a missing value is here.
    return _encoder.encode(value).decode()


def _prediction_row(prediction: Mapping[str, Any]) -> tuple[Any, ...]:
    received = timestamp(prediction["received_at"])
    event_time = prediction.get("event_time")
    return (
        prediction["deployment"],
        prediction["id"],
        prediction.get("key"),
        received,
        received if event_time is None else timestamp(event_time),
        prediction.get("revision"),
        prediction["version"],
        prediction.get("variant", "champion"),
        _json(prediction["inputs"]),
        _json(prediction["prediction"]),
        _json(prediction.get("probabilities")),
        prediction.get("latency_us", 0),
        prediction.get("probe", False),
    )


def _label_row(deployment: str, number: int, row: Mapping[str, Any], now: datetime) -> tuple[Any, ...]:
    for name in ("reference", "value"):
        if row.get(name) is None:
            raise DataError(f"Label {number} for '{deployment}' has no '{name}'. Give reference and value.")
    try:
        labelled_at = now if row.get("labelled_at") is None else moment(row["labelled_at"], now)
    except ValueError as error:
        raise DataError(f"Label {number} for '{deployment}': 'labelled_at' {error}.") from None
    return deployment, str(row["reference"]), _json(row["value"]), timestamp(labelled_at), timestamp(now)
