"""Taking a model from elsewhere under watch in one go: registered, deployed, and with a monitor of its own."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quarterdeck.deployments.deployment import ServedBy, find_deployment, served_in_gateway
from quarterdeck.deployments.hosting import HostLines, host_lines
from quarterdeck.deployments.rollout import deploy_in
from quarterdeck.errors import BusyError, ReadOnlyError, SettingsError, UsageError
from quarterdeck.locking import WriteLock
from quarterdeck.registry.registration import register
from quarterdeck.settings import load_settings
from quarterdeck.settings.making import DatasetSettings
from quarterdeck.values import check_name
from quarterdeck.workspace import Workspace

if TYPE_CHECKING:
    from quarterdeck.deployments.operation import Operation
    from quarterdeck.registry.adoption import Surroundings
    from quarterdeck.registry.registration import Candidate
    from quarterdeck.registry.version import ModelVersion


@dataclass(frozen=True, slots=True)
class Adopted:
    """What an adopted model became."""

    model: str
    version: int
    deployment: str
    monitor: str
    operation: int
    """The operation that puts it in service."""
    unknown: tuple[str, ...]
    """What could not be learnt about it, in sentences."""
    lines: HostLines | None
    """Served elsewhere: what to add there, so that it reports its predictions."""


def adopt(
    workspace: Workspace,
    name: str,
    *,
    path: Path | None,
    sample: Path,
    target: str | None = None,
    time: str | None = None,
    key: str | None = None,
    batch: bool = False,
    url: str | None = None,
    surroundings: Surroundings | None = None,
    actor: str | None = None,
) -> Adopted:
    """Register the model in `path` (none: it is served elsewhere), deploy it as `name`, and watch it.

    With `batch` it answers no requests, and scores tables. `url` is where a model answers that is served elsewhere.

    `sample` is a table of rows like those that it gets; with `target` they hold the truth too. The monitor is added
    to quarterdeck.toml, whose comments and order are kept. `surroundings` are for a model that needs a process of its
    own.

    Raises:
        UsageError: the name cannot be one, or the file is no model that can be adopted.
        DataError: the sample cannot be read, or does not fit the model.
        ReadOnlyError: the workspace is read-only.
        RefusedError: the model holds types that are not trusted, or it cannot take over what `name` serves.
        SettingsError: quarterdeck.toml cannot be read, and nothing was done; or it cannot be written, and the model
            is deployed and the message says what to add.
    """
    from quarterdeck.datasets.ingestion import read_table
    from quarterdeck.registry.adoption import inspect_model

    _refuse_early(workspace, name)
    frame = read_table(sample, DatasetSettings(target=target, time=time, key=key))
    candidate = inspect_model(
        workspace, name, path, frame, target=target, time=time, key=key, surroundings=surroundings
    )
    answering = ServedBy.BATCH if batch else served_in_gateway(candidate.format)
    served_by = ServedBy.EXTERNAL if path is None else answering
    version, operation = _take_over(workspace, name, candidate, served_by, path=path, url=url, actor=actor)
    return Adopted(
        model=name,
        version=version.number,
        deployment=name,
        monitor=_watch(workspace, name),
        operation=operation.id or 0,
        unknown=(*version.unknown, *_unproven(version.number, served_by)),
        lines=host_lines(workspace, name, version) if served_by is ServedBy.EXTERNAL else None,
    )


def _take_over(
    workspace: Workspace,
    name: str,
    candidate: Candidate,
    served_by: ServedBy,
    *,
    path: Path | None,
    url: str | None,
    actor: str | None,
) -> tuple[ModelVersion, Operation]:
    """Register and deploy it, in one transaction."""
    with workspace.change("adopt") as tx:
        version = register(tx, workspace, candidate, actor=actor)
        operation = deploy_in(
            tx,
            workspace,
            name,
            model=name,
            version=version.number,
            reason=f"adopted from {(url or 'elsewhere') if path is None else path.name}",
            actor=actor,
            served_by=served_by,
        )
        source = url if path is None else str(path)
        if url is not None:
            find_deployment(tx, name).url = url
        data = {"version": version.number, "served_by": str(served_by), "source": source}
        workspace.record(tx, "model.adopted", f"deployment/{name}", data, actor=actor)
    return version, operation


def _unproven(version: int, served_by: ServedBy) -> tuple[str, ...]:
    """What only use will tell, in sentences."""
    if served_by is ServedBy.EXTERNAL:
        return (f"Whether it is what answers there: unproven until a prediction names version {version}.",)
    if served_by is ServedBy.BATCH:
        return ("Whether it can score a table: unproven until it has, by `quarterdeck score`.",)
    return ()


def _refuse_early(workspace: Workspace, name: str) -> None:
    """Say what would stop the change, before the model and its reference are stored."""
    try:
        check_name(name)
    except ValueError as error:
        raise UsageError(f"{str(error).capitalize()}.") from None
    if workspace.settings.workspace.read_only:
        raise ReadOnlyError
    load_settings(workspace.settings_file)  # What cannot be read cannot be added to.


def _watch(workspace: Workspace, name: str) -> str:
    """The monitor of deployment `name`; one is added to quarterdeck.toml when there is none."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    file = workspace.settings_file.resolve()
    try:
        # Read, changed and replaced by one process at a time: of two at once the second would undo the first.
        with WriteLock(workspace.folder / "settings.lock").held("adopt"):
            settings = load_settings(file)
            for monitor, watched in settings.monitors.items():
                if watched.deployment == name:
                    return monitor
            document = tomlkit.parse(file.read_text(encoding="utf-8"))
            monitors = document.setdefault("monitors", tomlkit.table(is_super_table=True))
            fresh = name if name not in monitors else f"{name}-adopted"
            monitors[fresh] = {"deployment": name}
            _replace(file, tomlkit.dumps(document))
    except (OSError, TOMLKitError, BusyError) as error:
        raise SettingsError(
            f"'{name}' is deployed, but {file} cannot be changed ({error}). "
            f'To watch it, add: [monitors.{name}] with deployment = "{name}".'
        ) from error
    return fresh


def _replace(file: Path, text: str) -> None:
    """Write the settings whole or not at all, and only if they can be read again."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        load_settings(Path(temporary))
        os.chmod(temporary, file.stat().st_mode & 0o777)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
