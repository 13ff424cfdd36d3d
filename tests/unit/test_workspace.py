"""Making and opening workspaces, and their schema."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

import quarterdeck
from quarterdeck import bootstrap, events, migrations
from quarterdeck.database import Database
from quarterdeck.errors import (
    DamagedError,
    NewerWorkspaceError,
    NotFoundError,
    ReadOnlyError,
    RefusedError,
    SettingsError,
    UsageError,
)
from quarterdeck.location import find_workspace, keep_in_force
from quarterdeck.traffic.prediction import TrafficEntity
from quarterdeck.workspace import Workspace
from tests.fakes import fake_ports


def test_a_new_workspace_is_for_its_owner_only_and_its_first_event_says_so(workspace: Workspace) -> None:
    assert stat.S_IMODE(workspace.folder.stat().st_mode) == 0o700
    with workspace.state.read() as tx:
        (event,) = events.after(tx, 0)
    assert (event.kind, event.actor) == ("workspace.created", "tester")


def test_settings_that_are_there_already_are_kept(tmp_path: Path) -> None:
    (tmp_path / "quarterdeck.toml").write_text('[workspace]\nname = "mine"\n')
    workspace = bootstrap.create_workspace(tmp_path, ports=fake_ports())
    assert workspace.settings.workspace.name == "mine"


def test_a_second_init_is_refused_and_changes_nothing(workspace: Workspace) -> None:
    before = workspace.state.path.read_bytes()
    with pytest.raises(RefusedError, match="is a workspace already"):
        bootstrap.create_workspace(workspace.root)
    assert workspace.state.path.read_bytes() == before


def test_a_workspace_is_found_upward_as_git_does(workspace: Workspace) -> None:
    below = workspace.root / "a" / "b"
    below.mkdir(parents=True)
    assert find_workspace(below) == workspace.root


def test_no_workspace_here_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="quarterdeck init"):
        find_workspace(tmp_path)


def test_settings_without_state_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "quarterdeck.toml").write_text("")
    with pytest.raises(NotFoundError, match="quarterdeck init"):
        bootstrap.open_workspace(tmp_path)


@pytest.mark.parametrize("how", ["missing", "empty"])
def test_a_workspace_that_has_lost_its_state_is_not_made_anew(workspace: Workspace, how: str) -> None:
    workspace.close()
    (workspace.folder / "backups").mkdir()
    (workspace.folder / "backups" / "state-20260105T031500Z.db").write_bytes(b"a backup")
    for file in workspace.folder.glob("state.db*"):
        file.unlink()
    if how == "empty":
        workspace.state.path.touch()
    for opening in (bootstrap.open_workspace, bootstrap.create_workspace):
        with pytest.raises(RefusedError, match=r"state-20260105T031500Z\.db|is a workspace already"):
            opening(workspace.root)
    assert not workspace.state.path.exists() or workspace.state.path.stat().st_size == 0


def test_settings_that_do_not_fit_are_told_and_those_before_stay_in_force(workspace: Workspace) -> None:
    workspace.settings_file.write_text('[workspace]\nname = "before"\n')
    keep_in_force(workspace.settings_file, workspace.folder)
    workspace.settings_file.write_text("garbage [")
    with pytest.raises(SettingsError):
        bootstrap.open_workspace(workspace.root)
    warnings: list[str] = []
    opened = bootstrap.open_workspace(workspace.root, warn=warnings.append)
    assert opened.settings.workspace.name == "before"
    assert "not valid TOML" in warnings[0]
    opened.close()


def test_settings_that_never_fitted_are_refused_to_everybody(workspace: Workspace) -> None:
    workspace.settings_file.write_text("garbage [")
    with pytest.raises(SettingsError):
        bootstrap.open_workspace(workspace.root, warn=print)


def test_a_damaged_database_is_named_with_what_to_do(workspace: Workspace) -> None:
    workspace.close()
    with workspace.state.path.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(b"\xff" * 4096 * 30)
    opened = bootstrap.open_workspace(workspace.root, ports=fake_ports())
    with pytest.raises(DamagedError, match=r"state\.db is damaged: .* restore a backup"):
        opened.state.check()
    with pytest.raises(DamagedError, match="restore a backup"):
        _read_all(opened)
    opened.close()


def _read_all(workspace: Workspace) -> None:
    with workspace.state.read() as tx:
        for table in ("run", "job", "event", "deployment", "model_version", "schedule"):
            tx.connection().exec_driver_sql(f"SELECT * FROM {table}").fetchall()


def test_a_file_is_no_folder_for_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        bootstrap.create_workspace(tmp_path / "file")


def test_a_workspace_of_a_newer_schema_is_refused_and_left_as_it_is(workspace: Workspace) -> None:
    workspace.close()
    with sqlite3.connect(workspace.state.path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(NewerWorkspaceError, match="schema 9999"):
        bootstrap.open_workspace(workspace.root)
    assert migrations.present_revision(workspace.state.path) == "9999"


def test_a_read_only_workspace_refuses_every_verb(workspace: Workspace) -> None:
    workspace.settings_file.write_text("[workspace]\nread_only = true\n")
    shut = bootstrap.open_workspace(workspace.root, ports=fake_ports())

    def change() -> None:
        with shut.change("deploy") as tx:
            shut.record(tx, "thing.happened", "thing/1")

    with pytest.raises(ReadOnlyError, match="`deploy` is refused"):
        change()


def test_a_copy_of_a_workspace_is_a_workspace(workspace: Workspace, tmp_path: Path) -> None:
    workspace.close()
    shutil.copytree(workspace.root, tmp_path / "copy")
    copy = bootstrap.open_workspace(tmp_path / "copy", ports=fake_ports())
    with copy.state.read() as tx:
        assert events.verify(tx) == 1


@pytest.mark.parametrize("schema", [migrations.STATE, migrations.TRAFFIC], ids=lambda schema: schema.name)
def test_the_migrations_make_what_the_entities_say(tmp_path: Path, schema: migrations.Schema) -> None:
    for module in pkgutil.walk_packages(quarterdeck.__path__, "quarterdeck."):
        if "migrations." not in module.name and not module.name.endswith(("__main__", ".env", ".preload")):
            importlib.import_module(module.name)
    database = Database(tmp_path / f"{schema.name}.db")
    migrations.bring_up_to_date(database, schema)
    metadata = SQLModel.metadata if schema is migrations.STATE else TrafficEntity.metadata
    with database.engine.connect() as connection:
        difference = compare_metadata(MigrationContext.configure(connection), metadata)
    assert difference == []
    assert migrations.present_revision(database.path) == schema.newest


def test_the_list_of_revisions_is_that_of_the_migration_files() -> None:
    for schema in (migrations.STATE, migrations.TRAFFIC):
        folder = Path(migrations.__file__).parent / schema.name / "versions"
        assert [file.name[:4] for file in sorted(folder.glob("[0-9]*.py"))] == list(schema.revisions)
