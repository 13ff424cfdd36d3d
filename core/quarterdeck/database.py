"""SQLite: explicit transactions, one writer at a time, and the look that tells that something changed."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ConfigDict
from sqlalchemy import (
    URL,
    CheckConstraint,
    Column,
    Connection,
    Dialect,
    Engine,
    Float,
    String,
    Text,
    TypeDecorator,
    create_engine,
    event,
)
from sqlalchemy.exc import DatabaseError
from sqlmodel import Session, SQLModel

from quarterdeck.disk import Reserve
from quarterdeck.errors import BusyError, DamagedError, DiskError
from quarterdeck.locking import LOCK_PATIENCE_SECONDS, WriteLock

LAST_WRITE_PATIENCE_SECONDS = 300.0
"""How long a job waits for the write lock: its work may have taken hours, and a lock that is held ends sooner."""
_as_json = msgspec.json.Encoder().encode


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time as fixed-width ISO text: it sorts as it reads, for people with a sqlite3 shell too."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else timestamp(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


def timestamp(moment: datetime) -> str:
    """`moment` as ISO text in UTC with microseconds and a Z.

    Raises:
        ValueError: `moment` is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    # Each prediction has one, and msgspec takes a tenth of isoformat's time; it leaves out microseconds that are none.
    text = _as_json(moment if moment.tzinfo is UTC else moment.astimezone(UTC)).decode()[1:-1]
    return text if moment.microsecond else f"{text[:-1]}.000000Z"


class Choice(TypeDecorator[StrEnum]):
    """A StrEnum as its text."""

    impl = String(32)
    cache_ok = True

    def __init__(self, choices: type[StrEnum]) -> None:
        super().__init__()
        self.choices = choices

    def process_bind_param(self, value: StrEnum | None, dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.choices(value)


class ExactFloat(TypeDecorator[float]):
    """A float that keeps NaN, which SQLite would turn into NULL."""

    impl = Float
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[float | None], Any]:
        # Instead of process_bind_param, after which Float's own processor would make a float of the text again.
        return lambda value: "nan" if value is not None and math.isnan(value) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> float | None:
        return None if value is None else float(value)


class JsonText(TypeDecorator[Any]):
    """A JSON document as text. SQLite gives a column declared JSON numeric affinity: "1" would come back as 1."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def choice_column(name: str, choices: type[StrEnum], *, required: bool = True) -> Column[StrEnum]:
    """A column that holds one of `choices`, held to it by a CHECK constraint."""
    allowed = ", ".join(f"'{choice}'" for choice in choices)
    return Column(name, Choice(choices), CheckConstraint(f"{name} IN ({allowed})"), nullable=not required)


def time_column(*, required: bool = False) -> Column[datetime]:
    """A column for an aware UTC time."""
    return Column(UtcDateTime, nullable=not required)


def json_column(*, required: bool = True) -> Column[Any]:
    """A column for a JSON document."""
    return Column(JsonText, nullable=not required)


class Entity(SQLModel):
    """The base of every table. SQLModel's tables do not validate by themselves: these do, on every assignment."""

    model_config = ConfigDict(validate_assignment=True)  # type: ignore[assignment]  # SQLModel narrows the type


