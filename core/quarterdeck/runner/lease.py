"""The runner's lease: one runner works on a workspace; others stand by and take over when it is gone."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlmodel import Session

from quarterdeck.errors import FencedError
from quarterdeck.processes import ProcessIdentity, is_alive
from quarterdeck.runner.job import RunnerLease
from quarterdeck.workspace import Workspace

THE_ROW = 1


def holder(tx: Session) -> RunnerLease | None:
    return tx.get(RunnerLease, THE_ROW)


def identity_of(lease: RunnerLease) -> ProcessIdentity:
    return ProcessIdentity(lease.pid, lease.process_started, lease.boot_id)


def acquire(workspace: Workspace, me: ProcessIdentity, duration: timedelta) -> bool:
    """Take the lease if its holder is dead, has let it run out, or is this process; False while another has it."""
    with workspace.state.read() as tx:
        if not _is_free(workspace, holder(tx), me):
            return False
    with workspace.state.write("runner lease") as tx:
        lease, now = holder(tx), workspace.now()
        if not _is_free(workspace, lease, me):
            return False
        if lease is None:
            lease = RunnerLease(
                id=THE_ROW,
                pid=me.pid,
                process_started=me.started,
                boot_id=me.boot_id,
                started_at=now,
                lease_until=now + duration,
            )
            tx.add(lease)
        else:
            lease.pid, lease.process_started, lease.boot_id = me.pid, me.started, me.boot_id
            lease.started_at, lease.lease_until = now, now + duration
        workspace.record(tx, "runner.started", "runner", {"pid": me.pid})
    return True


def hold(tx: Session, me: ProcessIdentity) -> RunnerLease:
    """The lease, if it is this process's.

    Raises:
        FencedError: another runner has taken over.
    """
    lease = holder(tx)
    if lease is None or identity_of(lease) != me:
        pid = lease.pid if lease else "?"
        raise FencedError(f"Another runner (process {pid}) has taken over this workspace.")
    return lease


class Heartbeat:
    """Renews the lease when that is due: by the monotonic clock, and by the clock on the wall, which others go by."""

    def __init__(self, me: ProcessIdentity) -> None:
        self._me = me
        self._at = 0.0
        self._on: datetime | None = None

    def is_due(self, workspace: Workspace) -> bool:
        """Whether the lease was renewed a heartbeat ago, or never."""
        # Where the machine sleeps, the monotonic clock stands still, and the lease runs out all the same.
        return time.monotonic() >= self._at or self._on is None or workspace.now() >= self._on

    def beat(self, workspace: Workspace, note: Callable[[Session, RunnerLease], None] | None = None) -> None:
        """Renew the lease; `note` adds to the same transaction.

        Raises:
            FencedError: another runner has taken over.
        """
        settings = workspace.settings.runner
        with workspace.state.write("heartbeat") as tx:
            row = hold(tx, self._me)
            row.lease_until = workspace.now() + settings.lease
            if note is not None:
                note(tx, row)
        self._at = time.monotonic() + settings.heartbeat.total_seconds()
        self._on = workspace.now() + settings.heartbeat


def release(workspace: Workspace, me: ProcessIdentity) -> None:
    """Let a standby take over at once."""
    with workspace.state.write("runner stop") as tx:
        hold(tx, me).lease_until = workspace.now()
        workspace.record(tx, "runner.stopped", "runner", {"pid": me.pid})


def _is_free(workspace: Workspace, lease: RunnerLease | None, me: ProcessIdentity) -> bool:
    if lease is None or identity_of(lease) == me:
        return True
    return lease.lease_until <= workspace.now() or not is_alive(identity_of(lease))
