"""Schema versions of state.db and traffic.db (Alembic), and the step that brings a file to the newest one."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from quarterdeck.database import Database, open_read_only
from quarterdeck.errors import NewerWorkspaceError, UsageError


@dataclass(frozen=True, slots=True)
class Schema:
    """One database's line of migrations."""

    name: str
    revisions: tuple[str, ...]
    """Oldest first; the last one is what this Quarterdeck works with."""

    @property
    def newest(self) -> str:
        return self.revisions[-1]


STATE = Schema(
    "state",
    ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012", "0013"),
)
TRAFFIC = Schema("traffic", ("0001", "0002", "0003", "0004", "0005", "0006"))


def present_revision(path: Path) -> str | None:
    """The schema version that the file says it has; None for an empty one.

    Raises:
        UsageError: it cannot be read as a database.
    """
    connection = open_read_only(path)
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError as error:
        if str(error).startswith("no such table"):
            return None
        raise UsageError(f"{path} cannot be read: {error}. If it is damaged, restore it from a backup.") from error
    finally:
        connection.close()
    return row[0] if row else None


def bring_up_to_date(database: Database, schema: Schema) -> None:
    """Migrate the file to the newest schema, after a backup copy beside it. Does nothing when it is there already.

    Raises:
        UsageError: the file cannot be read as a database.
        NewerWorkspaceError: the file's schema is one that this Quarterdeck does not know.
    """
    present = present_revision(database.path) if database.path.exists() else None
    if present == schema.newest:
        return
    if present is not None and present not in schema.revisions:
        raise NewerWorkspaceError(
            f"{database.path} has schema {present}, and this Quarterdeck knows {schema.newest} at most. "
            "Install the Quarterdeck that wrote it, or a later one. Nothing was changed."
        )
    with database.lock.held("migrate"):
        # Looked up again: another process may have migrated it while this one waited.
        present = present_revision(database.path) if database.path.exists() else None
        if present == schema.newest:
            return
        if present is not None:
            _back_up(database.path, database.path.with_suffix(f".before-{schema.newest}.db"))
        _upgrade(database, schema)


def _back_up(path: Path, copy: Path) -> None:
    # SQLite's own backup: a copy of the file alone would lack what is still in the write-ahead log.
    source, target = open_read_only(path), sqlite3.connect(copy)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()


def _upgrade(database: Database, schema: Schema) -> None:
    # Alembic takes a third of a second to import: only workspaces that need it pay for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / schema.name))
    with database.engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
