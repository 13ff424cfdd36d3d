"""The composition root: makes and opens workspaces, and is the only importer of adapters."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from quarterdeck import events, migrations
from quarterdeck.adapters.clock import SystemClock
from quarterdeck.adapters.evidently import EvidentlyReporter
from quarterdeck.adapters.fetching import HttpFetcher
from quarterdeck.adapters.querying import SqlQuerier
from quarterdeck.adapters.webhook import HttpNotifier
from quarterdeck.artifacts import ArtifactStore
from quarterdeck.database import Database
from quarterdeck.disk import Reserve, mount_of
from quarterdeck.errors import NotFoundError, RefusedError, SettingsError, UsageError
from quarterdeck.location import SETTINGS_FILE, SETTINGS_IN_FORCE
from quarterdeck.ports import Ports
from quarterdeck.settings import Settings, load_settings
from quarterdeck.workspace import STATE_FOLDER, Workspace

NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"}
    | {f"fuse.{kind}" for kind in ("sshfs", "glusterfs", "rclone", "s3fs")}
)
FIRST_SETTINGS = """\
# Quarterdeck: settings of this workspace. docs/settings.md lists every key.
[workspace]
name = "{name}"
"""


def system_ports() -> Ports:
    """The real outside world."""
    return Ports(
        clock=SystemClock(),
        notifier=HttpNotifier(),
        reporter=EvidentlyReporter(),
        fetcher=HttpFetcher(),
        querier=SqlQuerier(),
    )


def create_workspace(folder: Path, *, ports: Ports | None = None, actor: str | None = None) -> Workspace:
    """Make `folder` a workspace and open it. A quarterdeck.toml that is there already is kept.

    Raises:
        UsageError: `folder` is not a folder, or cannot be written.
        RefusedError: it is a workspace already, or lies on a network file system.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Name a folder for the workspace.")
    if (folder / STATE_FOLDER / "state.db").exists():
        raise RefusedError(f"{folder} is a workspace already. Open it with `quarterdeck`.")
    if (folder / STATE_FOLDER / "traffic.db").exists():
        raise lost_state(folder / STATE_FOLDER)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_network_file_systems(folder)
        if not (folder / SETTINGS_FILE).exists():
            (folder / SETTINGS_FILE).write_text(FIRST_SETTINGS.format(name=_name_of(folder)), encoding="utf-8")
        load_settings(folder / SETTINGS_FILE)
        state = folder / STATE_FOLDER
        state.mkdir(mode=0o700, exist_ok=True)
        state.chmod(0o700)
        (state / "logs").mkdir(exist_ok=True)
        (state / "artifacts").mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} cannot be written: {error.strerror}. Choose another folder."
        ) from error
    workspace = _open(folder, load_settings(folder / SETTINGS_FILE), ports, actor)
    with workspace.state.write("init") as tx:
        workspace.record(tx, "workspace.created", "workspace", {"name": workspace.settings.workspace.name})
    return workspace


def open_workspace(
    folder: Path,
    *,
    ports: Ports | None = None,
    actor: str | None = None,
    warn: Callable[[str], None] | None = None,
) -> Workspace:
    """Open the workspace in `folder`; one of an older schema is migrated, after a backup copy.

    With `warn` a quarterdeck.toml that does not fit is told to it, and the last one that a runner or a gateway worked
    by holds, where there is one: what runs, and whoever looks at it, must not stop for a slip of somebody's pen.

    Raises:
        SettingsError: quarterdeck.toml does not fit.
        NotFoundError: the folder has settings but no state yet.
        UsageError: the folder cannot be written.
        RefusedError: it lies on a network file system, or state.db is lost.
        NewerWorkspaceError: it was written by a newer Quarterdeck.
    """
    state_folder = folder / STATE_FOLDER
    settings = load_settings(folder / SETTINGS_FILE) if warn is None else _settings(folder, warn)
    if not state_folder.is_dir():
        raise NotFoundError(f"{folder} has a {SETTINGS_FILE} but no state yet. Run `quarterdeck init {folder}`.")
    if not (state_folder / "state.db").exists() or (state_folder / "state.db").stat().st_size == 0:
        # Made anew it would look like a workspace in which nothing ever happened, and its backups would rotate away.
        raise lost_state(state_folder)
    return _open(folder, settings, ports, actor)


def lost_state(state_folder: Path) -> RefusedError:
    """The error for a workspace that has state and no state.db."""
    newest = max((file.name for file in (state_folder / "backups").glob("state-*.db")), default=None)
    backup = f"the newest backup is {state_folder / 'backups' / newest}" if newest else "and there is no backup"
    return RefusedError(
        f"{state_folder / 'state.db'} is missing or empty: {backup}. docs/housekeeping.md tells how to restore one. "
        f"To begin anew, put {state_folder} aside and run `quarterdeck init`. Nothing was changed."
    )


def _settings(folder: Path, warn: Callable[[str], None]) -> Settings:
    try:
        return load_settings(folder / SETTINGS_FILE)
    except SettingsError as error:
        copy = folder / STATE_FOLDER / SETTINGS_IN_FORCE
        if not copy.exists():
            raise
        warn(f"{error} The settings before that stay in force.")
        return load_settings(copy)


def _open(folder: Path, settings: Settings, ports: Ports | None, actor: str | None) -> Workspace:
    state_folder = folder / STATE_FOLDER
    _refuse_network_file_systems(state_folder)
    if not os.access(state_folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"{state_folder} cannot be written, and even looking takes locks beside the databases. Mount it writable "
            "and as your own, or copy the workspace to a folder that is."
        )
    state = Database(state_folder / "state.db", synchronous="FULL", reserve=Reserve(state_folder))
    traffic = Database(state_folder / "traffic.db", synchronous="NORMAL")
    migrations.bring_up_to_date(state, migrations.STATE)
    migrations.bring_up_to_date(traffic, migrations.TRAFFIC)
    return Workspace(
        root=folder.resolve(),
        settings=settings,
        state=state,
        traffic=traffic,
        artifacts=ArtifactStore(state_folder / "artifacts"),
        ports=ports or system_ports(),
        actor=actor or events.current_actor(),
    )


def _name_of(folder: Path) -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in folder.resolve().name)
    return kept.strip("-._") or "quarterdeck"


def _refuse_network_file_systems(folder: Path) -> None:
    # SQLite's locks are not reliable there, and a lost lock is a lost rollback.
    _, kind = mount_of(folder)
    if kind in NETWORK_FILE_SYSTEMS:
        raise RefusedError(f"{folder} lies on a network file system ({kind}). Choose a folder on a local disk.")
