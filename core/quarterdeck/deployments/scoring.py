"""Scoring: a batch deployment's version answers the rows of a table, in pieces, into a table beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session, col, select

from quarterdeck import lineage
from quarterdeck.artifacts import file_digest
from quarterdeck.database import LAST_WRITE_PATIENCE_SECONDS
from quarterdeck.datasets.pieces import settle, writing
from quarterdeck.deployments.answering import Scorer, Spool
from quarterdeck.deployments.batch_output import BatchOutput, output_row, standing_outputs
from quarterdeck.deployments.deployment import Deployment, ServedBy, find_deployment
from quarterdeck.deployments.operation import Operation, OperationState
from quarterdeck.deployments.proving import verify
from quarterdeck.deployments.revision import Revision, RevisionKind, find_revision
from quarterdeck.deployments.rows import OutputRow
from quarterdeck.errors import (
    ConflictError,
    DataError,
    FencedError,
    QuarterdeckError,
    ReadOnlyError,
    RefusedError,
    UsageError,
)
from quarterdeck.locking import WriteLock
from quarterdeck.registry.version import ModelVersion, find_version
from quarterdeck.workspace import Workspace

Fence = Callable[[Session], None]
NO_ROLLBACK = "The newest change of '{}' is no rollback: say whose outputs to score again, with --version N."
MOVED_TIMES = 3
"""How often a scheduled score begins again because the deployment moved meanwhile."""
SETTLE_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Again:
    """What became of one output that was to be scored again."""

    output: str
    done: OutputRow | None
    """None where it was not written."""
    why_not: str | None


@dataclass(frozen=True, slots=True)
class _Task:
    """What one score works with, as it was when it began."""

    deployment: Deployment
    revision: Revision
    version: ModelVersion
    source: Path
    source_digest: str
    target: Path
    options: dict[str, str | None]

    @property
    def ids(self) -> str:
        """The same rows scored by the same revision into the same file are the same predictions, however often."""
        what = f"{self.deployment.name}\n{self.revision.number}\n{self.target}\n{self.source_digest}"
        return f"{self.target.name[:100]}@{hashlib.sha256(what.encode()).hexdigest()[:12]}"


def score(
    workspace: Workspace,
    name: str,
    source: Path,
    target: Path,
    *,
    time: str | None = None,
    key: str | None = None,
    actor: str | None = None,
    fence: Fence | None = None,
) -> OutputRow:
    """Write `target`: the rows of `source` and what the version that is wanted of deployment `name` answers to them.

    The file is written under a temporary name and renamed when it is whole; its predictions are recorded like any
    others. The first score of a revision verifies it. `time` and `key` name columns; without them those of the
    signature are used, where the table has them.

    Raises:
        NotFoundError: there is no such deployment, or it serves nothing yet.
        RefusedError: it is no batch deployment, or the workspace is read-only.
        UsageError: the output cannot be written there.
        DataError: the table cannot be read, lacks a column, or holds what does not fit; nothing was written.
        ConflictError: the deployment moved meanwhile; nothing was written.
    """
    if workspace.settings.workspace.read_only:
        raise ReadOnlyError
    task = _begin(workspace, name, source.resolve(), target.resolve(), {"time": time, "key": key})
    before = task.source.stat()
    with writing(task.target) as (temporary, writer), Spool(workspace.folder) as spool:
        scorer = Scorer(workspace, task.version, task.source, time=time, key=key)
        for answered in scorer.pieces(task.target.suffix.lower() == ".parquet", task.ids):
            writer.write(answered.table)
            spool.add(answered)
        writer.close()
        after = task.source.stat()
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise DataError(f"{task.source} changed while it was scored. Nothing was written; score it again.")
        output = _place(workspace, task, temporary, scorer.rows, actor, fence)
        spool.record(workspace, name, task.revision)
    return _finish(workspace, task, output, actor, fence)


def score_scheduled(workspace: Workspace, name: str, source: str, target: str, *, fence: Fence | None = None) -> None:
    """`score`, in a job: paths are beside quarterdeck.toml, and where the deployment moved it begins again."""
    for attempt in range(1, MOVED_TIMES + 1):
        try:
            score(workspace, name, workspace.root / source, workspace.root / target, fence=fence)
            return
        except ConflictError:
            if attempt == MOVED_TIMES:
                raise


def ask_to_score_again(workspace: Workspace, name: str, *, actor: str | None = None) -> None:
    """Have a runner do, as a job, what `score_again` does after a rollback.

    Raises:
        NotFoundError: there is no such deployment.
        RefusedError: it is no batch deployment, or the workspace is read-only.
        UsageError: the newest change is no rollback.
    """
    with workspace.change("score") as tx:
        deployment = _batch(tx, name)
        if not _left(tx, deployment):
            raise UsageError(NO_ROLLBACK.format(name))
        revision = {"revision": deployment.desired_revision}
        workspace.record(tx, "score.requested", f"deployment/{name}", revision, actor=actor)


def score_again_whole(workspace: Workspace, name: str, *, fence: Fence | None = None) -> None:
    """`score_again`, in a job, which fails where an output could not be scored again.

    Raises:
        DataError: so it was; the message names each of them.
    """
    failed = [f"{one.output}: {one.why_not}" for one in score_again(workspace, name, fence=fence) if one.done is None]
    if failed:
        raise DataError(f"Not every output could be scored again. {'; '.join(failed)}")


def score_again(
    workspace: Workspace,
    name: str,
    *,
    version: int | None = None,
    actor: str | None = None,
    fence: Fence | None = None,
) -> list[Again]:
    """Score again what `version` wrote and nobody has written since: by default what was rolled back from.

    An output whose input is gone or has changed is left as it is, and the reason said.

    Raises:
        NotFoundError: there is no such deployment.
        RefusedError: it is no batch deployment.
        UsageError: the newest change is no rollback, and no version is given; or the version is the wanted one.
    """
    with workspace.state.read() as tx:
        deployment = _batch(tx, name)
        bad = _left(tx, deployment) if version is None else {version}
        revision = find_revision(tx, deployment.id or 0, deployment.desired_revision or 0)
        if not bad:
            raise UsageError(NO_ROLLBACK.format(name))
        if revision.version in bad:
            raise UsageError(f"Version {revision.version} is what '{name}' scores with now: its outputs stand.")
        rows = [row for one in sorted(bad) for row in standing_outputs(tx, deployment, one)]
        known = {row.id: tx.get_one(BatchOutput, row.id) for row in rows}
    return [_one_again(workspace, name, known[row.id], actor, fence) for row in rows]


def _one_again(workspace: Workspace, name: str, row: BatchOutput, actor: str | None, fence: Fence | None) -> Again:
    source = Path(row.input)
    try:
        if not source.is_file():
            raise DataError(f"its input {source} is gone")
        if file_digest(source) != row.input_digest:
            raise DataError(f"its input {source} has changed since")
        done = score(workspace, name, source, Path(row.output), **row.options, actor=actor, fence=fence)
    except FencedError:
        raise  # The attempt was given up: another one scores the rest.
    except (QuarterdeckError, OSError) as error:
        return Again(row.output, None, str(error))
    return Again(row.output, done, None)


def _left(tx: Session, deployment: Deployment) -> set[int]:
    """The versions that the newest changes went back from, as far as they all went back."""
    deployment_id, left = deployment.id or 0, set()
    revision = find_revision(tx, deployment_id, deployment.desired_revision or 0)
    wanted = revision.version
    while revision.kind is not RevisionKind.DEPLOY and revision.replaces is not None:
        revision = find_revision(tx, deployment_id, revision.replaces)
        left.add(revision.version)
    return left - {wanted}


def _batch(tx: Session, name: str) -> Deployment:
    deployment = find_deployment(tx, name)
    if deployment.served_by is not ServedBy.BATCH:
        raise RefusedError(
            f"Deployment '{name}' is served by {deployment.served_by}: only a batch deployment scores tables. Make one "
            f"with `quarterdeck deploy NAME --model {deployment.model} --served-by batch`."
        )
    return deployment


def _begin(workspace: Workspace, name: str, source: Path, target: Path, options: dict[str, str | None]) -> _Task:
    with workspace.state.read() as tx:
        deployment = _batch(tx, name)
        revision = find_revision(tx, deployment.id or 0, deployment.desired_revision or 0)
        version = find_version(tx, deployment.model, revision.version)
    if source == target:
        raise UsageError(f"{source} is both what is scored and what is written. Name another output.")
    try:
        digest = file_digest(source)
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}. Check the path.") from None
    return _Task(deployment, revision, version, source, digest, target, options)


def _place(
    workspace: Workspace, task: _Task, temporary: Path, rows: int, actor: str | None, fence: Fence | None
) -> BatchOutput:
    """Note the output, then give it its name: whatever dies between the two, no output is unknown."""
    deployment_id = task.deployment.id or 0
    output = BatchOutput(
        deployment_id=deployment_id,
        version=task.version.number,
        revision=task.revision.number,
        input=str(task.source),
        input_digest=task.source_digest,
        output=str(task.target),
        digest=file_digest(temporary),
        rows=rows,
        options=task.options,
        ids=task.ids,
        actor=actor or workspace.actor,
        at=workspace.now(),
    )
    lock = WriteLock(workspace.folder / f"score-{task.deployment.name}.lock")
    with lock.held("score", SETTLE_PATIENCE_SECONDS):
        with workspace.state.write("score", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
            if fence is not None:
                fence(tx)
            now = tx.get_one(Deployment, deployment_id)
            if now.desired_revision != task.revision.number:
                raise ConflictError(
                    f"Deployment '{now.name}' is now at revision {now.desired_revision}, and this was scored by "
                    f"revision {task.revision.number}. Nothing was written; score again."
                )
            tx.add(output)
        settle(temporary, task.target)
    return output


def _finish(
    workspace: Workspace, task: _Task, output: BatchOutput, actor: str | None, fence: Fence | None
) -> OutputRow:
    with workspace.state.write("score", patience=LAST_WRITE_PATIENCE_SECONDS) as tx:
        if fence is not None:
            fence(tx)
        row = tx.get_one(BatchOutput, output.id)
        row.finished_at = workspace.now()
        name = task.deployment.name
        data = {
            "output": row.id,
            "file": row.output,
            "digest": row.digest,
            "rows": row.rows,
            "version": row.version,
            "revision": row.revision,
        }
        workspace.record(tx, "deployment.scored", f"deployment/{name}", data, actor=actor)
        reference = f"output/{name}/{row.id}"
        lineage.connect(tx, f"revision/{name}@{row.revision}", reference)
        lineage.connect(tx, f"source/{row.input_digest[:12]}", reference)
        _verify_first(tx, workspace, task)
        return output_row(row, task.deployment)


def _verify_first(tx: Session, workspace: Workspace, task: _Task) -> None:
    """A revision that has written a table is what scores."""
    deployment = tx.get_one(Deployment, task.deployment.id)
    query = select(Operation).where(
        Operation.deployment_id == deployment.id,
        Operation.to_revision == task.revision.number,
        col(Operation.state) == OperationState.UNPROVEN,
    )
    operation = tx.exec(query).first()
    if operation is not None and deployment.desired_revision == task.revision.number:
        revision = find_revision(tx, deployment.id or 0, task.revision.number)
        verify(tx, workspace, deployment, operation, revision, workers=0)