class Database:
    """One SQLite file: `read()` for a consistent look, `write()` for a verb's one transaction."""

    def __init__(self, path: Path, *, synchronous: str = "FULL", reserve: Reserve | None = None) -> None:
        """`reserve`: room on the disk that writes to this file may use up when there is no other."""
        self.path = path
        self._reserve = reserve
        self.lock = WriteLock(path.with_suffix(".lock"))
        self._synchronous = synchronous
        # Not a URL put together from text: a folder may be called `C#` or `50%`.
        url = URL.create("sqlite", database=str(path))
        self.engine: Engine = create_engine(url, connect_args={"timeout": LOCK_PATIENCE_SECONDS})
        event.listen(self.engine, "connect", self._on_connect)
        event.listen(self.engine, "begin", self._on_begin)

    def _on_connect(self, connection: sqlite3.Connection, record: object) -> None:
        # The driver must not open transactions by itself: BEGIN is ours (see _on_begin).
        connection.isolation_level = None
        if connection.execute("PRAGMA page_count").fetchone() == (0,):
            # Only while the file is empty does it take effect; then free room goes back to the disk in small steps.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={self._synchronous}",
            "foreign_keys=ON",
            # Versions of SQLite before 3.51.3 can lose a commit that races a checkpoint, so only a
            # holder of the write lock checkpoints: see checkpoint().
            "wal_autocheckpoint=0",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @staticmethod
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("quarterdeck_begin", "BEGIN"))

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A read transaction: everything in the block sees one state of the file."""
        try:
            with Session(self.engine, expire_on_commit=False) as tx:
                yield tx
        except DatabaseError as error:
            self._explain(error)
            raise

    @contextmanager
    def write(self, verb: str, patience: float = LOCK_PATIENCE_SECONDS) -> Iterator[Session]:
        """The one transaction of a verb: committed when the block ends, rolled back when it raises.

        Keep it under 50 ms, with no input or output and no user code inside.

        Raises:
            BusyError: somebody else held the write lock, or the file itself, for more than `patience` seconds.
            DiskError: the disk is full or failed; nothing of the block was written.
        """
        with self.lock.held(verb, patience), Session(self.engine, expire_on_commit=False) as tx:
            if self._reserve is not None:
                self._reserve.release_if_needed()
            try:
                tx.connection(execution_options={"quarterdeck_begin": "BEGIN IMMEDIATE"})
                yield tx
                tx.commit()
            except DatabaseError as error:
                self._explain(error)
                raise

    def check(self) -> None:
        """Raises DamagedError: the file's pages do not hang together."""
        with self.read() as tx:
            ((found, *_), *_) = tx.connection().exec_driver_sql("PRAGMA quick_check(1)").fetchall()
        if found != "ok":
            raise self._damaged(str(found))

    def _damaged(self, how: str) -> DamagedError:
        return DamagedError(
            f"{self.path} is damaged: {' '.join(how.split())}. Stop what runs (`quarterdeck up --stop`), and restore a "
            f"backup from {self.path.parent / 'backups'} as docs/housekeeping.md tells; `quarterdeck doctor` says more."
        )

    def _explain(self, error: DatabaseError) -> None:
        explained = self._explained(error)
        if explained is not error:
            raise explained from error

    def _explained(self, error: DatabaseError) -> Exception:
        """What SQLite's trouble with the file means for people; the error itself where it is not about the file."""
        reason = str(error.orig)
        if "locked" in reason or "busy" in reason:
            return BusyError(
                f"{self.path} is locked by a program that is not Quarterdeck, such as a sqlite3 shell with an open "
                "transaction. End that transaction, then try again."
            )
        if any(sign in reason for sign in ("full", "I/O", "readonly", "unable to open")):
            return DiskError(f"{self.path} cannot be written: {reason}. Make room or mend the disk, then try again.")
        if any(sign in reason for sign in ("malformed", "not a database", "corrupt")):
            return self._damaged(reason)
        return error

    def checkpoint(self, *, from_bytes: int = 0) -> None:
        """Move what no reader holds back from the write-ahead log into the file, once the log has `from_bytes`."""
        log = self.path.with_name(self.path.name + "-wal")
        if not log.exists() or log.stat().st_size < from_bytes:
            return
        with self.lock.held("checkpoint"), self.engine.connect() as connection:
            connection.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        self.engine.dispose()


def open_read_only(path: Path) -> sqlite3.Connection:
    """A raw connection that can only read, and that any thread may use."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)


class ChangeWatch:
    """Tells whether another connection has committed to a file since the last look, in microseconds."""

    def __init__(self, path: Path) -> None:
        self._connection = open_read_only(path)
        self._seen: int | None = None

    def changed(self) -> bool:
        """True at the first look, and whenever a commit or a checkpoint happened since the last one."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        changed: bool = version != self._seen
        self._seen = version
        return changed

    def close(self) -> None:
        self._connection.close()


def rows_as_dicts(connection: Connection, sql: str, **values: Any) -> list[dict[str, Any]]:
    """The rows of a raw query with bound parameters, where building entities would cost more than they give."""
    cursor = connection.exec_driver_sql(sql, values)
    return [dict(row) for row in cursor.mappings()]
