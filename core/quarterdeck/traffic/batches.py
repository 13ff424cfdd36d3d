"""Many rows changed in short transactions, with room for others between them; and only by one process at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlmodel import Session

from quarterdeck.database import rows_as_dicts
from quarterdeck.locking import WriteLock
from quarterdeck.traffic import segments
from quarterdeck.workspace import Workspace

TARGET_SECONDS = 0.02
"""How long a transaction should last. None may last longer than 50 ms: predictions wait to be recorded meanwhile."""
FIRST_ROWS = 250
MOST_ROWS = 5_000
PATIENCE_SECONDS = 60.0
CHECKPOINT_BYTES = 8 * 1024 * 1024


class Batches:
    """Transactions of traffic.db, each for as many rows as can be changed in about 20 ms."""

    def __init__(self, workspace: Workspace, verb: str) -> None:
        self._workspace = workspace
        self._verb = verb
        self.rows = FIRST_ROWS
        """How many rows the next transaction should change."""

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction.

        Raises:
            BusyError: somebody else held the lock of traffic.db for long.
            DiskError: the disk is full or failed; nothing of the block was written.
        """
        # The clock starts with the lock: waiting for others says nothing about our own pace.
        with self._workspace.traffic.write(self._verb) as tx:
            begun = time.monotonic()
            yield tx
        lasted = time.monotonic() - begun
        self.rows = int(min(max(self.rows * min(TARGET_SECONDS / max(lasted, 1e-6), 1.5), 50), MOST_ROWS))
        self._workspace.traffic.checkpoint(from_bytes=CHECKPOINT_BYTES)
        # flock keeps no order: without a pause we often take it again before those who wait. They then wait twice as
        # long, and so do we.
        time.sleep(min(lasted, TARGET_SECONDS))


@contextmanager
def alone(workspace: Workspace, verb: str) -> Iterator[None]:
    """For the time of the block, no other process moves or removes recorded traffic; the folder of its files is there.

    Raises:
        BusyError: one does, for long; the message names it.
    """
    folder = segments.folder(workspace)
    folder.mkdir(mode=0o700, exist_ok=True)
    with WriteLock(folder / "housekeeping.lock").held(verb, PATIENCE_SECONDS):
        yield


def deployments(tx: Session, table: str = "prediction") -> list[str]:
    """The deployments that have rows in a table whose key begins with them."""
    sql = f"""
        WITH RECURSIVE names(name) AS (
            SELECT min(deployment) FROM {table}
            UNION ALL SELECT (SELECT min(deployment) FROM {table} WHERE deployment > name) FROM names
            WHERE name IS NOT NULL
        )
        SELECT name FROM names WHERE name IS NOT NULL
    """
    return [row["name"] for row in rows_as_dicts(tx.connection(), sql)]
