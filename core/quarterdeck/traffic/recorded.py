"""What is on record of predictions that are reported again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from quarterdeck.database import rows_as_dicts
from quarterdeck.workspace import Workspace


def recorded(workspace: Workspace, deployment: str, ids: Iterable[str]) -> dict[str, tuple[int, datetime]]:
    """For each of those predictions that is in traffic.db the version and the event time that it was recorded with."""
    sql = """
        SELECT id, version, event_time FROM prediction
        WHERE deployment = :deployment AND id IN (SELECT value FROM json_each(:ids))
    """
    with workspace.traffic.read() as tx:
        rows = rows_as_dicts(tx.connection(), sql, deployment=deployment, ids=json.dumps(list(ids)))
    return {row["id"]: (row["version"], datetime.fromisoformat(row["event_time"])) for row in rows}
