"""Asking databases by SQLAlchemy: to read, for so many rows, and for so long."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from quarterdeck import logs
from quarterdeck.database import open_read_only
from quarterdeck.errors import DataError
from quarterdeck.ports import Answer

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, TextClause
    from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")
_SINCE = re.compile(r"(?<![\w:\\'])\\:since(?!\w)")
"""The bind parameter, in a query whose every colon was escaped; not in a text's quotes, nor the name of a type."""
_READ_ONLY = {
    "postgresql": "SET TRANSACTION READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


class SqlQuerier:
    def ask(
        self,
        url: URL,
        query: str,
        *,
        since: datetime | None = None,
        most: int | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """What the database at `url` answers. `since` stands in the query for `:since`; other colons are part of it.

        SQLite files are opened to be read, PostgreSQL and MySQL are told to refuse writing; of other databases no
        change is kept.

        Raises:
            DataError: the driver is not there, the database does not answer or refuses the query, it answers more than
                `most` rows, or takes longer than `seconds`. The message names the database, without its password.
        """
        asking = _Asking(url, query, since, most, seconds)
        if seconds is None:
            return asking.answer()
        try:
            return _in_thread(asking.answer).result(timeout=seconds)
        except TimeoutError:
            asking.give_up()
            raise DataError(f"{asking.where} did not answer within {seconds:g} s.") from None


class _Asking:
    """One question to one database."""

    def __init__(self, url: URL, query: str, since: datetime | None, most: int | None, seconds: float | None) -> None:
        self.where = url.render_as_string(hide_password=True)
        self._url = url
        self._query = query
        self._since = since
        self._most = most
        self._seconds = seconds
        self._file: sqlite3.Connection | None = None

    def answer(self) -> Answer:
        from sqlalchemy.exc import ResourceClosedError, SQLAlchemyError

        engine = self._engine()
        try:
            try:
                connection = engine.connect()
            except SQLAlchemyError as error:
                raise DataError(f"{self.where} did not answer: {self._reason(error)}.") from error
            with connection:
                return self._rows(connection)
        except ResourceClosedError:
            raise DataError(f"{self.where}: the query answers no rows. Write one that selects.") from None
        except SQLAlchemyError as error:
            raise DataError(f"{self.where} refused the query: {self._reason(error)}.") from error
        finally:
            engine.dispose()

    def give_up(self) -> None:
        """Stop a file that is still read. A server is left: it ends the question by its own timeout, or with us."""
        if self._file is not None:
            with suppress(sqlite3.ProgrammingError):
                self._file.interrupt()

    def _engine(self) -> Engine:
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError

        file = self._url.database if self._url.get_backend_name() == "sqlite" else None
        if file and not Path(file).is_file():
            raise DataError(f"{self.where}: there is no file {file}. Check the path.")
        try:
            if not file:
                return create_engine(self._url)
            return create_engine(self._url, creator=lambda: self._opened(Path(file)))
        except ModuleNotFoundError as error:
            raise DataError(
                f"{self.where}: the driver '{error.name}' is not installed. Install it beside Quarterdeck."
            ) from None
        except SQLAlchemyError as error:
            raise DataError(f"{self.where} cannot be asked: {self._reason(error)}.") from error

    def _opened(self, file: Path) -> sqlite3.Connection:
        self._file = open_read_only(file)
        return self._file

    def _rows(self, connection: Connection) -> Answer:
        backend = self._url.get_backend_name()
        if backend in _READ_ONLY:
            connection.exec_driver_sql(_READ_ONLY[backend])
        if backend == "postgresql" and self._seconds is not None:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {max(int(self._seconds * 1000), 1)}")
        # With a limit rows come as they are read: the driver must not hold them all first.
        result = connection.execution_options(stream_results=self._most is not None).execute(self._statement())
        columns = tuple(result.keys())
        if self._most is None:
            return Answer(columns, [tuple(row) for row in result])
        rows = [tuple(row) for row in result.fetchmany(self._most + 1)]
        if len(rows) > self._most:
            raise DataError(f"{self.where}: the query answers more than {self._most:,} rows.")
        return Answer(columns, rows)

    def _statement(self) -> TextClause:
        from sqlalchemy import DateTime, bindparam, text

        query = self._query.replace(":", "\\:")
        if self._since is None or _SINCE.search(query) is None:
            return text(query)
        kind = DateTime(timezone=self._since.tzinfo is not None)
        return text(_SINCE.sub(":since", query)).bindparams(bindparam("since", self._since, kind))

    def _reason(self, error: SQLAlchemyError) -> str:
        first = str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")
        return logs.masked(first, [self._url.password] if self._url.password else [])


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """What `work` returns or raises, from a thread that holds up nobody's end."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, name="query", daemon=True).start()
    return done
