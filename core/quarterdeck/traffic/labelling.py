"""Labels: late, repeated or contradicting, by a prediction's id or its key, under the lock of traffic.db alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from sqlmodel import Session

from quarterdeck.database import timestamp
from quarterdeck.errors import DataError
from quarterdeck.traffic.moments import moment
from quarterdeck.traffic.recording import as_json, insert
from quarterdeck.values import plain
from quarterdeck.workspace import Workspace

AT_ONCE = 10_000
_PUT = """
INSERT OR REPLACE INTO label (deployment, reference, value, labelled_at, received_at, contradictions)
"""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What became of labels. Each is one of the three."""

    accepted: int
    """The first of their reference."""
    duplicates: int
    """What is known already: nothing was changed."""
    contradicting: int
    """Another value is known: the one that became known later holds now, and that there is another is counted."""


@dataclass(slots=True)
class _Known:
    """What is known for one reference."""

    value: str
    """As JSON."""
    labelled_at: str
    received_at: str
    contradictions: int


def add_labels(workspace: Workspace, deployment: str, rows: Sequence[Mapping[str, Any]]) -> Labelled:
    """Attach the truth to predictions, by `reference` (the prediction's id or its key). All or none are taken.

    Each row holds `reference` and `value`, and may hold `labelled_at` (now when left out). Of two values for a
    reference the one with the later `labelled_at` holds, and of two with the same the one that came last. A label may
    come before its prediction, and at any time after it.

    Raises:
        DataError: a row lacks something or is ill-typed; the message names the row, from 1.
        ReadOnlyError: the workspace is read-only.
    """
    workspace.refuse_if_read_only("label add")
    now = workspace.now()
    given = [_prepared(deployment, number, row, now) for number, row in enumerate(rows, start=1)]
    with workspace.traffic.write("label add") as tx:
        known = _known(tx, deployment, {reference for reference, _ in given})
        changed: dict[str, _Known] = {}
        counts = {"accepted": 0, "duplicates": 0, "contradicting": 0}
        for reference, label in given:
            before = known.get(reference)
            after = known[reference] = label if before is None else _settled(before, label)
            counts["accepted" if before is None else "duplicates" if after is before else "contradicting"] += 1
            if after is not before:
                changed[reference] = after
        insert(
            tx,
            _PUT,
            [
                (deployment, reference, one.value, one.labelled_at, one.received_at, one.contradictions)
                for reference, one in changed.items()
            ],
        )
    return Labelled(**counts)


def contradictions(workspace: Workspace, deployment: str, id_: str, key: str | None) -> int:
    """How often another truth was given for a prediction than the one that holds."""
    sql = "SELECT contradictions FROM label WHERE deployment = ? AND reference = ?"
    with workspace.traffic.read() as tx:
        for reference in (id_, key):
            found = tx.connection().exec_driver_sql(sql, (deployment, reference)).scalar_one_or_none()
            if found is not None:
                return int(found)
    return 0


def _settled(before: _Known, label: _Known) -> _Known:
    """What holds of two labels for one reference; `before` itself where nothing changes."""
    if plain(msgspec.json.decode(before.value)) == plain(msgspec.json.decode(label.value)):
        return before
    later = label if label.labelled_at >= before.labelled_at else before
    return _Known(later.value, later.labelled_at, later.received_at, before.contradictions + 1)


def _known(tx: Session, deployment: str, references: set[str]) -> dict[str, _Known]:
    found: dict[str, _Known] = {}
    rest = iter(references)
    # Bound one by one: through JSON a text with a NUL in it would come out shorter.
    while some := tuple(islice(rest, AT_ONCE)):
        sql = f"""
            SELECT reference, value, labelled_at, received_at, contradictions FROM label
            WHERE deployment = ? AND reference IN ({", ".join("?" * len(some))})
        """
        for reference, *known in tx.connection().exec_driver_sql(sql, (deployment, *some)):
            found[reference] = _Known(*known)
    return found


def _prepared(deployment: str, number: int, row: Mapping[str, Any], now: datetime) -> tuple[str, _Known]:
    """A label's reference, and what it says."""
    for name in ("reference", "value"):
        if row.get(name) is None:
            raise DataError(f"Label {number} for '{deployment}' has no '{name}'. Give reference and value.")
    if row["reference"] == "":
        raise DataError(f"Label {number} for '{deployment}' has an empty 'reference'. Give an id or a key.")
    try:
        labelled_at = now if row.get("labelled_at") is None else moment(row["labelled_at"], now)
    except ValueError as error:
        raise DataError(f"Label {number} for '{deployment}': 'labelled_at' {error}.") from None
    return str(row["reference"]), _Known(as_json(row["value"]), timestamp(labelled_at), timestamp(now), 0)
