"""Deployments as panes and the command line see them: frozen rows, never live entities."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from quarterdeck.deployments.deployment import ServedBy
from quarterdeck.deployments.operation import OperationState
from quarterdeck.deployments.revision import RevisionKind

State = Literal["planned", "verified", "failed", "withheld", "unproven", "contradicted"]


@dataclass(frozen=True, slots=True)
class ProofRow:
    """What one gateway worker has shown about a revision."""

    worker: int
    slot: int
    alive: bool
    routed_at: datetime | None
    served_at: datetime | None
    """None where it has proved nothing."""
    request_id: str | None
    probe: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class OutputRow:
    """A table that a batch deployment has written."""

    id: int
    deployment: str
    version: int
    revision: int
    input: str
    output: str
    digest: str
    """SHA-256 of the file as it was written."""
    rows: int
    actor: str
    at: datetime
    finished_at: datetime | None
    """None where the process ended before all its predictions were recorded."""


@dataclass(frozen=True, slots=True)
class OperationRow:
    id: int
    deployment: str
    kind: RevisionKind
    from_revision: int | None
    to_revision: int
    from_version: int | None
    version: int
    """That of the new revision."""
    state: OperationState
    actor: str
    reason: str
    planned_at: datetime
    routed_at: datetime | None
    verified_at: datetime | None
    error: str | None
    workers: int
    """Gateway workers alive now: as many proofs are needed."""
    proofs: tuple[ProofRow, ...]
    served_by: ServedBy
    outputs: tuple[OutputRow, ...]
    """For a batch deployment that went back: the tables that the version before it wrote, and that still stand."""

    @property
    def milliseconds(self) -> float | None:
        """From the wish to the proof."""
        return None if self.verified_at is None else (self.verified_at - self.planned_at).total_seconds() * 1000


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    name: str
    model: str
    served_by: ServedBy
    desired_revision: int
    version: int
    state: State
    """*verified*: every worker served it, a score used it, or predictions or a probe named it; *planned*: not yet;
    *failed*: a worker or a command cannot; *unproven*: nothing has shown it yet; *contradicted*: it was verified, and
    another version is seen to answer since."""
    protected: bool
    kind: RevisionKind
    """What made the desired revision."""
    changed_at: datetime
    changed_by: str
    reason: str
    workers: int
    """Gateway workers alive."""
    operation: int | None
    """The operation under way."""
    seen: tuple[int, ...]
    """Served elsewhere: the versions that were seen to answer there last."""
    seen_at: datetime | None
    """When the last of them was."""
    url: str | None
    """Served elsewhere: where, if somebody said."""


@dataclass(frozen=True, slots=True)
class RevisionRow:
    number: int
    version: int
    kind: RevisionKind
    goes_back_to: int | None
    replaces: int | None
    reason: str
    actor: str
    created_at: datetime
    verified_at: datetime | None
    replaced_at: datetime | None
    desired: bool
    operation: int
    state: OperationState
    seen_from: datetime | None
    """Served elsewhere: when its version was first and last seen to answer there while it was wanted."""
    seen_until: datetime | None


@dataclass(frozen=True, slots=True)
class Interval:
    """From when to when a version served production, or was seen to where it is served elsewhere."""

    revision: int | None
    """None for a version that was seen and that nobody had asked for."""
    version: int
    start: datetime
    end: datetime | None
    """None: it still serves."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    id: int
    slot: int
    pid: int
    host: str
    port: int
    started_at: datetime
    stopped_at: datetime | None
    alive: bool


@dataclass(frozen=True, slots=True)
class GatewayState:
    workers: list[WorkerRow]
    """Those that have not been stopped, by slot."""
    alive: int
    host: str | None
    """Where it answers; None when no worker is alive."""
    port: int | None
